/*
 * value.c
 *		SQL values as JSON text in UTF-8.
 *
 * The text is what to_json() gives, byte for byte, since that is what people
 * try out in psql; only NaN and infinite numbers, which to_json() makes strings
 * of, are refused.  The common types have writers of their own: going through
 * a function call, a C string and a text value for each field costs several
 * times what writing it does.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "plan/value.h"

typedef ValueStatus (*ValueWriteFunction) (ValueWriter *writer, StringInfo out,
										   Datum value);

/* How rows of one composite type are written. */
typedef struct CompositeShape
{
	Oid			type;
	int32		typmod;
	TupleDesc	descriptor;
	Slice	   *names;			/* for each attribute: ,"name":  or empty */
	ValueWriter **writers;
} CompositeShape;

struct ValueWriter
{
	ValueWriteFunction write;
	Oid			type;			/* never a domain */
	MemoryContext context;
	FmgrInfo	function;		/* an output function or a cast to json */

	ValueWriter *element;		/* of arrays */
	Oid			element_type;
	int16		element_length;
	bool		element_by_value;
	char		element_alignment;

	CompositeShape *shape;		/* of the last row value, or NULL */
	MemoryContext cache_context;	/* of element and shape */
};

/*
 * Switches to an empty context for what the writer keeps from one value to the
 * next; returns the context before.  Values of types such as record can look
 * different in each row, so what was kept has to go.
 */
static MemoryContext
renew_cache(ValueWriter *writer)
{
	if (writer->cache_context == NULL)
		writer->cache_context = AllocSetContextCreate(writer->context,
													  "signalsmith value writer",
													  ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(writer->cache_context);
	return MemoryContextSwitchTo(writer->cache_context);
}

ValueStatus
value_write(ValueWriter *writer, StringInfo out, Datum value)
{
	return writer->write(writer, out, value);
}

static ValueStatus
write_bool(ValueWriter *writer, StringInfo out, Datum value)
{
	if (DatumGetBool(value))
		appendBinaryStringInfo(out, "true", 4);
	else
		appendBinaryStringInfo(out, "false", 5);
	return VALUE_OK;
}

static ValueStatus
write_int32(StringInfo out, int32 value)
{
	enlargeStringInfo(out, 12);
	out->len += pg_ltoa(value, out->data + out->len);
	return VALUE_OK;
}

static ValueStatus
write_int2(ValueWriter *writer, StringInfo out, Datum value)
{
	return write_int32(out, DatumGetInt16(value));
}

static ValueStatus
write_int4(ValueWriter *writer, StringInfo out, Datum value)
{
	return write_int32(out, DatumGetInt32(value));
}

static ValueStatus
write_int8(ValueWriter *writer, StringInfo out, Datum value)
{
	enlargeStringInfo(out, MAXINT8LEN + 1);
	out->len += pg_lltoa(DatumGetInt64(value), out->data + out->len);
	return VALUE_OK;
}

static ValueStatus
write_float4(ValueWriter *writer, StringInfo out, Datum value)
{
	if (!isfinite(DatumGetFloat4(value)))
		return VALUE_NOT_FINITE;
	appendStringInfoString(out, DatumGetCString(DirectFunctionCall1(float4out, value)));
	return VALUE_OK;
}

static ValueStatus
write_float8(ValueWriter *writer, StringInfo out, Datum value)
{
	if (!isfinite(DatumGetFloat8(value)))
		return VALUE_NOT_FINITE;
	appendStringInfoString(out, float8out_internal(DatumGetFloat8(value)));
	return VALUE_OK;
}

static ValueStatus
write_numeric(ValueWriter *writer, StringInfo out, Datum value)
{
	Numeric		number = DatumGetNumeric(value);

	if (numeric_is_nan(number) || numeric_is_inf(number))
		return VALUE_NOT_FINITE;
	appendStringInfoString(out,
						   DatumGetCString(DirectFunctionCall1(numeric_out,
															   NumericGetDatum(number))));
	return VALUE_OK;
}

static ValueStatus
write_text(ValueWriter *writer, StringInfo out, Datum value)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

	return (ValueStatus) json_text_append_string(out, VARDATA_ANY(text),
												 VARSIZE_ANY_EXHDR(text));
}

static ValueStatus
write_name(ValueWriter *writer, StringInfo out, Datum value)
{
	const char *name = NameStr(*DatumGetName(value));

	return (ValueStatus) json_text_append_string(out, name, strlen(name));
}

static char *
put_hex(char *to, const unsigned char *from, size_t count)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < count; i++)
	{
		*to++ = digits[from[i] >> 4];
		*to++ = digits[from[i] & 15];
	}
	return to;
}

static ValueStatus
write_uuid(ValueWriter *writer, StringInfo out, Datum value)
{
	static const int group_bytes[] = {4, 2, 2, 2, 6};
	const unsigned char *bytes = DatumGetUUIDP(value)->data;
	char	   *to;

	enlargeStringInfo(out, 39);
	to = out->data + out->len;
	for (size_t i = 0; i < lengthof(group_bytes); i++)
	{
		*to++ = i == 0 ? '"' : '-';
		to = put_hex(to, bytes, group_bytes[i]);
		bytes += group_bytes[i];
	}
	*to++ = '"';
	*to = '\0';
	out->len = to - out->data;
	return VALUE_OK;
}

static ValueStatus
write_bytea(ValueWriter *writer, StringInfo out, Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);
	size_t		count = VARSIZE_ANY_EXHDR(bytes);
	size_t		length = 2 * count + 5;
	char	   *to;

	if (out->len + length > JSON_TEXT_MAX_LENGTH)
		return VALUE_TOO_LONG;
	enlargeStringInfo(out, length);
	to = out->data + out->len;
	memcpy(to, "\"\\\\x", 4);
	to = put_hex(to + 4, (unsigned char *) VARDATA_ANY(bytes), count);
	*to++ = '"';
	*to = '\0';
	out->len = to - out->data;
	return VALUE_OK;
}

static ValueStatus
write_datetime(ValueWriter *writer, StringInfo out, Datum value)
{
	char		buffer[MAXDATELEN + 1];

	JsonEncodeDateTime(buffer, value, writer->type, NULL);
	appendStringInfoChar(out, '"');
	appendStringInfoString(out, buffer);
	appendStringInfoChar(out, '"');
	return VALUE_OK;
}

static ValueStatus
write_json(ValueWriter *writer, StringInfo out, Datum value)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

	return (ValueStatus) json_text_append_raw(out, VARDATA_ANY(text),
											  VARSIZE_ANY_EXHDR(text));
}

static ValueStatus
write_jsonb(ValueWriter *writer, StringInfo out, Datum value)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);
	StringInfoData text;

	initStringInfo(&text);
	(void) JsonbToCString(&text, &jsonb->root, VARSIZE(jsonb));
	return (ValueStatus) json_text_append_raw(out, text.data, text.len);
}

/* Any other type is a string of what its output function prints ... */
static ValueStatus
write_by_output(ValueWriter *writer, StringInfo out, Datum value)
{
	char	   *text = OutputFunctionCall(&writer->function, value);

	return (ValueStatus) json_text_append_string(out, text, strlen(text));
}

/* ... unless it has a cast to json, which then says how. */
static ValueStatus
write_by_cast(ValueWriter *writer, StringInfo out, Datum value)
{
	return write_json(writer, out, FunctionCall1(&writer->function, value));
}

/*
 * Writes one dimension of an array and those inside it; *next is the index of
 * the next element.
 */
static ValueStatus
write_dimension(ValueWriter *writer, StringInfo out, int dimensions,
				const int *lengths, const Datum *elements, const bool *nulls,
				int *next)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < lengths[0]; i++)
	{
		ValueStatus status = VALUE_OK;

		if (i > 0)
			appendStringInfoChar(out, ',');
		if (dimensions > 1)
			status = write_dimension(writer, out, dimensions - 1, lengths + 1,
									 elements, nulls, next);
		else
		{
			if (nulls[*next])
				appendBinaryStringInfo(out, "null", 4);
			else
				status = value_write(writer->element, out, elements[*next]);
			(*next)++;
		}
		if (status == VALUE_OK && out->len > JSON_TEXT_MAX_LENGTH)
			status = VALUE_TOO_LONG;
		if (status != VALUE_OK)
			return status;
	}
	appendStringInfoChar(out, ']');
	return VALUE_OK;
}

static ValueStatus
write_array(ValueWriter *writer, StringInfo out, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			next = 0;

	if (ARR_ELEMTYPE(array) != writer->element_type)
	{
		MemoryContext old_context = renew_cache(writer);

		writer->element_type = ARR_ELEMTYPE(array);
		writer->element = value_writer_create(writer->element_type);
		get_typlenbyvalalign(writer->element_type, &writer->element_length,
							 &writer->element_by_value, &writer->element_alignment);
		MemoryContextSwitchTo(old_context);
	}

	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) == 0)
	{
		appendBinaryStringInfo(out, "[]", 2);
		return VALUE_OK;
	}
	deconstruct_array(array, writer->element_type, writer->element_length,
					  writer->element_by_value, writer->element_alignment,
					  &elements, &nulls, &count);
	return write_dimension(writer, out, ARR_NDIM(array), ARR_DIMS(array),
						   elements, nulls, &next);
}

static CompositeShape *
create_shape(Oid type, int32 typmod)
{
	CompositeShape *shape = palloc0(sizeof(CompositeShape));
	TupleDesc	descriptor = lookup_rowtype_tupdesc(type, typmod);

	shape->type = type;
	shape->typmod = typmod;
	shape->descriptor = CreateTupleDescCopy(descriptor);
	ReleaseTupleDesc(descriptor);
	descriptor = shape->descriptor;
	shape->names = palloc0(descriptor->natts * sizeof(Slice));
	shape->writers = palloc0(descriptor->natts * sizeof(ValueWriter *));
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		StringInfoData name;

		if (attribute->attisdropped)
			continue;
		shape->writers[i] = value_writer_create(attribute->atttypid);
		initStringInfo(&name);
		appendStringInfoChar(&name, ',');
		if (json_text_append_string(&name, NameStr(attribute->attname),
									strlen(NameStr(attribute->attname))) != JSON_TEXT_OK)
			continue;
		appendStringInfoChar(&name, ':');
		shape->names[i].data = name.data;
		shape->names[i].length = name.len;
	}
	return shape;
}

static ValueStatus
write_composite(ValueWriter *writer, StringInfo out, Datum value)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	Oid			type = HeapTupleHeaderGetTypeId(header);
	int32		typmod = HeapTupleHeaderGetTypMod(header);
	CompositeShape *shape = writer->shape;
	HeapTupleData tuple;
	Datum	   *values;
	bool	   *nulls;
	int			skip = 1;		/* no comma before the first */

	check_stack_depth();
	if (shape == NULL || shape->type != type || shape->typmod != typmod)
	{
		MemoryContext old_context = renew_cache(writer);

		shape = writer->shape = create_shape(type, typmod);
		MemoryContextSwitchTo(old_context);
	}

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	values = palloc(shape->descriptor->natts * sizeof(Datum));
	nulls = palloc(shape->descriptor->natts * sizeof(bool));
	heap_deform_tuple(&tuple, shape->descriptor, values, nulls);

	appendStringInfoChar(out, '{');
	for (int i = 0; i < shape->descriptor->natts; i++)
	{
		ValueStatus status = VALUE_OK;

		if (shape->writers[i] == NULL)
			continue;			/* a dropped attribute */
		if (shape->names[i].length == 0)
			return VALUE_BAD_ENCODING;
		appendBinaryStringInfo(out, shape->names[i].data + skip,
							   shape->names[i].length - skip);
		skip = 0;
		if (nulls[i])
			appendBinaryStringInfo(out, "null", 4);
		else
			status = value_write(shape->writers[i], out, values[i]);
		if (status == VALUE_OK && out->len > JSON_TEXT_MAX_LENGTH)
			status = VALUE_TOO_LONG;
		if (status != VALUE_OK)
			return status;
	}
	appendStringInfoChar(out, '}');
	return VALUE_OK;
}

/* Types that are neither built in here nor arrays nor rows. */
static void
prepare_other(ValueWriter *writer)
{
	Oid			function;
	bool		is_varlena;

	if (writer->type >= FirstNormalObjectId &&
		find_coercion_pathway(JSONOID, writer->type, COERCION_EXPLICIT,
							  &function) == COERCION_PATH_FUNC)
		writer->write = write_by_cast;
	else
	{
		getTypeOutputInfo(writer->type, &function, &is_varlena);
		writer->write = write_by_output;
	}
	fmgr_info_cxt(function, &writer->function, writer->context);
}

static ValueWriteFunction
built_in_write_function(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return write_bool;
		case INT2OID:
			return write_int2;
		case INT4OID:
			return write_int4;
		case INT8OID:
			return write_int8;
		case FLOAT4OID:
			return write_float4;
		case FLOAT8OID:
			return write_float8;
		case NUMERICOID:
			return write_numeric;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return write_text;
		case NAMEOID:
			return write_name;
		case UUIDOID:
			return write_uuid;
		case BYTEAOID:
			return write_bytea;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return write_datetime;
		case JSONOID:
			return write_json;
		case JSONBOID:
			return write_jsonb;
		default:
			return NULL;
	}
}

ValueWriter *
value_writer_create(Oid type)
{
	ValueWriter *writer = palloc0(sizeof(ValueWriter));

	writer->type = getBaseType(type);
	writer->context = CurrentMemoryContext;
	writer->write = built_in_write_function(writer->type);
	if (writer->write != NULL)
		return writer;

	if (OidIsValid(get_element_type(writer->type)) ||
		writer->type == ANYARRAYOID || writer->type == RECORDARRAYOID)
		writer->write = write_array;
	else if (type_is_rowtype(writer->type))
		writer->write = write_composite;
	else
		prepare_other(writer);
	return writer;
}

const char *
value_status_code(ValueStatus status)
{
	switch (status)
	{
		case VALUE_NOT_FINITE:
			return "not_finite";
		case VALUE_BAD_ENCODING:
			return "invalid_encoding";
		case VALUE_TOO_LONG:
			return "too_large";
		case VALUE_OK:
			break;
	}
	elog(ERROR, "unexpected value status: %d", (int) status);
}

const char *
value_status_reason(ValueStatus status)
{
	switch (status)
	{
		case VALUE_NOT_FINITE:
			return _("is NaN or infinite, which JSON cannot express");
		case VALUE_BAD_ENCODING:
			return _("cannot be converted to UTF-8");
		case VALUE_TOO_LONG:
			return _("makes the record too large");
		case VALUE_OK:
			break;
	}
	elog(ERROR, "unexpected value status: %d", (int) status);
}
