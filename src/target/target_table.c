/*
 * target_table.c
 *		The table that a sync writes to: what it is, its columns, its key.
 *
 * The key is the sync's identifier, or the columns that the model's primary key
 * is mapped to.  If it has a unique index of its own, writing is one INSERT ...
 * ON CONFLICT; where it has none, or the table is a view or somewhere else, rows
 * are looked for first (target_statement.c).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "commands/extension.h"
#include "mb/pg_wchar.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "base/nearest.h"
#include "target/target_table.h"

/* --- finding it --- */

/* "contacts", "crm.contacts" or "\"Crm\".\"Contacts\"", as in SQL. */
static void
read_name(const TableSpec *spec, const char **schema, const char **name)
{
	List	   *parts = NIL;
	char	   *text = pstrdup(spec->name);

	if (!SplitIdentifierString(text, '.', &parts) || list_length(parts) < 1 ||
		list_length(parts) > 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" is not the name of a table", spec->name),
				 errhint("Write it as in SQL, with or without its schema: contacts, or crm.\"Contacts\".")));
	*schema = list_length(parts) == 2 ? linitial(parts) : spec->schema;
	*name = llast(parts);
}

/* Neither the catalogs nor our own tables, which a superuser might reach. */
static void
check_owner(const TargetTable *table, Oid namespace)
{
	Oid			extension = getExtensionOfObject(RelationRelationId, table->relation);

	if (IsCatalogNamespace(namespace) || IsToastNamespace(namespace) ||
		(OidIsValid(extension) && extension == get_extension_oid("signalsmith", true)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" is not for syncs to write to", table->name),
				 errdetail("It belongs to PostgreSQL, or to signalsmith.")));
}

static void
check_kind(const TargetTable *table)
{
	if (get_rel_persistence(table->relation) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a sync cannot write to the temporary table \"%s\"", table->name),
				 errdetail("Runs have sessions of their own, where it does not exist.")));
	switch (table->kind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_FOREIGN_TABLE:
		case RELKIND_VIEW:
			return;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a table", table->name),
					 errdetail("A sync writes to tables, partitioned tables, foreign tables and updatable views.")));
	}
}

static void
find_table(const TableSpec *spec, TargetTable *table)
{
	const char *schema;
	const char *name;
	Oid			namespace;

	read_name(spec, &schema, &name);
	table->name = quote_qualified_identifier(schema, name);
	namespace = get_namespace_oid(schema, true);
	if (!OidIsValid(namespace))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema \"%s\" does not exist", schema),
				 errhint("A table in another schema than the destination's is named with its own: %s.",
						 quote_qualified_identifier("crm", name))));
	table->relation = get_relname_relid(name, namespace);
	if (!OidIsValid(table->relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" does not exist", table->name),
				 errhint("The sync's object is the table's name; without a schema, the destination's \"schema\" counts, which is \"%s\".",
						 spec->schema)));
	table->kind = get_rel_relkind(table->relation);
	check_owner(table, namespace);
	check_kind(table);
}

/* --- its columns --- */

static void
read_column(Form_pg_attribute attribute, TargetColumn *column)
{
	column->name = pstrdup(NameStr(attribute->attname));
	column->number = attribute->attnum;
	column->type = attribute->atttypid;
	column->type_text = format_type_extended(attribute->atttypid, attribute->atttypmod,
											 FORMAT_TYPE_TYPEMOD_GIVEN |
											 FORMAT_TYPE_FORCE_QUALIFY);
	column->required = attribute->attnotnull && !attribute->atthasdef &&
		attribute->attidentity == '\0';
	column->generated = attribute->attgenerated != '\0' ||
		attribute->attidentity == ATTRIBUTE_IDENTITY_ALWAYS;
}

static void
read_columns(Relation relation, TargetTable *table)
{
	TupleDesc	descriptor = RelationGetDescr(relation);

	table->columns = palloc0(Max(1, descriptor->natts) * sizeof(TargetColumn));
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (!attribute->attisdropped)
			read_column(attribute, &table->columns[table->column_count++]);
	}
}

int
target_column_place(const TargetTable *table, const char *name)
{
	for (int i = 0; i < table->column_count; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return i;
	return -1;
}

int
target_column(const TargetTable *table, const char *name)
{
	int			place = target_column_place(table, name);
	const char **names = palloc(Max(1, table->column_count) * sizeof(char *));
	const char *nearest;

	if (place >= 0)
		return place;
	for (int i = 0; i < table->column_count; i++)
		names[i] = table->columns[i].name;
	nearest = nearest_name(name, names, table->column_count);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("table \"%s\" has no column \"%s\"", table->name, name),
			 nearest != NULL ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

/* --- its key --- */

/* Is the index unique, at once and for all rows, over exactly these columns? */
static bool
index_fits(Relation index, const Bitmapset *key)
{
	Form_pg_index form = index->rd_index;
	Bitmapset  *columns = NULL;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
		form->indisexclusion ||
		RelationGetIndexPredicate(index) != NIL ||
		RelationGetIndexExpressions(index) != NIL)
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
		columns = bms_add_member(columns, form->indkey.values[i]);
	return bms_equal(columns, key);
}

static bool
find_unique_index(Relation relation, const TargetTable *table)
{
	Bitmapset  *key = NULL;
	List	   *indexes = RelationGetIndexList(relation);
	ListCell   *cell;
	bool		found = false;

	for (int i = 0; i < table->key_count; i++)
		key = bms_add_member(key, table->columns[table->key[i]].number);
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		found = found || index_fits(index, key);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

static void
check_key_type(const TargetTable *table, const TargetColumn *column)
{
	TypeCacheEntry *type = lookup_type_cache(column->type, TYPECACHE_EQ_OPR);

	if (!OidIsValid(type->eq_opr))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("column \"%s\" of table \"%s\" cannot identify a record",
						column->name, table->name),
				 errdetail("Its type %s has no equality.", format_type_be(column->type))));
}

TargetTable *
target_table_open(const TableSpec *spec, int key_count, const char *const *key_columns)
{
	TargetTable *table = palloc0(sizeof(TargetTable));
	Relation	relation;

	find_table(spec, table);
	relation = relation_open(table->relation, AccessShareLock);
	read_columns(relation, table);
	table->key_count = key_count;
	table->key = palloc(Max(1, key_count) * sizeof(int));
	for (int i = 0; i < key_count; i++)
	{
		table->key[i] = target_column(table, key_columns[i]);
		check_key_type(table, &table->columns[table->key[i]]);
	}
	if (table->kind == RELKIND_RELATION || table->kind == RELKIND_PARTITIONED_TABLE)
		table->has_unique_key = find_unique_index(relation, table);
	relation_close(relation, AccessShareLock);
	return table;
}

/* The column that a column of the model's primary key is mapped to. */
static const char *
mapped_key_column(const SyncDefinition *definition, const char *key_column)
{
	for (int i = 0; i < definition->mapping_count; i++)
		if (definition->mappings[i].source == MAPPING_COLUMN &&
			strcmp(definition->mappings[i].text, key_column) == 0)
			return definition->mappings[i].destination;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("sync \"%s\" does not say which row of the table a record is",
					definition->sync_name),
			 errdetail("The model's key column \"%s\" is mapped to no column of the table.", key_column),
			 errhint("Map it, or mark the mapping of another unique column with \"identifier\": true.")));
}

TargetTable *
target_table_of_sync(const TableSpec *spec, const SyncDefinition *definition)
{
	TargetTable *table;
	const char **columns;
	const char **members;

	if (definition->identifier != NULL)
		return target_table_open(spec, 1, (const char *const *) &definition->identifier);

	columns = palloc(definition->key_count * sizeof(char *));
	members = palloc(definition->key_count * sizeof(char *));
	for (int i = 0; i < definition->key_count; i++)
	{
		const char *name = definition->key_columns[i];

		columns[i] = mapped_key_column(definition, name);
		members[i] = pg_server_to_any(name, strlen(name), PG_UTF8);
	}
	table = target_table_open(spec, definition->key_count, columns);
	table->key_members = members;
	return table;
}

bool
target_column_is_key(const TargetTable *table, int place)
{
	for (int i = 0; i < table->key_count; i++)
		if (table->key[i] == place)
			return true;
	return false;
}
