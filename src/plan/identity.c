/*
 * identity.c
 *		Key and identifier of a record that the model no longer returns.
 *
 * A single integer or uuid is its own packed key.  If it identifies the record
 * at the destination too, a delete can be made from the packed key alone, and
 * the snapshot need not store anything else.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/uuid.h"

#include "base/json_text.h"
#include "plan/identity.h"
#include "plan/plan.h"

/* Types, as format_type() says them, whose packed key is the value. */
static const char *const integer_types[] = {"smallint", "integer", "bigint", "oid"};

static const char *
key_type(const SyncDefinition *definition, int key)
{
	for (int i = 0; i < definition->column_count; i++)
		if (strcmp(definition->columns[i].name, definition->key_columns[key]) == 0)
			return definition->columns[i].type;
	return "";
}

static bool
is_integer_type(const char *type)
{
	for (size_t i = 0; i < lengthof(integer_types); i++)
		if (strcmp(type, integer_types[i]) == 0)
			return true;
	return false;
}

int
plan_key_width(const SyncDefinition *definition)
{
	return definition->key_count == 1 && is_integer_type(key_type(definition, 0)) ?
		KEY_WIDTH_NARROW : KEY_WIDTH_WIDE;
}

bool
identity_key_is_exact(const SyncDefinition *definition)
{
	return definition->key_count == 1 &&
		(is_integer_type(key_type(definition, 0)) ||
		 strcmp(key_type(definition, 0), "uuid") == 0);
}

bool
plan_stores_identities(const SyncDefinition *definition)
{
	if (!identity_key_is_exact(definition))
		return true;
	for (int i = 0; i < definition->mapping_count; i++)
	{
		const FieldMapping *mapping = &definition->mappings[i];

		if (mapping->identifier)
			return mapping->source != MAPPING_COLUMN ||
				strcmp(mapping->text, definition->key_columns[0]) != 0;
	}
	return false;
}

char *
plan_snapshot_key(const SyncDefinition *definition)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "key (");
	for (int i = 0; i < definition->key_count; i++)
		appendStringInfo(&text, "%s%s %s", i > 0 ? ", " : "",
						 quote_identifier(definition->key_columns[i]),
						 key_type(definition, i));
	appendStringInfoChar(&text, ')');
	if (definition->object != NULL)
		appendStringInfo(&text, " at object %s", quote_literal_cstr(definition->object));
	return text.data;
}

void
identity_append_value(const SyncDefinition *definition, RecordKey key, StringInfo out)
{
	const char *type = key_type(definition, 0);

	if (strcmp(type, "uuid") == 0)
	{
		pg_uuid_t	uuid;

		memcpy(uuid.data, &key.low, sizeof(uint64));
		memcpy(uuid.data + sizeof(uint64), &key.high, sizeof(uint64));
		appendStringInfo(out, "\"%s\"",
						 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&uuid))));
	}
	else if (strcmp(type, "oid") == 0)
		appendStringInfo(out, "\"%u\"", (Oid) key.low);
	else
		appendStringInfo(out, INT64_FORMAT, (int64) key.low);
}

void
identity_append_key(const SyncDefinition *definition, RecordKey key, StringInfo out)
{
	appendStringInfoChar(out, '{');
	(void) json_text_append_string(out, definition->key_columns[0],
								   strlen(definition->key_columns[0]));
	appendStringInfoChar(out, ':');
	identity_append_value(definition, key, out);
	appendStringInfoChar(out, '}');
}
