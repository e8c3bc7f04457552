/*
 * row_key.c
 *		The packed key of a row: exact, or 128 bits that agree with the equality
 *		of the key columns' types.
 *
 * A single integer or uuid is its own key.  Types that are equal exactly when
 * their bytes are (text under a deterministic collation, dates) are hashed by
 * XXH3-128; enums by their labels, since their OIDs are others after a restore;
 * all other types by two seeds of their own extended hash function, the one
 * that hash partitioning uses, so that 1.0 is 1.00 and citext ignores case.
 * Several columns become one key by hashing their parts.
 *
 * Two different keys collide with a chance of 2^-128 for each pair: about
 * 1.5e-23 for any pair among 100 million.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "plan/plan.h"
#include "plan/row_key.h"
#include "plan/xxh3.h"

/* Seeds of the two halves of a key that a type hashes itself. */
#define LOW_SEED INT64CONST(0x51676e616c536d69)
#define HIGH_SEED INT64CONST(0x746856e4c7b3a92d)

typedef enum KeyKind
{
	KEY_INTEGER,
	KEY_UUID,
	KEY_BYTES,					/* equal when the bytes are */
	KEY_LABEL,					/* hashed by what the output function says */
	KEY_HASHED					/* the type's own hash function */
} KeyKind;

struct KeyColumn
{
	int			column;			/* place in the query's result */
	KeyKind		kind;
	DatumLayout layout;
	int16		length;
	Oid			collation;
	FmgrInfo	function;
};

static KeyKind
key_kind(Oid type, Oid collation)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
			return KEY_INTEGER;
		case UUIDOID:
			return KEY_UUID;
		case TEXTOID:
		case VARCHAROID:
		case NAMEOID:
			return get_collation_isdeterministic(collation) ? KEY_BYTES : KEY_HASHED;
		case BYTEAOID:
		case BOOLOID:
		case CHAROID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case MACADDROID:
		case MACADDR8OID:
			return KEY_BYTES;
		default:
			return type_is_enum(type) ? KEY_LABEL : KEY_HASHED;
	}
}

static void
prepare_function(KeyColumn *key, Oid type, const char *name)
{
	Oid			function;
	bool		is_varlena;

	if (key->kind == KEY_LABEL)
		getTypeOutputInfo(type, &function, &is_varlena);
	else
		function = lookup_type_cache(type, TYPECACHE_HASH_EXTENDED_PROC)->hash_extended_proc;

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("key column \"%s\" has type %s, which cannot be hashed",
						name, format_type_be(type)),
				 errhint("Cast it to a type with a hash function, such as text, in the model's query.")));
	fmgr_info(function, &key->function);
}

RowKeyer *
row_keyer_create(const SyncDefinition *definition, const ModelQuery *query)
{
	RowKeyer   *keyer = palloc0(sizeof(RowKeyer));
	Size		size = 0;

	keyer->column_count = definition->key_count;
	keyer->columns = palloc0(keyer->column_count * sizeof(KeyColumn));
	for (int i = 0; i < keyer->column_count; i++)
	{
		KeyColumn  *key = &keyer->columns[i];
		TargetEntry *entry = list_nth_node(TargetEntry, query->query->targetList,
										   query->key_columns[i]);
		Oid			type = getBaseType(exprType((Node *) entry->expr));

		key->column = query->key_columns[i];
		key->collation = exprCollation((Node *) entry->expr);
		if (!OidIsValid(key->collation) && type_is_collatable(type))
			key->collation = DEFAULT_COLLATION_OID;
		key->layout = datum_layout(type, &key->length);
		key->kind = key_kind(type, key->collation);
		if (key->kind == KEY_LABEL || key->kind == KEY_HASHED)
			prepare_function(key, type, definition->key_columns[i]);
		size += sizeof(XXH128_hash_t);
	}

	keyer->width = plan_key_width(definition);
	if (keyer->column_count == 1 && keyer->columns[0].kind == KEY_INTEGER)
	{
		keyer->single_integer = true;
		keyer->integer_column = keyer->columns[0].column;
		keyer->integer_layout = keyer->columns[0].layout;
	}
	keyer->buffer = palloc(size);
	return keyer;
}

static RecordKey
hash_bytes_128(const char *data, Size length)
{
	XXH128_hash_t hash = XXH3_128bits(data, length);
	RecordKey	key = {hash.low64, hash.high64};

	return key;
}

/* The key of one column: what the whole key is if there is no other. */
static RecordKey
column_key(const KeyColumn *key, Datum value)
{
	RecordKey	result = {0, 0};
	KeyColumn  *writable = unconstify(KeyColumn *, key);
	Slice		bytes;
	char	   *label;

	switch (key->kind)
	{
		case KEY_INTEGER:
			result.low = datum_word(key->layout, value);
			break;
		case KEY_UUID:
			memcpy(&result.low, DatumGetUUIDP(value)->data, sizeof(uint64));
			memcpy(&result.high, DatumGetUUIDP(value)->data + sizeof(uint64), sizeof(uint64));
			break;
		case KEY_BYTES:
			if (layout_is_by_value(key->layout))
				result.low = datum_word(key->layout, value);
			else
			{
				bytes = datum_slice(key->layout, key->length, value);
				result = hash_bytes_128(bytes.data, bytes.length);
			}
			break;
		case KEY_LABEL:
			label = OutputFunctionCall(&writable->function, value);
			result = hash_bytes_128(label, strlen(label));
			break;
		case KEY_HASHED:
			result.low = DatumGetUInt64(FunctionCall2Coll(&writable->function, key->collation,
														  value, Int64GetDatum(LOW_SEED)));
			result.high = DatumGetUInt64(FunctionCall2Coll(&writable->function, key->collation,
														   value, Int64GetDatum(HIGH_SEED)));
			break;
	}
	return result;
}

bool
row_key_hashed(RowKeyer *keyer, const Datum *values, const bool *nulls, RecordKey *key)
{
	char	   *to = keyer->buffer;

	for (int i = 0; i < keyer->column_count; i++)
	{
		const KeyColumn *column = &keyer->columns[i];

		if (nulls[column->column])
			return false;
		*key = column_key(column, values[column->column]);
		memcpy(to, key, sizeof(RecordKey));
		to += sizeof(RecordKey);
	}
	if (keyer->column_count > 1)
		*key = hash_bytes_128(keyer->buffer, to - keyer->buffer);
	return true;
}
