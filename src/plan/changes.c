/*
 * changes.c
 *		What becomes of rows that are not as they were.
 *
 * The sync's mode decides which changes are planned; a row that cannot be sent
 * is rejected, with a reason, and the run goes on.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "plan/identity.h"
#include "plan/planner.h"

static const Slice no_slice = {"", 0};

#define no_record {{"", 0}, {"", 0}, {"", 0}, {"", 0}, {"", 0}}

static void
plan_change(Planner *planner, PlannedChange *change)
{
	planner->sink->change(planner->sink, change);
	planner->figures->changes[change->operation]++;
}

static void
reject_row(Planner *planner, Operation operation, Slice key, const char *code,
		   const char *message)
{
	planner->sink->reject(planner->sink, operation, key, code, message);
	planner->figures->rows_rejected++;
}

/* Does the mode leave alone what has changed in a row that is new or known? */
static bool
is_left_alone(const Planner *planner, bool known)
{
	switch (planner->definition->mode)
	{
		case MODE_APPEND:
			return known;
		case MODE_UPDATE:
			return !known;
		default:
			return false;
	}
}

static bool
render_record(Planner *planner, const Datum *values, const bool *nulls,
			  Record *record, RecordProblem *problem)
{
	record->key = no_slice;
	record->id = no_slice;
	record->version = no_slice;
	return record_write_key(planner->writer, values, nulls, &record->key, problem) &&
		record_write_identifier(planner->writer, values, nulls, &record->identifier, problem) &&
		record_write_data(planner->writer, values, nulls, &record->data, problem);
}

/* The identity that the destination knows an entry's record by, if stored. */
static bool
read_identity(Planner *planner, uint32 entry, Record *identity)
{
	MemoryContext old_context;
	int64		segment_id;
	int			index;
	bool		found;

	old_context = MemoryContextSwitchTo(planner->context);
	if (planner->identities == NULL)
		planner->identities = identity_reader_create(planner->definition->sync_id);
	diff_locate(planner->diff, entry, &segment_id, &index);
	found = segment_read_identity(planner->identities, segment_id, index, identity);
	MemoryContextSwitchTo(old_context);
	return found;
}

static bool
slices_equal(Slice a, Slice b)
{
	return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

/* What the destination calls an entry's record, and its version, if stored. */
static void
add_id(Planner *planner, uint32 entry, Record *record)
{
	Record		identity;

	if (!planner->options->with_ids || entry >= planner->diff->snapshot_count ||
		!read_identity(planner, entry, &identity))
		return;
	record->id = identity.id;
	record->version = identity.version;
}

/*
 * In a mirror, a record whose identifier has changed is another record at the
 * destination: the old one goes, the new one comes.  Returns whether that is
 * so.
 */
static bool
plan_delete_of_old_identity(Planner *planner, const PlannedChange *change, uint32 entry)
{
	PlannedChange delete = {.record = no_record};

	if (planner->definition->mode != MODE_MIRROR || !planner->stores_identities ||
		entry >= planner->diff->snapshot_count ||
		!read_identity(planner, entry, &delete.record) ||
		slices_equal(delete.record.identifier, change->record.identifier))
		return false;

	delete.operation = OPERATION_DELETE;
	delete.key = change->key;
	delete.hash = ROW_HASH_DELETED;
	plan_change(planner, &delete);
	return true;
}

void
planner_changed_row(Planner *planner, const Datum *values, const bool *nulls,
					RecordKey key, uint64 hash, uint32 entry, bool known)
{
	PlannedChange change = {0};
	RecordProblem problem;

	if (is_left_alone(planner, known))
	{
		diff_set_state(planner->diff, entry, ENTRY_CHANGED);
		planner->figures->rows_left_alone++;
		return;
	}

	change.operation = known ? OPERATION_UPDATE : OPERATION_CREATE;
	change.key = key;
	change.hash = hash;
	if (!render_record(planner, values, nulls, &change.record, &problem))
	{
		diff_set_state(planner->diff, entry, ENTRY_REJECTED);
		reject_row(planner, change.operation, change.record.key,
				   value_status_code(problem.status),
				   psprintf(problem.in_key ? "key column \"%s\" %s" : "field \"%s\" %s",
							problem.field, value_status_reason(problem.status)));
		return;
	}

	if (plan_delete_of_old_identity(planner, &change, entry))
	{
		change.operation = OPERATION_CREATE;
		planner->figures->creates_supersede = true;
	}
	else if (known)
		add_id(planner, entry, &change.record);
	diff_set_state(planner->diff, entry, ENTRY_CHANGED);
	plan_change(planner, &change);
}

static void
add_withdrawn(Planner *planner, RecordKey key)
{
	if (planner->withdrawn_count == planner->withdrawn_limit)
	{
		int			limit = Max(256, planner->withdrawn_limit * 2);

		planner->withdrawn = planner->withdrawn == NULL ?
			MemoryContextAllocHuge(planner->context, limit * sizeof(RecordKey)) :
			repalloc_huge(planner->withdrawn, limit * sizeof(RecordKey));
		planner->withdrawn_limit = limit;
	}
	planner->withdrawn[planner->withdrawn_count++] = key;
}

/*
 * None of the rows of one key is sent, since nobody could say which.  The first
 * of them was counted, and perhaps planned, before the second came.
 */
void
planner_repeated_row(Planner *planner, const Datum *values, const bool *nulls,
					 RecordKey key, uint32 entry)
{
	Diff	   *diff = planner->diff;
	EntryState	state = diff_state(diff, entry);
	bool		known = diff_hash_is_known(diff_hash(diff, entry, diff->key_width));
	Operation	operation = known ? OPERATION_UPDATE : OPERATION_CREATE;
	Slice		key_json = no_slice;
	RecordProblem problem;
	int			rows = 1;

	if (state != ENTRY_REJECTED)
	{
		if (state == ENTRY_UNCHANGED)
			planner->figures->rows_unchanged--;
		else if (is_left_alone(planner, known))
			planner->figures->rows_left_alone--;
		else
			add_withdrawn(planner, key);
		diff_set_state(diff, entry, ENTRY_REJECTED);
		rows = 2;
	}

	(void) record_write_key(planner->writer, values, nulls, &key_json, &problem);
	for (int i = 0; i < rows; i++)
		reject_row(planner, operation, key_json, "duplicate_key",
				   _("duplicate key: another row of the model has the same one"));
}

void
planner_keyless_row(Planner *planner, const Datum *values, const bool *nulls)
{
	Slice		key_json = no_slice;
	RecordProblem problem;

	(void) record_write_key(planner->writer, values, nulls, &key_json, &problem);
	reject_row(planner, OPERATION_CREATE, key_json, "null_key",
			   _("a key column is NULL"));
}

static int
compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(RecordKey));
}

void
planner_withdraw_repeated(Planner *planner)
{
	int64		withdrawn[OPERATION_COUNT] = {0};

	if (planner->withdrawn_count == 0)
		return;
	qsort(planner->withdrawn, planner->withdrawn_count, sizeof(RecordKey), compare_keys);
	planner->sink->withdraw(planner->sink, planner->withdrawn,
							planner->withdrawn_count, withdrawn);
	for (int i = 0; i < OPERATION_COUNT; i++)
		planner->figures->changes[i] -= withdrawn[i];
}

static void
plan_delete(Planner *planner, uint32 entry, StringInfo key_text, StringInfo identifier_text)
{
	const SyncDefinition *definition = planner->definition;
	bool		exact = identity_key_is_exact(definition);
	bool		has_identity = false;
	PlannedChange change = {.record = no_record};

	change.operation = OPERATION_DELETE;
	change.key = diff_key(planner->diff, entry, planner->diff->key_width);
	change.hash = ROW_HASH_DELETED;

	if (planner->stores_identities)
		has_identity = read_identity(planner, entry, &change.record);
	else
		add_id(planner, entry, &change.record);
	if (exact)
	{
		resetStringInfo(key_text);
		identity_append_key(definition, change.key, key_text);
		change.record.key.data = key_text->data;
		change.record.key.length = key_text->len;
	}
	if (!planner->stores_identities)
	{
		resetStringInfo(identifier_text);
		identity_append_value(definition, change.key, identifier_text);
		change.record.identifier.data = identifier_text->data;
		change.record.identifier.length = identifier_text->len;
	}
	else if (!has_identity)
	{
		reject_row(planner, OPERATION_DELETE, change.record.key, "no_identity",
				   _("the record was sent before its identifier was stored; it cannot be deleted"));
		return;
	}
	plan_change(planner, &change);
}

static bool
is_unseen(const Diff *diff, uint32 entry)
{
	return diff_state(diff, entry) == ENTRY_UNSEEN &&
		diff_hash(diff, entry, diff->key_width) != ROW_HASH_DELETED;
}

void
planner_delete_unseen(Planner *planner)
{
	Diff	   *diff = planner->diff;
	StringInfoData key_text;
	StringInfoData identifier_text;
	uint32		entry = 0;

	while (entry < diff->snapshot_count && !is_unseen(diff, entry))
		entry++;
	if (entry == diff->snapshot_count)
		return;

	diff_complete(diff);
	initStringInfo(&key_text);
	initStringInfo(&identifier_text);
	for (; entry < diff->snapshot_count; entry++)
	{
		MemoryContext old_context;

		if (!is_unseen(diff, entry))
			continue;
		CHECK_FOR_INTERRUPTS();
		old_context = MemoryContextSwitchTo(planner->row_context);
		plan_delete(planner, entry, &key_text, &identifier_text);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(planner->row_context);
	}
}
