/*
 * types.c
 *		Names of operations and modes.
 */
#include "postgres.h"

#include "base/types.h"

static const char *const operation_names[] = {"create", "update", "delete"};
static const char *const mode_names[] = {"upsert", "mirror", "append", "update"};

const char *
operation_name(Operation operation)
{
	return operation_names[operation];
}

/* The tables' CHECK constraints keep other names out. */
Operation
operation_from_name(const char *name)
{
	for (size_t i = 0; i < lengthof(operation_names); i++)
		if (strcmp(name, operation_names[i]) == 0)
			return (Operation) i;
	elog(ERROR, "unrecognized operation \"%s\"", name);
}

const char *
sync_mode_name(SyncMode mode)
{
	return mode_names[mode];
}

SyncMode
sync_mode_from_name(const char *name)
{
	if (strcmp(name, "insert") == 0)
		return MODE_APPEND;
	for (size_t i = 0; i < lengthof(mode_names); i++)
		if (strcmp(name, mode_names[i]) == 0)
			return (SyncMode) i;
	elog(ERROR, "unrecognized sync mode \"%s\"", name);
}
