-- How syncs have been doing: at a glance, the history of one, the health of all.

-- The views signalsmith.syncs and runs have all there is, for programs and for
-- psql's \x; these two fit into 120 columns.

CREATE FUNCTION signalsmith._shortened(long_text text, width integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN length(long_text) > width THEN left(long_text, width - 3) || '...' ELSE long_text END;
COMMENT ON FUNCTION signalsmith._shortened(text, integer) IS 'a text that is no longer than that';

CREATE FUNCTION signalsmith._remark(deletes_held bigint, rows_failed bigint, error text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN deletes_held > 0 THEN deletes_held || ' deletes wait for approval'
                WHEN error IS NULL AND rows_failed > 0 THEN rows_failed || ' rows failed'
                ELSE error END;
COMMENT ON FUNCTION signalsmith._remark(bigint, bigint, text) IS 'what there is to say of a run, in a few words';

CREATE VIEW signalsmith.overview WITH (security_barrier) AS
    SELECT signalsmith._shortened(s.name, 22) AS sync,
        s.status,
        s.last_run_status AS last_run,
        to_char(coalesce(r.finished_at, r.started_at), 'MM-DD HH24:MI') AS at,
        to_char(s.next_run_at, 'MM-DD HH24:MI') AS next_run,
        s.rows_in_snapshot AS rows,
        signalsmith._shortened(coalesce(s.status_error, signalsmith._remark(r.deletes_held, r.rows_failed, r.error)), 32) AS remark
    FROM signalsmith.syncs s LEFT JOIN signalsmith.run r ON r.id = signalsmith._id_number(s.last_run_id)
    ORDER BY s.name;
COMMENT ON VIEW signalsmith.overview IS 'all syncs at a glance: what signalsmith.syncs has, shortened to fit into 120 columns';
COMMENT ON COLUMN signalsmith.overview.at IS 'when the last run ended, or started if it is under way';
COMMENT ON COLUMN signalsmith.overview.rows IS 'records that the destination is known to hold';
COMMENT ON COLUMN signalsmith.overview.remark IS 'why it is in error, or what there is to say of the last run';

CREATE VIEW signalsmith.recent_runs WITH (security_barrier) AS
    SELECT 'run_' || r.id AS id,
        signalsmith._shortened(r.sync, 20) AS sync,
        r.status,
        to_char(coalesce(r.started_at, r.queued_at), 'MM-DD HH24:MI') AS started,
        date_trunc('seconds', coalesce(r.finished_at, clock_timestamp()) - r.started_at) AS took,
        format('+%s ~%s -%s', r.rows_created, r.rows_updated, r.rows_deleted) AS sent,
        r.rows_failed AS failed,
        signalsmith._shortened(signalsmith._remark(r.deletes_held, 0, r.error), 29) AS remark
    FROM (SELECT r.*, s.name AS sync FROM signalsmith.run r JOIN signalsmith._visible_sync s ON s.id = r.sync_id
          ORDER BY r.id DESC LIMIT 30) AS r
    ORDER BY r.id;
COMMENT ON VIEW signalsmith.recent_runs IS 'the last 30 runs of all syncs: what signalsmith.runs has, shortened to fit into 120 columns';
COMMENT ON COLUMN signalsmith.recent_runs.sent IS 'records created (+), updated (~) and deleted (-)';
COMMENT ON COLUMN signalsmith.recent_runs.remark IS 'the beginning of the run''s error, or how many deletes it holds';

CREATE FUNCTION signalsmith._bar(mark text, amount numeric, longest numeric, width integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN amount > 0 THEN repeat(mark, greatest(1, round(width * amount / longest))::integer) ELSE '' END;
COMMENT ON FUNCTION signalsmith._bar(text, numeric, numeric, integer) IS
    'a bar of marks, "width" of them for the longest; whatever is more than nothing shows';

-- Oldest first, so that the last run is next to the prompt.  The charts are
-- plain ASCII, which every client encoding has.
CREATE FUNCTION signalsmith._run_history(caller regrole, sync text, max_runs integer)
    RETURNS TABLE (run text, started_at timestamptz, status text, sent bigint, failed bigint,
        changes text, seconds numeric, duration text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shown CONSTANT bigint := signalsmith._find(caller, 'sync', sync);
BEGIN
    RETURN QUERY
    WITH last_run AS (
        SELECT r.id, r.status, coalesce(r.started_at, r.queued_at) AS begun,
            r.rows_created + r.rows_updated + r.rows_deleted AS sent, r.rows_failed AS failed,
            round(extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at), 1) AS seconds
        FROM signalsmith.run r WHERE r.sync_id = shown
        ORDER BY r.id DESC LIMIT greatest(0, max_runs)
    ), longest AS (
        SELECT max(r.sent + r.failed) AS changes, max(r.seconds) AS seconds FROM last_run r
    )
    SELECT 'run_' || r.id, date_trunc('second', r.begun), r.status, r.sent, r.failed,
        signalsmith._bar('#', r.sent, longest.changes, 10) || signalsmith._bar('x', r.failed, longest.changes, 10),
        r.seconds,
        signalsmith._bar('=', r.seconds, longest.seconds, 8)
    FROM last_run r, longest ORDER BY r.id;
END
$$;
COMMENT ON FUNCTION signalsmith._run_history(regrole, text, integer) IS 'private part of run_history';

CREATE FUNCTION signalsmith.run_history(sync text, max_runs integer DEFAULT 20)
    RETURNS TABLE (run text, started_at timestamptz, status text, sent bigint, failed bigint,
        changes text, seconds numeric, duration text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.run_history(text, integer) IS
    'the last runs of a sync with bars for the changes sent (#) and failed (x), and for the time taken (=)';

-- The score of a sync, 0 to 100, is made of
--     40 % success: of the last 20 runs, those that completed without a failed row
--     20 % trend: whether there are more bad runs in this half week than in the one before
--     20 % latency: the last run's duration against the average of those before it
--     20 % freshness: how long ago a run went well, against how often it should
-- Latency and freshness are full marks up to once and one and a half times what
-- is expected, and nothing from three and six times on; a run under a second is
-- never slow, and a sync without a schedule is expected once a day.  Whatever the
-- past was, a sync in error is critical, and one that holds deletes is a warning.
CREATE VIEW signalsmith.sync_health WITH (security_barrier) AS
    SELECT sync,
        score,
        CASE WHEN score >= 80 THEN 'healthy' WHEN score >= 60 THEN 'warning'
             WHEN score >= 40 THEN 'degraded' WHEN score >= 0 THEN 'critical'
             ELSE 'no runs' END AS health,
        status,
        round(success) AS success,
        round(trend) AS trend,
        round(latency) AS latency,
        round(freshness) AS freshness
    FROM (
        SELECT parts.*, least(round(0.4 * success + 0.2 * (trend + latency + freshness)),
            CASE WHEN status = 'error' THEN 39 WHEN last_run_status = 'held' THEN 79 END)::integer AS score
        FROM (
            SELECT s.id, s.name AS sync, s.status, last_run.status AS last_run_status,
                recent.success,
                100 * (1 - greatest(0, week.bad_now - week.bad_before)) AS trend,
                100 * (1 - least(1, greatest(0, (coalesce(last_run.seconds, 0) / greatest(1, recent.seconds) - 1) / 2))) AS latency,
                100 * (1 - least(1, greatest(0, (age.since_good / age.expected - 1.5) / 4.5))) AS freshness
            FROM signalsmith._visible_sync s
                JOIN LATERAL (
                    SELECT r.id, r.status, extract(epoch FROM r.finished_at - r.started_at) AS seconds
                    FROM signalsmith.run r
                    WHERE r.sync_id = s.id AND r.status IN ('completed', 'failed', 'held')
                    ORDER BY r.id DESC LIMIT 1) AS last_run ON true
                CROSS JOIN LATERAL (
                    SELECT 100 * avg((r.status = 'completed' AND r.rows_failed = 0)::integer) AS success,
                        avg(extract(epoch FROM r.finished_at - r.started_at))
                            FILTER (WHERE r.id <> last_run.id AND r.status <> 'failed') AS seconds
                    FROM (SELECT * FROM signalsmith.run
                          WHERE sync_id = s.id AND status IN ('completed', 'failed', 'held')
                          ORDER BY id DESC LIMIT 20) AS r) AS recent
                CROSS JOIN LATERAL (
                    SELECT coalesce(avg(bad) FILTER (WHERE finished_at >= now() - interval '84 hours'), 0) AS bad_now,
                        coalesce(avg(bad) FILTER (WHERE finished_at < now() - interval '84 hours'), 0) AS bad_before
                    FROM (SELECT r.finished_at, (r.status = 'failed' OR r.rows_failed > 0)::integer AS bad
                          FROM signalsmith.run r
                          WHERE r.sync_id = s.id AND r.status IN ('completed', 'failed', 'held')
                          ORDER BY r.id DESC LIMIT 1000) AS r
                    WHERE finished_at >= now() - interval '7 days') AS week
                CROSS JOIN LATERAL (
                    SELECT extract(epoch FROM now() - coalesce(s.last_synced_at, s.created_at)) AS since_good,
                        extract(epoch FROM CASE s.schedule->>'type'
                            WHEN 'interval' THEN make_interval(
                                mins => coalesce((s.schedule->>'interval_minutes')::integer, 0),
                                secs => coalesce((s.schedule->>'interval_seconds')::integer, 0))
                            WHEN 'cron' THEN signalsmith._next_cron_run(s.schedule->>'expression',
                                coalesce(s.last_synced_at, s.created_at), signalsmith._cron_timezone())
                                - coalesce(s.last_synced_at, s.created_at)
                            ELSE interval '1 day' END) AS expected) AS age
            WHERE s.status <> 'archived'
            UNION ALL
            SELECT s.id, s.name, s.status, NULL, NULL, NULL, NULL, NULL
            FROM signalsmith._visible_sync s
            WHERE s.status <> 'archived' AND NOT EXISTS (
                SELECT FROM signalsmith.run r
                WHERE r.sync_id = s.id AND r.status IN ('completed', 'failed', 'held'))) AS parts) AS scored
    ORDER BY score, id;
COMMENT ON VIEW signalsmith.sync_health IS 'a score for each sync that is not archived, the worst first, and what it is made of';
COMMENT ON COLUMN signalsmith.sync_health.score IS '0 to 100: 40 % success, 20 % each of trend, latency and freshness; at most 39 in error, at most 79 when the last run was held';
COMMENT ON COLUMN signalsmith.sync_health.health IS 'healthy from 80, warning from 60, degraded from 40, else critical';
COMMENT ON COLUMN signalsmith.sync_health.success IS 'share of the last 20 runs that completed without a failed row';
COMMENT ON COLUMN signalsmith.sync_health.trend IS 'less than 100: there were more bad runs in the last half week than in the one before';
COMMENT ON COLUMN signalsmith.sync_health.latency IS 'less than 100: the last run took longer than those before it on average; 0 from three times on';
COMMENT ON COLUMN signalsmith.sync_health.freshness IS 'less than 100: the last good run is too long ago for the schedule';
