/*
 * waiting_run.c
 *		The runs that wait for a runner, and in which order they get one.
 *
 * A sync has one of them at most: its first queued run if none is running, or
 * the running one whose runner is gone or has let its lease run out.
 *
 * Slots are few, and no owner may keep the others from theirs by having many
 * syncs.  So the next slot goes to the owner who has the fewest runs at work;
 * among equals, to who has waited longest: since his oldest waiting run was
 * queued, or since the last run of his was started, whichever is later.  His
 * own runs start in the order in which they were queued.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/timestamp.h"

#include "base/fault.h"
#include "store/scope.h"
#include "store/transaction.h"
#include "workers/shared_state.h"
#include "workers/waiting_run.h"

/*
 * A run that was started in vain waits before the next try, a minute at most: if
 * it is more, the clock went back.
 *
 * Only a start since the oldest of these runs was queued can have been anybody's
 * turn.
 */
static const char *const waiting_query =
"WITH live AS MATERIALIZED ("
"  SELECT r.id, m.owner::oid AS owner, r.queued_at, r.status,"
"   (r.status = 'queued' AND NOT EXISTS ("
"      SELECT FROM signalsmith.run o WHERE o.sync_id = r.sync_id"
"       AND (o.status = 'running' OR o.status = 'queued' AND o.id < r.id))"
"    OR r.status = 'running' AND ("
"      NOT EXISTS (SELECT FROM pg_stat_get_activity(r.runner_pid) a"
"                  WHERE a.backend_start = r.runner_started_at)"
"      OR r.phase = 'deliver' AND r.lease_until < clock_timestamp()))"
"   AND (r.start_after IS NULL OR r.start_after <= clock_timestamp()"
"    OR r.start_after > clock_timestamp() + interval '2 minutes') AS waits"
"  FROM signalsmith.run r JOIN signalsmith.sync s ON s.id = r.sync_id"
"   JOIN signalsmith.model m ON m.id = s.model_id"
"  WHERE r.status IN ('queued', 'running')"
"), at_work AS ("
"  SELECT owner, count(*) AS runs FROM live"
"  WHERE status = 'running' AND NOT waits GROUP BY owner"
"), last_start AS ("
"  SELECT m.owner::oid AS owner, max(r.started_at) AS at"
"  FROM signalsmith.run r JOIN signalsmith.sync s ON s.id = r.sync_id"
"   JOIN signalsmith.model m ON m.id = s.model_id"
"  WHERE r.started_at > (SELECT min(queued_at) FROM live WHERE waits) GROUP BY m.owner"
"), turns AS ("
"  SELECT w.id, w.owner, row_number() OVER ("
"    ORDER BY w.place + coalesce(at_work.runs, 0),"
"     greatest(w.queued_at, last_start.at), w.queued_at, w.id) AS turn"
"  FROM (SELECT id, owner, queued_at,"
"     row_number() OVER (PARTITION BY owner ORDER BY queued_at, id) AS place"
"     FROM live WHERE waits) w"
"   LEFT JOIN at_work USING (owner) LEFT JOIN last_start USING (owner)"
"  ORDER BY turn LIMIT $1"
")"
" SELECT r.id, r.sync_id, t.owner::int8, r.lease,"
"  (SELECT a.pid FROM pg_stat_get_activity(r.runner_pid) a"
"   WHERE r.status = 'running' AND a.backend_start = r.runner_started_at)::int8,"
"  r.dismissed,"
"  r.runner_started_at > pg_postmaster_start_time() AND r.runner_started_at < $2,"
"  r.crashes::int8, r.starts::int8"
" FROM turns t JOIN signalsmith.run r ON r.id = t.id ORDER BY t.turn";

static const char *const obstacle_query =
"SELECT signalsmith._obstacle_of($1)";

/* The sync before the run: whoever locks both does it in this order. */
static const char *const lock_sync_query =
"SELECT FROM signalsmith.sync WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED";

static const char *const lock_run_query =
"SELECT FROM signalsmith.run WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED";

static const char *const note_start_query =
"UPDATE signalsmith.run SET starts = starts + 1, crashes = crashes + $2,"
"  start_after = clock_timestamp() + make_interval(secs => CASE WHEN starts < 10 THEN least(8, 2 ^ starts) ELSE 60 END)"
" WHERE id = $1";

static const char *const forget_start_query =
"UPDATE signalsmith.run SET starts = starts - 1, crashes = crashes - $2, start_after = NULL"
" WHERE id = $1";

static const char *const note_dismissal_query =
"UPDATE signalsmith.run SET dismissed = true, start_after = clock_timestamp() + interval '2 seconds'"
" WHERE id = $1";

int
waiting_runs_read(WaitingRun *runs, int size)
{
	Scope		scope;
	int			count;

	transaction_begin();
	scope_enter(&scope);
	count = scope_execute(waiting_query, "lz", Int64GetDatum(size),
						  TimestampTzGetDatum(shared_state_initialized_at()));
	for (int i = 0; i < count; i++)
	{
		runs[i].run_id = scope_int64(i, 1);
		runs[i].sync_id = scope_int64(i, 2);
		runs[i].owner = (Oid) scope_int64(i, 3);
		runs[i].lease = scope_int64(i, 4);
		runs[i].stale_pid = (int) scope_int64(i, 5);
		runs[i].dismissed = scope_bool(i, 6);
		runs[i].crashed = scope_bool(i, 7);
		runs[i].crashes = (int) scope_int64(i, 8);
		runs[i].starts = (int) scope_int64(i, 9);
	}
	scope_leave(&scope);
	transaction_commit();
	return count;
}

char *
waiting_run_obstacle(const WaitingRun *run, MemoryContext context)
{
	char	   *obstacle;
	Scope		scope;

	transaction_begin();
	scope_enter(&scope);
	scope_execute(obstacle_query, "l", Int64GetDatum(run->sync_id));
	obstacle = scope_text(0, 1, context);
	scope_leave(&scope);
	transaction_commit();
	return obstacle;
}

bool
waiting_run_lock(const WaitingRun *run)
{
	Scope		scope;
	bool		locked;

	scope_enter(&scope);
	locked = scope_execute(lock_sync_query, "l", Int64GetDatum(run->sync_id)) > 0 &&
		scope_execute(lock_run_query, "l", Int64GetDatum(run->run_id)) > 0;
	scope_leave(&scope);
	return locked;
}

static bool
update_run(const WaitingRun *run, const char *query)
{
	Scope		scope;
	bool		locked;

	transaction_begin();
	locked = waiting_run_lock(run);
	if (locked)
	{
		scope_enter(&scope);
		scope_execute(query, "li", Int64GetDatum(run->run_id),
					  Int32GetDatum(run->crashed ? 1 : 0));
		scope_leave(&scope);
	}
	transaction_commit();
	return locked;
}

bool
waiting_run_note_start(const WaitingRun *run)
{
	FAULT_POINT("note-start");
	return update_run(run, note_start_query);
}

bool
waiting_run_forget_start(const WaitingRun *run)
{
	return update_run(run, forget_start_query);
}

bool
waiting_run_note_dismissal(const WaitingRun *run)
{
	return update_run(run, note_dismissal_query);
}

int
running_runs_count(void)
{
	Scope		scope;
	int			running;

	transaction_begin();
	scope_enter(&scope);
	scope_execute("SELECT count(*) FROM signalsmith.run WHERE status = 'running'", "");
	running = (int) scope_int64(0, 1);
	scope_leave(&scope);
	transaction_commit();
	return running;
}
