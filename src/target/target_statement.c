/*
 * target_statement.c
 *		The statements that carry a batch to a table.
 *
 * Text is made of identifiers alone, quoted; all data is in the parameter.
 * Equality is the operator of the column's type, named with its schema, so that
 * no search_path has a say in which rows match.
 *
 * A foreign table's rows are asked for by an array of keys as well, which
 * postgres_fdw sends across: it would fetch the whole table for a join.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/json_text.h"
#include "target/target_statement.h"

/* Records that have the same fields, in the same order. */
typedef struct Shape
{
	int			field_count;
	Slice	   *names;			/* of the fields, as in the record: quoted JSON */
	int		   *columns;		/* their places in the table */
	const char *ordinal;		/* a name that none of them has */
	StringInfoData parameter;
	int			record_count;
	int		   *records;
} Shape;

TargetAction
target_action(SyncMode mode, Operation operation)
{
	if (operation == OPERATION_DELETE)
		return TARGET_DELETE;
	if (mode == MODE_UPDATE)
		return TARGET_UPDATE;
	return mode == MODE_APPEND ? TARGET_APPEND : TARGET_UPSERT;
}

/* --- pieces --- */

static const char *
column_name(const TargetTable *table, int place)
{
	return quote_identifier(table->columns[place].name);
}

/* How many columns an update of such a record would set. */
static int
count_settable(const TargetTable *table, const Shape *shape)
{
	int			count = 0;

	for (int i = 0; i < shape->field_count; i++)
		count += !target_column_is_key(table, shape->columns[i]);
	return count;
}

/* id, name, ... with a prefix such as "r." */
static void
append_columns(StringInfo sql, const TargetTable *table, const int *columns, int count,
			   const char *prefix)
{
	for (int i = 0; i < count; i++)
		appendStringInfo(sql, "%s%s%s", i > 0 ? ", " : "", prefix,
						 column_name(table, columns[i]));
}

/* name = r.name, ... */
static void
append_assignments(StringInfo sql, const TargetTable *table, const Shape *shape,
				   const char *prefix)
{
	const char *separator = "";

	for (int i = 0; i < shape->field_count; i++)
	{
		const char *name = column_name(table, shape->columns[i]);

		if (target_column_is_key(table, shape->columns[i]))
			continue;
		appendStringInfo(sql, "%s%s = %s%s", separator, name, prefix, name);
		separator = ", ";
	}
}

/* id pg_catalog.int4, ... */
static void
append_definitions(StringInfo sql, const TargetTable *table, const int *columns, int count)
{
	for (int i = 0; i < count; i++)
		appendStringInfo(sql, "%s%s %s", i > 0 ? ", " : "",
						 column_name(table, columns[i]),
						 table->columns[columns[i]].type_text);
}

/* The type's own equality, such as OPERATOR(pg_catalog.=). */
static void
append_equality(StringInfo sql, Oid type)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR);
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(entry->eq_opr));
	Form_pg_operator form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", entry->eq_opr);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	appendStringInfo(sql, " OPERATOR(%s.%s) ",
					 quote_identifier(get_namespace_name(form->oprnamespace)),
					 NameStr(form->oprname));
	ReleaseSysCache(tuple);
}

static bool
can_be_in_array(const TargetTable *table, int place)
{
	Oid			type = table->columns[place].type;

	return OidIsValid(get_array_type(type)) && !OidIsValid(get_element_type(type));
}

/* t.id = r.id AND ... */
static void
append_match(StringInfo sql, const TargetTable *table)
{
	for (int i = 0; i < table->key_count; i++)
	{
		int			place = table->key[i];
		Oid			type = table->columns[place].type;
		const char *name = column_name(table, place);

		appendStringInfo(sql, "%st.%s", i > 0 ? " AND " : "", name);
		append_equality(sql, type);
		appendStringInfo(sql, "r.%s", name);
		if (table->kind != RELKIND_FOREIGN_TABLE || !can_be_in_array(table, place))
			continue;
		appendStringInfo(sql, " AND t.%s", name);
		append_equality(sql, type);
		appendStringInfo(sql, "ANY (ARRAY(SELECT k.%s FROM r AS k))", name);
	}
}

/* json_to_recordset($1) AS r (...) */
static void
append_records(StringInfo sql, const TargetTable *table, const int *columns, int count)
{
	appendStringInfoString(sql, "pg_catalog.json_to_recordset($1) AS r (");
	append_definitions(sql, table, columns, count);
	appendStringInfoChar(sql, ')');
}

/*
 * WITH r AS (...): the records, numbered.  Of several with one key, which an index
 * would have refused, the last one counts where "distinct" says so.
 */
static void
append_with_records(StringInfo sql, const TargetTable *table, const Shape *shape,
					bool distinct)
{
	appendStringInfoString(sql, "WITH r AS MATERIALIZED (SELECT ");
	if (distinct)
	{
		appendStringInfoString(sql, "DISTINCT ON (");
		append_columns(sql, table, table->key, table->key_count, "r.");
		appendStringInfoString(sql, ") ");
	}
	appendStringInfoString(sql, "r.* FROM ROWS FROM (pg_catalog.json_to_recordset($1) AS (");
	append_definitions(sql, table, shape->columns, shape->field_count);
	appendStringInfoString(sql, ")) WITH ORDINALITY AS r (");
	append_columns(sql, table, shape->columns, shape->field_count, "");
	appendStringInfo(sql, ", %s)", shape->ordinal);
	if (distinct)
	{
		appendStringInfoString(sql, " ORDER BY ");
		append_columns(sql, table, table->key, table->key_count, "r.");
		appendStringInfo(sql, ", r.%s DESC", shape->ordinal);
	}
	appendStringInfoChar(sql, ')');
}

/* INSERT INTO crm.people (...) SELECT ... */
static void
append_insert(StringInfo sql, const TargetTable *table, const Shape *shape)
{
	appendStringInfo(sql, "INSERT INTO %s (", table->name);
	append_columns(sql, table, shape->columns, shape->field_count, "");
	appendStringInfoString(sql, ") SELECT ");
	append_columns(sql, table, shape->columns, shape->field_count, "r.");
	appendStringInfoString(sql, " FROM ");
}

static void
append_update(StringInfo sql, const TargetTable *table, const Shape *shape)
{
	appendStringInfo(sql, "UPDATE %s AS t SET ", table->name);
	append_assignments(sql, table, shape, "r.");
	appendStringInfoString(sql, " FROM r WHERE ");
	append_match(sql, table);
	appendStringInfo(sql, " RETURNING r.%s", shape->ordinal);
}

/* EXISTS (...): the table has the record's row. */
static void
append_exists(StringInfo sql, const TargetTable *table)
{
	appendStringInfo(sql, "EXISTS (SELECT FROM %s AS t WHERE ", table->name);
	append_match(sql, table);
	appendStringInfoChar(sql, ')');
}

/* --- statements --- */

static void
write_insert_on_conflict(StringInfo sql, const TargetTable *table, const Shape *shape)
{
	append_insert(sql, table, shape);
	append_records(sql, table, shape->columns, shape->field_count);
	appendStringInfoString(sql, " ON CONFLICT (");
	append_columns(sql, table, table->key, table->key_count, "");
	if (count_settable(table, shape) == 0)
		appendStringInfoString(sql, ") DO NOTHING");
	else
	{
		appendStringInfoString(sql, ") DO UPDATE SET ");
		append_assignments(sql, table, shape, "EXCLUDED.");
	}
}

/* Where there is no index to conflict with. */
static void
write_update_and_insert(StringInfo sql, const TargetTable *table, const Shape *shape)
{
	append_with_records(sql, table, shape, true);
	if (count_settable(table, shape) > 0)
	{
		appendStringInfoString(sql, ", updated AS (");
		append_update(sql, table, shape);
		appendStringInfoString(sql, ") ");
		append_insert(sql, table, shape);
		appendStringInfo(sql, "r WHERE r.%s NOT IN (SELECT u.%s FROM updated AS u)",
						 shape->ordinal, shape->ordinal);
	}
	else
	{
		appendStringInfoChar(sql, ' ');
		append_insert(sql, table, shape);
		appendStringInfoString(sql, "r WHERE NOT ");
		append_exists(sql, table);
	}
}

/*
 * Without ON CONFLICT DO NOTHING, which would not say what it has left out: a
 * row that somebody inserts at the same moment is a conflict, and found when the
 * batch is repeated in parts.
 */
static void
write_append(StringInfo sql, const TargetTable *table, const Shape *shape)
{
	append_with_records(sql, table, shape, false);
	appendStringInfo(sql, ", present AS MATERIALIZED (SELECT r.%s FROM r WHERE ", shape->ordinal);
	append_exists(sql, table);
	appendStringInfoString(sql, "), inserted AS (");
	append_insert(sql, table, shape);
	appendStringInfo(sql, "r WHERE r.%s NOT IN (SELECT p.%s FROM present AS p)) SELECT p.%s FROM present AS p",
					 shape->ordinal, shape->ordinal, shape->ordinal);
}

static void
write_update(StringInfo sql, const TargetTable *table, const Shape *shape)
{
	append_with_records(sql, table, shape, false);
	appendStringInfoChar(sql, ' ');
	if (count_settable(table, shape) > 0)
		append_update(sql, table, shape);
	else
	{
		appendStringInfo(sql, "SELECT r.%s FROM r WHERE ", shape->ordinal);
		append_exists(sql, table);
	}
}

static void
write_delete(StringInfo sql, const TargetTable *table, const Shape *shape)
{
	if (table->key_count == 1 && can_be_in_array(table, table->key[0]))
	{
		const char *name = column_name(table, table->key[0]);

		appendStringInfo(sql, "DELETE FROM %s AS t WHERE t.%s", table->name, name);
		append_equality(sql, table->columns[table->key[0]].type);
		appendStringInfo(sql, "ANY (ARRAY(SELECT r.%s FROM ", name);
		append_records(sql, table, table->key, 1);
		appendStringInfoString(sql, "))");
		return;
	}
	append_with_records(sql, table, shape, false);
	appendStringInfo(sql, " DELETE FROM %s AS t USING r WHERE ", table->name);
	append_match(sql, table);
}

static TargetStatement *
make_statement(const TargetTable *table, TargetAction action, Shape *shape)
{
	TargetStatement *statement = palloc0(sizeof(TargetStatement));
	StringInfoData sql;

	initStringInfo(&sql);
	statement->command = "INSERT";
	switch (action)
	{
		case TARGET_UPSERT:
			if (table->has_unique_key)
				write_insert_on_conflict(&sql, table, shape);
			else
				write_update_and_insert(&sql, table, shape);
			break;
		case TARGET_APPEND:
			write_append(&sql, table, shape);
			break;
		case TARGET_UPDATE:
			statement->command = "UPDATE";
			write_update(&sql, table, shape);
			break;
		case TARGET_DELETE:
			statement->command = "DELETE";
			write_delete(&sql, table, shape);
			break;
	}
	statement->text = sql.data;
	appendStringInfoChar(&shape->parameter, ']');
	statement->parameter = (Slice) {shape->parameter.data, shape->parameter.len};
	statement->record_count = shape->record_count;
	statement->records = shape->records;
	return statement;
}

/* --- shapes --- */

static bool
has_column(const Shape *shape, int place)
{
	for (int i = 0; i < shape->field_count; i++)
		if (shape->columns[i] == place)
			return true;
	return false;
}

static const char *
unused_name(const TargetTable *table)
{
	char	   *name = pstrdup("ordinal");

	while (target_column_place(table, name) >= 0)
		name = psprintf("%s_", name);
	return name;
}

static Shape *
create_shape(const TargetTable *table, const Batch *batch, int field_count)
{
	Shape	   *shape = palloc0(sizeof(Shape));

	shape->field_count = field_count;
	shape->columns = palloc(Max(1, field_count) * sizeof(int));
	shape->ordinal = unused_name(table);
	shape->records = palloc(batch->record_count * sizeof(int));
	initStringInfo(&shape->parameter);
	return shape;
}

static int
column_of_field(const TargetTable *table, Slice name)
{
	StringInfoData decoded;

	initStringInfo(&decoded);
	json_text_decode_string(&decoded, name);
	return target_column(table, pg_any_to_server(decoded.data, decoded.len, PG_UTF8));
}

static bool
has_names(const Shape *shape, const Slice *names, int count)
{
	if (shape->field_count != count)
		return false;
	for (int i = 0; i < count; i++)
		if (shape->names[i].length != names[i].length ||
			memcmp(shape->names[i].data, names[i].data, names[i].length) != 0)
			return false;
	return true;
}

/* The shape of a record's data, in the list or new in it. */
static Shape *
shape_of_data(const TargetTable *table, const Batch *batch, Slice data, List **shapes)
{
	Slice	   *names = palloc(table->column_count * sizeof(Slice));
	JsonTextCursor cursor;
	Slice		name;
	Slice		value;
	Shape	   *shape;
	ListCell   *cell;
	int			count = 0;

	json_text_begin_members(&cursor, data);
	while (json_text_next_member(&cursor, &name, &value))
	{
		if (count == table->column_count)
			column_of_field(table, name);	/* one of them is not there */
		else
			names[count++] = name;
	}
	foreach(cell, *shapes)
		if (has_names(lfirst(cell), names, count))
			return lfirst(cell);

	shape = create_shape(table, batch, count);
	shape->names = names;
	for (int i = 0; i < count; i++)
		shape->columns[i] = column_of_field(table, names[i]);
	*shapes = lappend(*shapes, shape);
	return shape;
}

static Shape *
shape_of_keys(const TargetTable *table, const Batch *batch, List **shapes)
{
	Shape	   *shape;

	if (*shapes != NIL)
		return linitial(*shapes);
	shape = create_shape(table, batch, table->key_count);
	memcpy(shape->columns, table->key, table->key_count * sizeof(int));
	*shapes = list_make1(shape);
	return shape;
}

/* --- parameters --- */

/* {"id": 1}: what a delete knows of a record, as columns. */
static void
append_key(StringInfo out, const TargetTable *table, const Record *record)
{
	appendStringInfoChar(out, '{');
	for (int i = 0; i < table->key_count; i++)
	{
		const char *name = table->columns[table->key[i]].name;
		Slice		value = record->identifier;

		if (table->key_members != NULL &&
			!json_text_member(record->key,
							  (Slice) {table->key_members[i], strlen(table->key_members[i])},
							  &value))
			value = (Slice) {"null", 4};
		if (i > 0)
			appendStringInfoChar(out, ',');
		(void) json_text_append_string(out, name, strlen(name));
		appendStringInfoChar(out, ':');
		appendBinaryStringInfo(out, value.data, value.length);
	}
	appendStringInfoChar(out, '}');
}

static void
add_record(Shape *shape, const TargetTable *table, TargetAction action,
		   const Record *record, int index)
{
	appendStringInfoChar(&shape->parameter, shape->record_count == 0 ? '[' : ',');
	if (action == TARGET_DELETE)
		append_key(&shape->parameter, table, record);
	else
		appendBinaryStringInfo(&shape->parameter, record->data.data, record->data.length);
	shape->records[shape->record_count++] = index;
}

/* Without its key, nobody could say which row it is. */
static const char *
missing_key(const TargetTable *table, const Shape *shape, const Record *record)
{
	if (table->key_members == NULL && record->identifier.length == 4 &&
		memcmp(record->identifier.data, "null", 4) == 0)
		return table->columns[table->key[0]].name;
	for (int i = 0; i < table->key_count; i++)
		if (!has_column(shape, table->key[i]))
			return table->columns[table->key[i]].name;
	return NULL;
}

List *
target_statements(const TargetTable *table, TargetAction action, const Batch *batch,
				  char **error)
{
	List	   *shapes = NIL;
	List	   *statements = NIL;
	ListCell   *cell;

	for (int i = 0; i < batch->record_count; i++)
	{
		const Record *record = &batch->records[i].record;
		Shape	   *shape;
		const char *missing;

		shape = action == TARGET_DELETE ?
			shape_of_keys(table, batch, &shapes) :
			shape_of_data(table, batch, record->data, &shapes);
		missing = missing_key(table, shape, record);
		if (missing != NULL)
		{
			*error = psprintf("column \"%s\", which identifies the record, is null", missing);
			return NIL;
		}
		add_record(shape, table, action, record, i);
	}
	foreach(cell, shapes)
		statements = lappend(statements, make_statement(table, action, lfirst(cell)));
	return statements;
}
