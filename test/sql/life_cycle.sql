-- The life of a sync, and of its runs.  Runs are played here: what triggers one
-- is rolled back, so that none starts.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann;

-- How a runner begins and ends.
CREATE FUNCTION pg_temp.claim(ref text) RETURNS bigint LANGUAGE sql AS $$
    UPDATE signalsmith.run SET status = 'running', phase = 'plan', started_at = clock_timestamp(), lease = lease + 1
    WHERE 'run_' || id = ref RETURNING lease $$;
CREATE FUNCTION pg_temp.finish(ref text, outcome text, reason text DEFAULT NULL, permanent boolean DEFAULT false) RETURNS boolean LANGUAGE sql AS $$
    SELECT signalsmith._finish_run(id, lease, outcome, reason, permanent) FROM signalsmith.run WHERE 'run_' || id = ref $$;
CREATE PROCEDURE pg_temp.fail(sync text, reason text) LANGUAGE plpgsql AS $$
DECLARE
    run text := signalsmith.trigger_sync(sync);
BEGIN
    PERFORM pg_temp.claim(run);
    PERFORM pg_temp.finish(run, CASE WHEN reason IS NULL THEN 'completed' ELSE 'failed' END, reason);
END $$;
CREATE TEMP VIEW state AS
    SELECT s.name, s.status, s.status_error, date_trunc('minute', s.next_run_at - now() + interval '30 seconds') AS due_in, s.last_run_id, s.last_run_status
    FROM signalsmith.syncs s;

SET ROLE regress_signalsmith_ann;
SELECT signalsmith.create_model('m', 'SELECT 1 AS id, 2 AS value', '{id}');
SELECT signalsmith.create_destination('d', 'webhook', '{"url": "https://example.com/hook"}');
SELECT signalsmith.create_sync('manual', 'm', 'd');
SELECT signalsmith.create_sync('hourly', 'm', 'd', schedule => '{"type":"interval","interval_minutes":60}', options => '{"error_after": 2}');
RESET ROLE;

-- every action in every status: what works, what is refused and why
CREATE FUNCTION pg_temp.try(status text, action text) RETURNS TABLE (result text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        UPDATE signalsmith.sync SET status = try.status,
            status_error = CASE try.status WHEN 'error' THEN 'the key was refused' END WHERE name = 'manual';
        SET LOCAL ROLE regress_signalsmith_ann;
        EXECUTE format('SELECT signalsmith.%I(%L)', action || '_sync', 'manual');
        RESET ROLE;
        result := '-> ' || (SELECT s.status FROM signalsmith.sync s WHERE s.name = 'manual');
        RAISE EXCEPTION 'undo';
    EXCEPTION WHEN OTHERS THEN
        IF SQLERRM <> 'undo' THEN
            GET STACKED DIAGNOSTICS result = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        END IF;
    END;
    RETURN NEXT;
END
$$;
\x
SELECT status, action, r.* FROM unnest('{created,active,paused,error,archived}'::text[]) AS status,
    unnest('{trigger,pause,resume,archive,restore,reset}'::text[]) AS action, pg_temp.try(status, action) AS r;
\x

-- triggers coalesce: one run queued, and one more while one runs
BEGIN;
SELECT signalsmith.trigger_sync('manual') AS run \gset
SELECT signalsmith.trigger_sync('sync_1', full_resync => true) = :'run' AS same;
SELECT signalsmith.get_run(:'run') - '{queued_at}'::text[];
SELECT pg_temp.claim(:'run');
SELECT * FROM state;
SELECT run_id, sync, phase, rows_read, changes_planned, batches_sent, batches_total, rows_per_second, eta FROM signalsmith.run_progress;
SELECT signalsmith.trigger_sync('manual') AS next \gset
SELECT :'next' = :'run' AS same, signalsmith.trigger_sync('manual') = :'next' AS next_is_same;
SELECT id, sync, trigger, status FROM signalsmith.runs;
-- the first run makes the sync active
SELECT pg_temp.finish(:'run', 'completed');
SELECT * FROM state;
-- who was taken over records nothing
SELECT pg_temp.claim(:'next');
SELECT signalsmith._finish_run(id, lease - 1, 'failed', 'too late', true) FROM signalsmith.run WHERE 'run_' || id = :'next';
SELECT signalsmith.trigger_sync('manual') AS third \gset
SELECT pg_temp.finish(:'next', 'failed', 'connection refused');
SELECT * FROM state;
-- a permanent failure is an error, and takes the waiting run with it
SELECT pg_temp.claim(:'third');
SELECT signalsmith.trigger_sync('manual') AS fourth \gset
SELECT pg_temp.finish(:'third', 'failed', 'the destination refused the credentials (401)', true);
SELECT * FROM state;
SELECT run->>'id', run->>'status', run->>'error' FROM signalsmith.list_runs('manual') AS run;
SELECT signalsmith.resume_sync('manual');
SELECT * FROM state;
ROLLBACK;

-- failures in a row
BEGIN;
CALL pg_temp.fail('hourly', 'first');
SELECT * FROM state;
CALL pg_temp.fail('hourly', 'second');
SELECT * FROM state;
SELECT signalsmith.resume_sync('hourly');
CALL pg_temp.fail('hourly', 'third');
CALL pg_temp.fail('hourly', NULL);
CALL pg_temp.fail('hourly', 'first after a good one');
SELECT * FROM state;
ROLLBACK;

-- cancelling
BEGIN;
SELECT signalsmith.trigger_sync('manual') AS run \gset
SELECT signalsmith.cancel_run(:'run');
SELECT status, started_at, finished_at IS NOT NULL AS finished FROM signalsmith.runs;
SAVEPOINT before;
SELECT signalsmith.cancel_run(:'run');
ROLLBACK TO before;
SELECT signalsmith.trigger_sync('manual') AS run \gset
SELECT pg_temp.claim(:'run');
SELECT signalsmith.cancel_run(:'run');
SELECT status, cancel_requested FROM signalsmith.run WHERE 'run_' || id = :'run';
-- nobody takes the snapshot from under a runner, but what is deleted is cancelled
SAVEPOINT before;
SELECT signalsmith.reset_sync('manual');
ROLLBACK TO before;
SELECT signalsmith.delete_sync('manual');
SELECT (SELECT count(*) FROM signalsmith.run) AS runs, pg_temp.finish(:'run', 'cancelled');
ROLLBACK TO before;
-- archiving cancels
SELECT signalsmith.trigger_sync('manual') AS next \gset
SELECT signalsmith.archive_sync('manual');
SELECT id = :'run' AS running, status, error FROM signalsmith.runs ORDER BY queued_at;
SELECT pg_temp.finish(:'run', 'cancelled');
SELECT * FROM state;
SELECT signalsmith.delete_sync('manual');
SELECT count(*) FROM signalsmith.run;
ROLLBACK;
SELECT signalsmith.cancel_run('run_99');
SELECT signalsmith.trigger_sync('manuell');

-- the schedule: due times count from the start; what was missed is one run
BEGIN;
SELECT signalsmith._enqueue_due() = (SELECT next_run_at FROM signalsmith.sync WHERE name = 'hourly') AS nothing_due;
UPDATE signalsmith.sync SET next_run_at = now() - interval '5 hours' WHERE name = 'hourly';
SELECT signalsmith._enqueue_due() BETWEEN now() + interval '1 hour' AND now() + interval '61 minutes' AS in_an_hour;
SELECT signalsmith._enqueue_due() BETWEEN now() + interval '1 hour' AND now() + interval '61 minutes' AS in_an_hour;
SELECT sync, trigger, status FROM signalsmith.runs;
-- a clock that was set back: pulled in to one interval
UPDATE signalsmith.sync SET next_run_at = now() + interval '5 years' WHERE name = 'hourly';
SELECT signalsmith._enqueue_due() BETWEEN now() + interval '1 hour' AND now() + interval '61 minutes' AS in_an_hour;
SELECT count(*) FROM signalsmith.runs;
-- pausing takes the scheduled run away, and the schedule with it
SELECT signalsmith.pause_sync('hourly');
SELECT sync, trigger, status, error FROM signalsmith.runs;
SELECT * FROM state;
SELECT signalsmith._enqueue_due();
-- resuming counts from the last scheduled start
UPDATE signalsmith.run SET queued_at = now() - interval '20 minutes';
SELECT signalsmith.resume_sync('hourly');
SELECT name, status, due_in FROM state;
SELECT signalsmith.update_sync('hourly', '{"schedule":{"type":"interval","interval_minutes":30}}');
SELECT name, status, due_in FROM state;
SELECT signalsmith.update_sync('hourly', '{"schedule":{"type":"interval","interval_minutes":5}}');
SELECT name, status, due_in FROM state;
SELECT signalsmith.update_sync('hourly', '{"schedule":{"type":"manual"}}');
SELECT name, status, due_in FROM state;
ROLLBACK;

-- a snapshot belongs to its key, its object and its destination
BEGIN;
UPDATE signalsmith.sync SET snapshot_key = 'anything', snapshot_rows = 5 WHERE name = 'manual';
INSERT INTO signalsmith.segment (sync_id, record_count, supersedes, key_width, entries) VALUES (1, 0, false, 8, '');
SAVEPOINT before;
SELECT signalsmith.update_sync('manual', '{"object": "contacts"}');
ROLLBACK TO before;
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.create_destination('e', 'webhook', '{"url": "https://example.com/other"}');
SELECT signalsmith.update_sync('manual', '{"destination": "e"}');
ROLLBACK TO before;
SELECT signalsmith.update_model('m', '{"primary_key": ["value"]}');
ROLLBACK TO before;
SELECT signalsmith.reset_sync('manual');
SELECT rows_in_snapshot FROM signalsmith.syncs WHERE name = 'manual';
SELECT count(*) FROM signalsmith.segment;
SELECT signalsmith.update_sync('manual', '{"object": "contacts"}');
SELECT signalsmith.update_model('m', '{"primary_key": ["value"]}');
ROLLBACK;

-- a sync is no run
SELECT signalsmith.approve_deletes('manual');
-- held deletes are released by a run of their own, before anything else looks at the model
BEGIN;
SELECT pg_temp.claim(signalsmith.trigger_sync('manual')) AS lease;
UPDATE signalsmith.run SET planned_at = clock_timestamp(), phase = 'deliver', rows_processed = 60, snapshot_rows = 100, deletes_held = 40;
INSERT INTO signalsmith.outbox (run_id, sequence, operation, record_count, seed, batch_ends, key_width, entries, records)
    SELECT id, 1, 'delete', 40, gen_random_uuid(), '\x28000000', 8, '', '' FROM signalsmith.run;
SELECT id AS held FROM signalsmith.runs \gset
SELECT pg_temp.finish(:'held', 'held');
SELECT id, status, error FROM signalsmith.runs;
SELECT name, status, last_run_status FROM state;
SAVEPOINT before;
SELECT signalsmith.trigger_sync('manual') AS next \gset
SELECT signalsmith.approve_deletes(:'held');
ROLLBACK TO before;
SELECT signalsmith.approve_deletes(:'held') AS released \gset
SELECT signalsmith.trigger_sync('manual') AS next \gset
SELECT id, status, batches_planned, (SELECT count(*) FROM signalsmith.outbox o WHERE o.run_id = r.id) AS bundles FROM signalsmith.run r ORDER BY id;
SELECT :'next' = :'released' AS same, signalsmith.trigger_sync('manual') = :'next' AS next_is_same;
SAVEPOINT before;
SELECT signalsmith.approve_deletes(:'held');
ROLLBACK TO before;
SELECT signalsmith.cancel_run(:'released');
SELECT count(*) AS bundles FROM signalsmith.outbox;
-- with the snapshot go the deletes that were derived from it
ROLLBACK TO before;
SELECT signalsmith.reset_sync('manual');
SELECT id, status, error FROM signalsmith.runs;
SELECT count(*) AS bundles FROM signalsmith.outbox;
ROLLBACK;

-- what comes later says so
SELECT signalsmith.adopt_instance('resync');
SELECT signalsmith.adopt_instance('resink');
SELECT signalsmith.approve_deletes('run_1');

DROP VIEW state;
DROP EXTENSION signalsmith;
DROP ROLE regress_signalsmith_ann;
