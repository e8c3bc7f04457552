-- What people look at.  A view reads the tables with its owner's rights and
-- filters by the role that reads it; as a security barrier it lets no condition
-- of that role's see a row before the filter has.

CREATE FUNCTION signalsmith._progress()
    RETURNS TABLE (run_id bigint, rows_read bigint, changes_planned bigint)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_progress';
COMMENT ON FUNCTION signalsmith._progress() IS
    'how far those runners of this database are that the caller may see, from shared memory';

CREATE VIEW signalsmith._visible_sync WITH (security_barrier) AS
    SELECT s.*, m.name AS model_name, m.owner
    FROM signalsmith.sync s JOIN signalsmith.model m ON m.id = s.model_id
    WHERE (SELECT pg_has_role('signalsmith_viewer', 'USAGE') OR pg_has_role('signalsmith_admin', 'USAGE'))
        OR pg_has_role(m.owner, 'USAGE');
COMMENT ON VIEW signalsmith._visible_sync IS 'the syncs that the reader may see; for the other views';

CREATE VIEW signalsmith.syncs WITH (security_barrier) AS
    SELECT 'sync_' || s.id AS id,
        s.name,
        s.model_name AS model,
        d.name AS destination,
        s.mode,
        s.status,
        coalesce(s.status_error, 'this database sends nothing, because '
            || (SELECT reason FROM signalsmith._fence)) AS status_error,
        signalsmith._schedule_json(s.schedule) AS schedule,
        date_trunc('seconds', signalsmith._next_run(s.schedule, s.status,
            CASE WHEN s.next_run_at < d.rests_until THEN d.rests_until ELSE s.next_run_at END) + interval '0.5 s') AS next_run_at,
        'run_' || last_run.id AS last_run_id,
        last_run.status AS last_run_status,
        date_trunc('milliseconds', s.last_synced_at) AS last_synced_at,
        s.snapshot_rows AS rows_in_snapshot,
        pg_get_userbyid(s.owner)::text AS owner
    FROM signalsmith._visible_sync s
        JOIN signalsmith.destination d ON d.id = s.destination_id
        LEFT JOIN signalsmith.run live ON live.sync_id = s.id AND live.status = 'running'
        LEFT JOIN signalsmith.run last_run ON last_run.id = coalesce(live.id, s.last_run_id)
    ORDER BY s.id;
COMMENT ON VIEW signalsmith.syncs IS 'syncs and how they are doing';
COMMENT ON COLUMN signalsmith.syncs.status_error IS 'why the sync is in error, or the whole database sends nothing';
COMMENT ON COLUMN signalsmith.syncs.owner IS 'owner of the model, with whose rights the sync runs';
COMMENT ON COLUMN signalsmith.syncs.next_run_at IS 'when the schedule starts the next run; NULL: it does not';
COMMENT ON COLUMN signalsmith.syncs.last_run_id IS 'the run that is under way, else the last one that ended';
COMMENT ON COLUMN signalsmith.syncs.last_synced_at IS 'end of the last run that was not failed or cancelled';
COMMENT ON COLUMN signalsmith.syncs.rows_in_snapshot IS
    'records that the destination is known to hold, as of the last run''s end';

CREATE VIEW signalsmith.runs WITH (security_barrier) AS
    SELECT 'run_' || r.id AS id,
        s.name AS sync,
        r.trigger,
        r.status,
        date_trunc('milliseconds', r.queued_at) AS queued_at,
        date_trunc('milliseconds', r.started_at) AS started_at,
        date_trunc('milliseconds', r.finished_at) AS finished_at,
        date_trunc('milliseconds', coalesce(r.finished_at, clock_timestamp()) - r.started_at) AS duration,
        r.rows_processed,
        r.rows_created,
        r.rows_updated,
        r.rows_deleted,
        r.rows_failed,
        r.rows_unchanged,
        r.requests,
        r.bytes_sent,
        round(r.query_ms::numeric, 1) AS query_ms,
        round(r.deliver_ms::numeric, 1) AS deliver_ms,
        r.error
    FROM signalsmith.run r JOIN signalsmith._visible_sync s ON s.id = r.sync_id
    ORDER BY r.id;
COMMENT ON VIEW signalsmith.runs IS 'runs and their figures';
COMMENT ON COLUMN signalsmith.runs.duration IS 'from start to end, or until now';
COMMENT ON COLUMN signalsmith.runs.rows_processed IS 'rows that the model returned';
COMMENT ON COLUMN signalsmith.runs.rows_created IS 'records that the destination confirmed as created';
COMMENT ON COLUMN signalsmith.runs.rows_updated IS 'records that the destination confirmed as updated';
COMMENT ON COLUMN signalsmith.runs.rows_deleted IS 'records that the destination confirmed as deleted';
COMMENT ON COLUMN signalsmith.runs.rows_failed IS 'rows in signalsmith.row_errors; the next run plans them again';
COMMENT ON COLUMN signalsmith.runs.rows_unchanged IS 'rows that are at the destination as they are';
COMMENT ON COLUMN signalsmith.runs.query_ms IS 'milliseconds that the model''s query took';
COMMENT ON COLUMN signalsmith.runs.deliver_ms IS 'milliseconds that sending took';

CREATE VIEW signalsmith.run_timings WITH (security_barrier) AS
    SELECT 'run_' || r.id AS run_id,
        s.name AS sync,
        round(r.query_ms::numeric, 1) AS query_ms,
        round(r.diff_ms::numeric, 1) AS diff_ms,
        round(r.stage_ms::numeric, 1) AS stage_ms,
        round(r.deliver_ms::numeric, 1) AS deliver_ms,
        round((r.rows_processed * 1000 / nullif(r.query_ms + r.diff_ms + r.stage_ms, 0))::numeric) AS read_per_s,
        round(((r.rows_created + r.rows_updated + r.rows_deleted) * 1000 / nullif(r.deliver_ms, 0))::numeric) AS sent_per_s,
        pg_size_pretty(r.bytes_staged) AS staged,
        pg_size_pretty(r.peak_memory) AS memory
    FROM signalsmith.run r JOIN signalsmith._visible_sync s ON s.id = r.sync_id
    WHERE r.planned_at IS NOT NULL
    ORDER BY r.id;
COMMENT ON VIEW signalsmith.run_timings IS 'where the time of a run went, and what it took; once it is planned';
COMMENT ON COLUMN signalsmith.run_timings.query_ms IS 'milliseconds that the model''s query took by itself';
COMMENT ON COLUMN signalsmith.run_timings.diff_ms IS
    'milliseconds of loading the snapshot, hashing and comparing; like the next one, extrapolated from a part of the rows';
COMMENT ON COLUMN signalsmith.run_timings.stage_ms IS 'milliseconds of rendering changes and writing them to the outbox';
COMMENT ON COLUMN signalsmith.run_timings.deliver_ms IS 'milliseconds that sending took';
COMMENT ON COLUMN signalsmith.run_timings.read_per_s IS 'rows that were read, compared and staged in a second';
COMMENT ON COLUMN signalsmith.run_timings.sent_per_s IS 'records that the destination confirmed in a second';
COMMENT ON COLUMN signalsmith.run_timings.staged IS 'size of the planned changes before compression';
COMMENT ON COLUMN signalsmith.run_timings.memory IS 'the most memory that the comparison had in use';

CREATE VIEW signalsmith.row_errors WITH (security_barrier) AS
    SELECT 'run_' || f.run_id AS run_id,
        s.name AS sync,
        f.operation,
        f.key,
        f.outcome,
        f.attempts,
        f.http_status,
        f.code,
        f.message,
        date_trunc('seconds', f.occurred_at) AS occurred_at,
        k.skipped_by
    FROM signalsmith.row_failure f JOIN signalsmith._visible_sync s ON s.id = f.sync_id
        LEFT JOIN signalsmith.skipped_row k
            ON k.sync_id = f.sync_id AND k.packed_key = f.packed_key AND k.row_hash = f.row_hash
    ORDER BY f.run_id, f.number;
COMMENT ON VIEW signalsmith.row_errors IS 'rows that failed, and why';
COMMENT ON COLUMN signalsmith.row_errors.key IS 'primary key of the row: {"id": 1}';
COMMENT ON COLUMN signalsmith.row_errors.outcome IS
    'rejected: the destination refused it, or it could not be sent; unknown: nobody knows whether it arrived';
COMMENT ON COLUMN signalsmith.row_errors.attempts IS 'how often it was sent';
COMMENT ON COLUMN signalsmith.row_errors.skipped_by IS
    'the role that has accepted the row as it is, with skip_rows; NULL: the next run tries it again';

CREATE VIEW signalsmith.skipped_rows WITH (security_barrier) AS
    SELECT s.name AS sync,
        k.operation,
        k.key,
        k.code,
        k.message,
        'run_' || k.run_id AS run_id,
        k.skipped_by,
        date_trunc('seconds', k.skipped_at) AS skipped_at
    FROM signalsmith.skipped_row k JOIN signalsmith._visible_sync s ON s.id = k.sync_id
    ORDER BY k.sync_id, k.id;
COMMENT ON VIEW signalsmith.skipped_rows IS
    'failed rows that were accepted as they are, with skip_rows; each is here until it changes, or a full resync';
COMMENT ON COLUMN signalsmith.skipped_rows.run_id IS 'the run that the row failed in';

-- Destinations put the row into the message, so it is not what rows are grouped by.
CREATE VIEW signalsmith.error_summary WITH (security_barrier) AS
    SELECT 'run_' || kind.run_id AS run_id,
        s.name AS sync,
        kind.operation,
        kind.outcome,
        kind.http_status,
        kind.code,
        first_row.message,
        kind.rows
    FROM (SELECT run_id, operation, outcome, http_status, code, min(number) AS first_number, count(*) AS rows
          FROM signalsmith.row_failure
          GROUP BY run_id, operation, outcome, http_status, code) AS kind
        JOIN signalsmith.row_failure first_row ON first_row.run_id = kind.run_id AND first_row.number = kind.first_number
        JOIN signalsmith._visible_sync s ON s.id = first_row.sync_id
    ORDER BY kind.run_id, kind.rows DESC, kind.first_number;
COMMENT ON VIEW signalsmith.error_summary IS 'how many rows of each run failed for the same reason, the most frequent first';
COMMENT ON COLUMN signalsmith.error_summary.message IS 'of the first of these rows';

-- The figures of a plan are in the run's row only once it is committed; until
-- then the runner's shared memory has them.
CREATE VIEW signalsmith.run_progress WITH (security_barrier) AS
    SELECT 'run_' || id AS run_id,
        sync,
        phase,
        rows_read,
        changes_planned,
        batches_sent,
        batches_total,
        CASE WHEN seconds > 0 THEN round(done / seconds) END AS rows_per_second,
        CASE WHEN batches_sent > 0 THEN date_trunc('seconds',
            make_interval(secs => (batches_total - batches_sent) * seconds / batches_sent)) END AS eta
    FROM (
        SELECT r.id, s.name AS sync, r.phase,
            greatest(p.rows_read, r.rows_processed) AS rows_read,
            greatest(p.changes_planned, r.changes_planned) AS changes_planned,
            r.batches_sent,
            CASE WHEN r.phase = 'deliver' THEN r.batches_planned - (
                SELECT coalesce(sum(length(o.batch_ends) / 4), 0) FROM signalsmith.outbox o
                WHERE r.deletes_held > 0 AND o.run_id = r.id AND o.operation = 'delete') END AS batches_total,
            CASE WHEN r.phase = 'deliver' THEN r.rows_created + r.rows_updated + r.rows_deleted
                 ELSE p.rows_read END AS done,
            extract(epoch FROM clock_timestamp()
                - CASE WHEN r.phase = 'deliver' THEN r.planned_at ELSE r.started_at END) AS seconds
        FROM signalsmith.run r
            JOIN signalsmith._visible_sync s ON s.id = r.sync_id
            LEFT JOIN signalsmith._progress() p ON p.run_id = r.id
        WHERE r.status = 'running') AS live
    ORDER BY id;
COMMENT ON VIEW signalsmith.run_progress IS 'the runs that are under way, and how far they are';
COMMENT ON COLUMN signalsmith.run_progress.phase IS 'plan: the query runs and is compared; deliver: batches are sent';
COMMENT ON COLUMN signalsmith.run_progress.batches_total IS 'known once the plan is made; without those of deletes that are held';
COMMENT ON COLUMN signalsmith.run_progress.rows_per_second IS 'rows read while planning, records confirmed while delivering';
COMMENT ON COLUMN signalsmith.run_progress.eta IS 'time that is left, at the speed so far';
