/*
 * target_check.c
 *		Whether a sync can write what it maps to its table, as its owner.
 *
 * All of it would show at the first batch as well; but then a run has been
 * planned, and perhaps a row is blamed for what is wrong with the sync.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "target/target_check.h"
#include "target/target_table.h"

/* What is checked, and what it writes. */
typedef struct Check
{
	const SyncDefinition *definition;
	const TargetTable *table;
	bool	   *mapped;			/* each column of the table */
	bool		inserts;
	bool		updates;
	bool		deletes;
} Check;

/* --- mappings --- */

/* Nested fields are written as one value: the object that they make up. */
static void
check_nested(const Check *check, const TargetColumn *column, const char *destination)
{
	Oid			type = getBaseType(column->type);

	if (type == JSONOID || type == JSONBOID || type_is_rowtype(type))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("destination \"%s\" nests in column \"%s\", which is of type %s",
					destination, column->name, format_type_be(column->type)),
			 errdetail("Nested fields become one object, for a column of type json, jsonb or a composite type.")));
}

static void
check_mapping(const Check *check, const char *destination)
{
	size_t		length = strcspn(destination, ".");
	int			place = target_column(check->table, pnstrdup(destination, length));
	const TargetColumn *column = &check->table->columns[place];

	if (column->generated)
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("column \"%s\" of table \"%s\" is generated and cannot be written",
						column->name, check->table->name),
				 errhint("Remove its mapping.")));
	if (destination[length] == '.')
		check_nested(check, column, destination);
	check->mapped[place] = true;
}

static void
check_required(const Check *check)
{
	for (int i = 0; i < check->table->column_count; i++)
	{
		const TargetColumn *column = &check->table->columns[i];

		if (!column->required || check->mapped[i])
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("sync \"%s\" maps nothing to column \"%s\" of table \"%s\"",
						check->definition->sync_name, column->name, check->table->name),
				 errdetail("The column is not null and has no default, so no row could be inserted."),
				 errhint("Map something to it, such as {\"constant\": VALUE, \"destination\": \"%s\"}, or give it a default.",
						 column->name)));
	}
}

static void
check_anything_to_update(const Check *check)
{
	for (int i = 0; i < check->table->column_count; i++)
		if (check->mapped[i] && !target_column_is_key(check->table, i))
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("sync \"%s\" maps only what identifies its records", check->definition->sync_name),
			 errdetail("Mode \"update\" changes other columns of rows that are there."),
			 errhint("Map at least one more column.")));
}

static void
check_mappings(const Check *check)
{
	for (int i = 0; i < check->definition->mapping_count; i++)
		check_mapping(check, check->definition->mappings[i].destination);
	for (int i = 0; i < check->table->key_count; i++)
		check->mapped[check->table->key[i]] = true;
	if (check->inserts)
		check_required(check);
	if (check->definition->mode == MODE_UPDATE)
		check_anything_to_update(check);
}

/* --- rights --- */

pg_noreturn static void
lacks_right(const Check *check, const char *right, const char *object, const char *grant)
{
	const char *owner = GetUserNameFromId(check->definition->owner, false);

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("role \"%s\" may not %s %s", owner, right, object),
			 errdetail("A sync writes with the rights of its owner, the owner of its model."),
			 errhint("GRANT %s TO %s.", grant, quote_identifier(owner))));
}

/* On the whole table, or on each of its columns that are written, or read. */
static void
check_right(const Check *check, AclMode mode, const char *right, bool key_only)
{
	const TargetTable *table = check->table;
	Oid			owner = check->definition->owner;

	if (pg_class_aclcheck(table->relation, owner, mode) == ACLCHECK_OK)
		return;
	for (int i = 0; i < table->column_count; i++)
		if ((key_only ? target_column_is_key(table, i) : check->mapped[i]) &&
			(mode == ACL_DELETE ||
			 pg_attribute_aclcheck(table->relation, table->columns[i].number,
								   owner, mode) != ACLCHECK_OK))
			lacks_right(check, right, psprintf("table \"%s\"", table->name),
						psprintf("%s ON %s", right, table->name));
}

static void
check_rights(const Check *check)
{
	Oid			namespace = get_rel_namespace(check->table->relation);
	char	   *schema = get_namespace_name(namespace);

	if (schema_aclcheck(namespace, check->definition->owner, ACL_USAGE) != ACLCHECK_OK)
		lacks_right(check, "USE", psprintf("schema \"%s\"", schema),
					psprintf("USAGE ON SCHEMA %s", quote_identifier(schema)));
	check_right(check, ACL_SELECT, "SELECT", true);
	if (check->inserts)
		check_right(check, ACL_INSERT, "INSERT", false);
	if (check->updates)
		check_right(check, ACL_UPDATE, "UPDATE", false);
	if (check->deletes)
		check_right(check, ACL_DELETE, "DELETE", true);
}

/* --- what the table itself can do --- */

static void
check_event(const Check *check, int events, CmdType command, const char *verb)
{
	if (events & (1 << command))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("table \"%s\" does not allow %s, which mode \"%s\" needs",
					check->table->name, verb, check->definition->mode_name),
			 check->table->kind == RELKIND_VIEW ?
			 errdetail("It is a view, and not an updatable one.") :
			 errdetail("Its foreign-data wrapper or its options do not.")));
}

static void
check_events(const Check *check)
{
	int			events = relation_is_updatable(check->table->relation, NIL, true, NULL);

	if (check->inserts)
		check_event(check, events, CMD_INSERT, "INSERT");
	if (check->updates)
		check_event(check, events, CMD_UPDATE, "UPDATE");
	if (check->deletes)
		check_event(check, events, CMD_DELETE, "DELETE");
}

/* Some wrappers need none; postgres_fdw does. */
static void
check_user_mapping(const Check *check)
{
	ForeignTable *foreign;
	ForeignServer *server;
	const char *owner = GetUserNameFromId(check->definition->owner, false);

	if (check->table->kind != RELKIND_FOREIGN_TABLE)
		return;
	foreign = GetForeignTable(check->table->relation);
	server = GetForeignServer(foreign->serverid);
	if (strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, "postgres_fdw") != 0 ||
		SearchSysCacheExists2(USERMAPPINGUSERSERVER,
							  ObjectIdGetDatum(check->definition->owner),
							  ObjectIdGetDatum(server->serverid)) ||
		SearchSysCacheExists2(USERMAPPINGUSERSERVER,
							  ObjectIdGetDatum(InvalidOid),
							  ObjectIdGetDatum(server->serverid)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("role \"%s\" has no user mapping for server \"%s\"", owner, server->servername),
			 errdetail("Foreign table \"%s\" is reached through that server.", check->table->name),
			 errhint("CREATE USER MAPPING FOR %s SERVER %s OPTIONS (user ..., password ...).",
					 quote_identifier(owner), quote_identifier(server->servername))));
}

void
target_check(const TableSpec *spec, const SyncDefinition *definition)
{
	Check		check = {
		.definition = definition,
		.table = target_table_of_sync(spec, definition),
		.inserts = definition->mode != MODE_UPDATE,
		.updates = definition->mode != MODE_APPEND,
		.deletes = definition->mode == MODE_MIRROR
	};

	check.mapped = palloc0(Max(1, check.table->column_count) * sizeof(bool));
	check_mappings(&check);
	check_events(&check);
	check_rights(&check);
	check_user_mapping(&check);
}
