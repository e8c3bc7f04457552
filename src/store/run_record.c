/*
 * run_record.c
 *		The row of a run: claiming it, its figures, its end.
 *
 * Every statement that records something names the lease that its process
 * claimed.  Who was taken over updates no row, learns it, and stops.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "store/run_record.h"
#include "store/scope.h"

/*
 * A runner that plans is deep in a query and cannot renew its lease: as long as
 * its process lives, the run is its own.  The process is identified by its start
 * time too, since process ids are used again.
 */
static const char *const claim_query =
"UPDATE signalsmith.run r SET status = 'running',"
"  phase = coalesce(r.phase, 'plan'),"
"  started_at = coalesce(r.started_at, clock_timestamp()),"
"  lease = r.lease + 1,"
"  lease_until = clock_timestamp() + make_interval(secs => $4),"
"  runner_pid = $2, runner_started_at = $3, dismissed = false"
" WHERE r.id = ("
"  SELECT c.id FROM signalsmith.run c WHERE c.id = $1"
"   AND (c.status = 'queued' AND NOT EXISTS ("
"      SELECT FROM signalsmith.run o WHERE o.sync_id = c.sync_id"
"       AND (o.status = 'running' OR o.status = 'queued' AND o.id < c.id))"
"    OR c.status = 'running' AND ("
"     NOT EXISTS (SELECT FROM pg_stat_get_activity(c.runner_pid) a"
"                 WHERE a.backend_start = c.runner_started_at)"
"     OR c.phase = 'deliver' AND c.lease_until < clock_timestamp()))"
"  FOR UPDATE SKIP LOCKED)"
" RETURNING r.sync_id, r.lease, r.phase = 'deliver', r.full_resync,"
"  r.deletes_held, r.creates_supersede, r.cancel_requested,"
"  r.trigger = 'manual', r.changes_planned";

bool
run_claim(int64 run_id, RunClaim *claim)
{
	Scope		scope;
	bool		claimed;

	scope_enter(&scope);
	claimed = scope_execute(claim_query, "lizd",
							Int64GetDatum(run_id), Int32GetDatum(MyProcPid),
							TimestampTzGetDatum(MyStartTimestamp),
							Float8GetDatum(LEASE_SECONDS)) > 0;
	if (claimed)
	{
		claim->run_id = run_id;
		claim->sync_id = scope_int64(0, 1);
		claim->lease = scope_int64(0, 2);
		claim->planned = scope_bool(0, 3);
		claim->full_resync = scope_bool(0, 4);
		claim->deletes_held = scope_int64(0, 5);
		claim->creates_supersede = scope_bool(0, 6);
		claim->cancel_requested = scope_bool(0, 7);
		claim->manual = scope_bool(0, 8);
		claim->changes_planned = scope_int64(0, 9);
	}
	scope_leave(&scope);
	return claimed;
}

void
run_lease_lost(const RunClaim *claim)
{
	bool		deleted = scope_execute("SELECT FROM signalsmith.run WHERE id = $1",
										"l", Int64GetDatum(claim->run_id)) == 0;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 deleted ?
			 errmsg("run \"run_" INT64_FORMAT "\" ends, for its sync was deleted",
					claim->run_id) :
			 errmsg("run \"run_" INT64_FORMAT "\" was taken over by another runner",
					claim->run_id)));
}

/*
 * Nothing to deliver, nothing to freeze.  One statement: a second UPDATE of the
 * row would have its foreign key checked, which locks the sync after the run.
 */
static const char *const plan_query =
"UPDATE signalsmith.run SET phase = 'deliver', planned_at = clock_timestamp(),"
"  starts = 0, crashes = 0, start_after = NULL,"
"  lease_until = clock_timestamp() + make_interval(secs => $3),"
"  rows_processed = $4, rows_unchanged = $5, rows_failed = $6,"
"  changes_planned = $7, batches_planned = $8, bytes_staged = $9,"
"  snapshot_rows = $10, peak_memory = $11, deletes_held = $12,"
"  creates_supersede = $13,"
"  query_ms = $14, diff_ms = $15, stage_ms = $16, after_recovery = $17,"
"  definition = CASE WHEN $7 > 0 THEN jsonb_build_object("
"    'sync_name', $18, 'mode', $19, 'object', $20,"
"    'identifier', $21, 'connector', $22, 'manifest', $23, 'config', $24) END"
" WHERE id = $1 AND lease = $2";

static const char *const snapshot_key_query =
"UPDATE signalsmith.sync SET snapshot_key = $2"
" WHERE id = $1 AND snapshot_key IS DISTINCT FROM $2";

/* A newer plan has looked again: what older runs held back is out of date. */
static const char *const discard_held_query =
"WITH outdated AS ("
"  UPDATE signalsmith.run SET deletes_held = 0"
"  WHERE sync_id = $1 AND status = 'held' AND deletes_held > 0 RETURNING id)"
" DELETE FROM signalsmith.outbox WHERE run_id IN (SELECT id FROM outdated)";

static const char *const trust_again_query =
"UPDATE signalsmith.sync SET hold_next_deletes = false WHERE id = $1";

void
run_record_plan(RunClaim *claim, const SyncDefinition *definition,
				const RunPlanFigures *figures, const char *snapshot_key)
{
	Scope		scope;

	scope_enter(&scope);

	/* The sync before the run: whoever locks both does it in this order. */
	if (definition->hold_deletes)
		scope_execute(trust_again_query, "l", Int64GetDatum(claim->sync_id));
	if (figures->changes_planned > 0)
		scope_execute(snapshot_key_query, "lt",
					  Int64GetDatum(claim->sync_id),
					  CStringGetTextDatum(snapshot_key));
	if (scope_execute(plan_query, "lldlllllllllbdddbttTTtjj",
					  Int64GetDatum(claim->run_id), Int64GetDatum(claim->lease),
					  Float8GetDatum(LEASE_SECONDS),
					  Int64GetDatum(figures->rows_processed),
					  Int64GetDatum(figures->rows_unchanged),
					  Int64GetDatum(figures->rows_failed),
					  Int64GetDatum(figures->changes_planned),
					  Int64GetDatum(figures->batches_planned),
					  Int64GetDatum(figures->bytes_staged),
					  Int64GetDatum(figures->snapshot_rows),
					  Int64GetDatum(figures->peak_memory),
					  Int64GetDatum(figures->deletes_held),
					  BoolGetDatum(figures->creates_supersede),
					  Float8GetDatum(figures->query_ms),
					  Float8GetDatum(figures->diff_ms),
					  Float8GetDatum(figures->stage_ms),
					  BoolGetDatum(definition->hold_deletes),
					  CStringGetTextDatum(definition->sync_name),
					  CStringGetTextDatum(definition->mode_name),
					  definition->object == NULL,
					  definition->object ? CStringGetTextDatum(definition->object) : (Datum) 0,
					  definition->identifier == NULL,
					  definition->identifier ? CStringGetTextDatum(definition->identifier) : (Datum) 0,
					  CStringGetTextDatum(definition->connector),
					  JsonbPGetDatum(definition->manifest),
					  JsonbPGetDatum(definition->config)) == 0)
		run_lease_lost(claim);
	scope_execute(discard_held_query, "l", Int64GetDatum(claim->sync_id));
	scope_leave(&scope);

	claim->planned = true;
	claim->changes_planned = figures->changes_planned;
	claim->deletes_held = figures->deletes_held;
	claim->creates_supersede = figures->creates_supersede;
}

static const char *const frozen_query =
"SELECT definition->>'sync_name', definition->>'mode', definition->>'object',"
"  definition->>'identifier',"
"  definition->>'connector', definition->'manifest', definition->'config'"
" FROM signalsmith.run WHERE id = $1 AND definition IS NOT NULL";

void
run_read_frozen_definition(int64 run_id, SyncDefinition *definition)
{
	MemoryContext context = CurrentMemoryContext;
	Scope		scope;

	scope_enter(&scope);
	if (scope_execute(frozen_query, "l", Int64GetDatum(run_id)) > 0)
	{
		definition->sync_name = scope_text(0, 1, context);
		definition->mode_name = scope_text(0, 2, context);
		definition->mode = sync_mode_from_name(definition->mode_name);
		definition->object = scope_text(0, 3, context);
		definition->identifier = scope_text(0, 4, context);
		definition->connector = scope_text(0, 5, context);
		definition->manifest = scope_jsonb(0, 6, context);
		definition->config = scope_jsonb(0, 7, context);
	}
	scope_leave(&scope);
}

void
run_extend_lease(const RunClaim *claim, int seconds)
{
	Scope		scope;

	scope_enter(&scope);
	if (scope_execute("UPDATE signalsmith.run"
					  " SET lease_until = clock_timestamp() + make_interval(secs => $3)"
					  " WHERE id = $1 AND lease = $2",
					  "lld", Int64GetDatum(claim->run_id), Int64GetDatum(claim->lease),
					  Float8GetDatum(seconds)) == 0)
		run_lease_lost(claim);
	scope_leave(&scope);
}

static const char *const progress_query =
"UPDATE signalsmith.run SET"
"  lease_until = clock_timestamp() + make_interval(secs => $3),"
"  rows_created = rows_created + $4, rows_updated = rows_updated + $5,"
"  rows_deleted = rows_deleted + $6, rows_failed = rows_failed + $7,"
"  batches_sent = batches_sent + $8, requests = requests + $9,"
"  bytes_sent = bytes_sent + $10, deliver_ms = coalesce(deliver_ms, 0) + $11,"
"  request_times = (SELECT array_agg(coalesce(a, 0) + b ORDER BY n)"
"   FROM unnest(request_times, $12) WITH ORDINALITY AS bucket (a, b, n)),"
"  starts = 0, crashes = 0, start_after = NULL"
" WHERE id = $1 AND lease = $2";

static Datum
build_request_times(const RunDeliveryFigures *figures)
{
	Datum		counts[REQUEST_TIME_BUCKETS];

	for (int i = 0; i < REQUEST_TIME_BUCKETS; i++)
		counts[i] = Int64GetDatum(figures->request_times[i]);
	return scope_bigint_array(counts, REQUEST_TIME_BUCKETS);
}

bool
run_record_progress(const RunClaim *claim, const RunDeliveryFigures *figures)
{
	return scope_execute(progress_query, "lldllllllldm",
						 Int64GetDatum(claim->run_id),
						 Int64GetDatum(claim->lease),
						 Float8GetDatum(figures->lease_seconds),
						 Int64GetDatum(figures->confirmed[OPERATION_CREATE]),
						 Int64GetDatum(figures->confirmed[OPERATION_UPDATE]),
						 Int64GetDatum(figures->confirmed[OPERATION_DELETE]),
						 Int64GetDatum(figures->failed),
						 Int64GetDatum(figures->batches),
						 Int64GetDatum(figures->requests),
						 Int64GetDatum(figures->bytes_sent),
						 Float8GetDatum(figures->deliver_ms),
						 build_request_times(figures)) > 0;
}

bool
run_finish(const RunClaim *claim, const char *status, const char *error,
		   bool permanent)
{
	Scope		scope;
	bool		finished;

	scope_enter(&scope);
	scope_execute("SELECT signalsmith._finish_run($1, $2, $3, $4, $5)", "lltTb",
				  Int64GetDatum(claim->run_id), Int64GetDatum(claim->lease),
				  CStringGetTextDatum(status), error == NULL,
				  error ? CStringGetTextDatum(error) : (Datum) 0,
				  BoolGetDatum(permanent));
	finished = scope_bool(0, 1);
	scope_leave(&scope);
	return finished;
}

bool
run_cancel_requested(int64 run_id)
{
	Scope		scope;
	bool		requested;

	scope_enter(&scope);
	requested = scope_execute("SELECT FROM signalsmith.run WHERE id = $1 AND cancel_requested",
							  "l", Int64GetDatum(run_id)) > 0;
	scope_leave(&scope);
	return requested;
}
