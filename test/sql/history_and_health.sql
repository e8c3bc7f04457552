-- How syncs have been doing.  Their runs are made up here.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
CREATE ROLE regress_signalsmith_bob LOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann, regress_signalsmith_bob;
SET TimeZone = 'UTC';
SET ROLE regress_signalsmith_ann;
\set quiet '\\g /dev/null'
SELECT signalsmith.create_model('m', 'SELECT 1 AS id', '{id}') :quiet
SELECT signalsmith.create_destination('d', 'webhook', '{"url": "https://example.com/hook"}') :quiet
SELECT signalsmith.create_sync(name, 'm', 'd', schedule => schedule) FROM (VALUES
    ('good', '{"type":"interval","interval_minutes":60}'::jsonb), ('slow', '{"type":"manual"}'),
    ('stale', '{"type":"interval","interval_minutes":60}'), ('failing', '{"type":"manual"}'),
    ('stopped', '{"type":"manual"}'), ('held', '{"type":"manual"}'), ('new', '{"type":"manual"}')) AS v (name, schedule) :quiet
RESET ROLE;

-- Runs of one second each, one an hour, the last one just now.
CREATE FUNCTION pg_temp.play(sync text, statuses text[], ago interval DEFAULT '0', seconds numeric DEFAULT 1) RETURNS void LANGUAGE sql AS $$
    INSERT INTO signalsmith.run (sync_id, trigger, status, queued_at, started_at, finished_at, rows_processed, rows_created, rows_updated, rows_failed)
    SELECT s.id, 'manual', regexp_replace(outcome, '\+.*', ''), began - interval '1 second', began, began + make_interval(secs => seconds),
        100, CASE WHEN outcome ~ '^(completed|held)' THEN 10 * position ELSE 0 END, 0, coalesce(substring(outcome, '\+(.*)'), '0')::bigint
    FROM signalsmith.sync s, unnest(statuses) WITH ORDINALITY AS u (outcome, position),
        LATERAL (SELECT now() - ago - (cardinality(statuses) - position) * interval '1 hour' - make_interval(secs => seconds)) AS t (began)
    WHERE s.name = sync ORDER BY position;
    UPDATE signalsmith.sync s SET status = 'active', last_run_id = (SELECT max(id) FROM signalsmith.run WHERE sync_id = s.id),
        last_synced_at = (SELECT max(finished_at) FROM signalsmith.run r WHERE sync_id = s.id AND r.status IN ('completed', 'held'))
    WHERE name = sync $$;

SELECT pg_temp.play('good', array_fill('completed'::text, '{20}'));
SELECT pg_temp.play('slow', array_fill('completed'::text, '{10}'), '1 hour');
SELECT pg_temp.play('slow', '{completed}', seconds => 2.5);
SELECT pg_temp.play('stale', '{completed}', '5 days');
SELECT pg_temp.play('failing', array_fill('completed'::text, '{5}'), '5 days');
SELECT pg_temp.play('failing', '{completed+3,completed+3,failed,failed,failed}');
SELECT pg_temp.play('stopped', array_fill('completed'::text, '{19}') || '{failed}'::text[]);
UPDATE signalsmith.sync SET status = 'error', status_error = 'refused' WHERE name = 'stopped';
SELECT pg_temp.play('held', '{completed,completed,held}');
UPDATE signalsmith.run SET deletes_held = 40 WHERE status = 'held';
UPDATE signalsmith.run SET error = 'the destination could not be reached, not even once in a whole hour' WHERE status = 'failed';

SET ROLE regress_signalsmith_ann;
SELECT * FROM signalsmith.sync_health;
-- at a glance; times are what they are
SELECT sync, status, last_run, at ~ '^\d\d-\d\d \d\d:\d\d$' AS at, rows, remark FROM signalsmith.overview;
SELECT sync, status, took, sent, failed, remark FROM signalsmith.recent_runs WHERE sync IN ('failing', 'held');
SELECT count(*) FROM signalsmith.recent_runs;
-- nothing of what others have
SET ROLE regress_signalsmith_bob;
SELECT * FROM signalsmith.sync_health;
SELECT * FROM signalsmith.run_history('good');
RESET ROLE;
-- put away, it is nobody's worry
UPDATE signalsmith.sync SET status = 'archived' WHERE name = 'failing';
SELECT count(*) FROM signalsmith.sync_health WHERE sync = 'failing';

-- the chart of a sync's runs
UPDATE signalsmith.run r SET queued_at = t, started_at = t, finished_at = t + duration, rows_created = created, rows_failed = failed
FROM (VALUES (1, interval '1.5 seconds', 90, 10), (2, '2 hours', 2000000, 0), (3, '10 ms', 1, 1), (4, '1 hour', 500000, 500000)) AS v (number, duration, created, failed),
    LATERAL (SELECT timestamptz '2026-11-20 12:00:00.123456+00' + number * interval '1 day') AS u (t)
WHERE r.id = number;
SET ROLE regress_signalsmith_ann;
SELECT h.* FROM signalsmith.run_history('good', 20) AS h LIMIT 4;
SELECT run FROM signalsmith.run_history('sync_1', 2);
SELECT count(*) FROM signalsmith.run_history('sync_1', -1);
SELECT * FROM signalsmith.run_history('new');
-- at most 100 columns wide
SELECT max(length(line)) <= 100 AS fits FROM (
    SELECT ' ' || concat_ws(' | ', rpad(run, 7), rpad(date_trunc('second', started_at)::text, 22), rpad(status, 9), lpad(sent::text, 7),
        lpad(failed::text, 6), rpad(changes, 10), lpad(seconds::text, 7), rpad(duration, 8)) || ' '
    FROM signalsmith.run_history('good')) AS t (line);
RESET ROLE;

DROP EXTENSION signalsmith;
DROP ROLE regress_signalsmith_ann, regress_signalsmith_bob;
