-- Runs: queueing them, ending them.
--
-- Whoever locks a sync and a run of it locks the sync first.

CREATE FUNCTION signalsmith._wake() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_wake';
COMMENT ON FUNCTION signalsmith._wake() IS 'wakes the launcher when the transaction commits';

CREATE FUNCTION signalsmith._signal_runner(pid integer) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_signal_runner';
COMMENT ON FUNCTION signalsmith._signal_runner(integer) IS
    'has a runner look at its run''s row when the transaction commits';

-- A run of approved deletes is planned when it is queued: it only delivers.
CREATE FUNCTION signalsmith._looked_at_model(looking signalsmith.run) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN looking.planned_at >= looking.started_at;
COMMENT ON FUNCTION signalsmith._looked_at_model(signalsmith.run) IS
    'has the run made a plan of its own?';

-- Queueing -------------------------------------------------------------------

CREATE FUNCTION signalsmith._refuse_trigger(sync signalsmith.sync) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF sync.status = 'error' THEN
        RAISE EXCEPTION 'cannot trigger sync "%" because it is in error', sync.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = coalesce(sync.status_error, ''),
            HINT = format('Remove the cause, then run SELECT signalsmith.resume_sync(''sync_%s'').', sync.id);
    ELSIF sync.status = 'archived' THEN
        RAISE EXCEPTION 'cannot trigger sync "%" because it is archived', sync.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Run SELECT signalsmith.restore_sync(''sync_%s'') first.', sync.id);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._refuse_trigger(signalsmith.sync) IS
    'refuses a trigger in error and archived, naming the way out';

-- A run that somebody has locked is left to the INSERT, which looks again once it
-- is free: to wait for it here would leave the row of a run locked that has
-- started meanwhile.
CREATE FUNCTION signalsmith._queue_run(queued_sync bigint, run_trigger text, everything boolean) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    run_id bigint;
BEGIN
    UPDATE signalsmith.run r SET full_resync = r.full_resync OR everything
    WHERE id = (SELECT queued.id FROM signalsmith.run queued
        WHERE queued.sync_id = queued_sync AND queued.status = 'queued' AND queued.planned_at IS NULL
        FOR UPDATE SKIP LOCKED)
    RETURNING id INTO run_id;
    IF run_id IS NULL THEN
        INSERT INTO signalsmith.run AS r (sync_id, trigger, full_resync)
        VALUES (queued_sync, run_trigger, everything)
        ON CONFLICT (sync_id) WHERE status = 'queued' AND planned_at IS NULL
            DO UPDATE SET full_resync = r.full_resync OR everything
        RETURNING r.id INTO run_id;
    END IF;
    PERFORM signalsmith._wake();
    RETURN run_id;
END
$$;
COMMENT ON FUNCTION signalsmith._queue_run(bigint, text, boolean) IS
    'queues a run of a sync, or finds the one that is queued, which then sees what this transaction did';

-- Two locks, until the transaction ends.  The one on the sync keeps the scheduler
-- off it, which skips what is locked and does not wait for us; it does not keep
-- a runner from recording anything.  The one on a run that is queued already
-- keeps it from starting, since it has to see what this transaction did.
CREATE FUNCTION signalsmith._trigger_sync(caller regrole, sync text, full_resync boolean) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    triggered_sync bigint := signalsmith._find(caller, 'sync', sync, true);
    locked signalsmith.sync;
BEGIN
    PERFORM signalsmith._refuse_fenced();
    SELECT * INTO locked FROM signalsmith.sync WHERE id = triggered_sync FOR KEY SHARE;
    PERFORM signalsmith._refuse_trigger(locked);
    RETURN 'run_' || signalsmith._queue_run(triggered_sync,
        CASE WHEN signalsmith._is_called_by_cron() THEN 'schedule' ELSE 'manual' END, coalesce(full_resync, false));
END
$$;
COMMENT ON FUNCTION signalsmith._trigger_sync(regrole, text, boolean) IS 'private part of trigger_sync';

CREATE FUNCTION signalsmith.trigger_sync(sync text, full_resync boolean DEFAULT false) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.trigger_sync(text, boolean) IS
    'queues a run, which starts when the transaction commits, and returns its id; the id of the run that is queued already, if there is one';

-- Until when a destination has asked to be left alone; NULL: it has not.  A time
-- further ahead than that may be was left by a clock that went back.
CREATE FUNCTION signalsmith._rests_until(destination bigint, moment timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT d.rests_until FROM signalsmith.destination d
            WHERE d.id = destination AND d.rests_until BETWEEN moment AND moment + interval '1 day');
COMMENT ON FUNCTION signalsmith._rests_until(bigint, timestamptz) IS
    'until when no schedule starts a run to this destination, because it asked for that';

-- One statement for all that is due.  The next time counts from now, so that
-- missed times are one run, and a time further ahead than one interval, left
-- by a clock that went back, is pulled in.
CREATE FUNCTION signalsmith._enqueue_due() RETURNS timestamptz
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    next_due timestamptz;
BEGIN
    WITH due AS (
        SELECT id, next_run_at <= moment AS run_now,
            moment + signalsmith._interval_of(schedule) AS next_time
        FROM signalsmith.sync
        WHERE next_run_at IS NOT NULL AND (next_run_at <= moment
            OR next_run_at > moment + signalsmith._interval_of(schedule))
            AND signalsmith._rests_until(destination_id, moment) IS NULL
        ORDER BY next_run_at
        FOR UPDATE SKIP LOCKED
    ), queued AS (
        INSERT INTO signalsmith.run (sync_id, trigger)
        SELECT id, 'schedule' FROM due
        WHERE run_now AND NOT EXISTS (
            SELECT FROM signalsmith.run r
            WHERE r.sync_id = due.id AND r.status = 'queued' AND r.planned_at IS NULL)
        ON CONFLICT (sync_id) WHERE status = 'queued' AND planned_at IS NULL DO NOTHING
    )
    UPDATE signalsmith.sync s SET next_run_at = due.next_time FROM due WHERE s.id = due.id;

    -- What somebody has locked is looked at again soon.
    SELECT min(greatest(next_run_at, signalsmith._rests_until(destination_id, moment))) INTO next_due
    FROM signalsmith.sync WHERE next_run_at IS NOT NULL;
    RETURN CASE WHEN next_due <= moment THEN moment + interval '5 seconds' ELSE next_due END;
END
$$;
COMMENT ON FUNCTION signalsmith._enqueue_due() IS
    'queues a run of each sync whose time has come, and returns when the next one is due; for the scheduler';

-- Ending ---------------------------------------------------------------------

-- A run of approved deletes has its plan already; it is forgotten, and the next
-- run that looks at the model plans those deletes again.
CREATE FUNCTION signalsmith._cancel_queued(cancelled_run bigint, reason text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH ended AS (
        UPDATE signalsmith.run r
        SET status = 'cancelled', phase = NULL, finished_at = clock_timestamp(), error = reason
        WHERE id = cancelled_run AND status = 'queued'
        RETURNING r AS run
    )
    SELECT signalsmith._announce_run(run) FROM ended;
    DELETE FROM signalsmith.outbox WHERE run_id = cancelled_run;
END;
COMMENT ON FUNCTION signalsmith._cancel_queued(bigint, text) IS 'cancels a run that waits, and is locked';

CREATE FUNCTION signalsmith._end_queued_runs(ended_sync bigint, triggers text[], reason text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    waiting bigint;
BEGIN
    FOR waiting IN SELECT id FROM signalsmith.run
        WHERE sync_id = ended_sync AND status = 'queued' AND trigger = ANY (triggers) FOR UPDATE LOOP
        PERFORM signalsmith._cancel_queued(waiting, reason);
    END LOOP;
END
$$;
COMMENT ON FUNCTION signalsmith._end_queued_runs(bigint, text[], text) IS
    'cancels the runs of a sync that wait and were triggered like this';

CREATE FUNCTION signalsmith._request_cancel(running_run bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pid integer;
BEGIN
    UPDATE signalsmith.run SET cancel_requested = true
    WHERE id = running_run AND status = 'running'
    -- The runner may be gone, and its number another process's.
    RETURNING (SELECT runner_pid FROM pg_stat_get_activity(runner_pid) WHERE backend_start = runner_started_at) INTO pid;
    PERFORM signalsmith._signal_runner(pid);
    PERFORM signalsmith._wake();
END
$$;
COMMENT ON FUNCTION signalsmith._request_cancel(bigint) IS 'asks the runner of a run to stop';

CREATE FUNCTION signalsmith._cancel_run(caller regrole, run text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cancelled_run bigint := signalsmith._find(caller, 'run', run, true);
    current_status text;
BEGIN
    SELECT status INTO current_status FROM signalsmith.run WHERE id = cancelled_run FOR UPDATE;
    IF current_status = 'queued' THEN
        PERFORM signalsmith._cancel_queued(cancelled_run, NULL);
    ELSIF current_status = 'running' THEN
        PERFORM signalsmith._request_cancel(cancelled_run);
    ELSE
        RAISE EXCEPTION 'cannot cancel run "%" because it is over', run
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = format('Its status is "%s".', current_status),
            HINT = CASE current_status WHEN 'held' THEN 'The deletes that it holds are sent only if somebody approves them.'
                ELSE 'What it did is in signalsmith.runs.' END;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._cancel_run(regrole, text) IS 'private part of cancel_run';

CREATE FUNCTION signalsmith.cancel_run(run text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.cancel_run(text) IS
    'cancels a run: a queued one at once, a running one as soon as the requests in flight are over';

-- What the end of a run means for its sync.  Locked by the caller.
CREATE FUNCTION signalsmith._move_sync_on(finished signalsmith.run, permanent boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    failed boolean := finished.status = 'failed';
    moved signalsmith.sync;
    limit_of_failures integer;
BEGIN
    SELECT * INTO moved FROM signalsmith.sync WHERE id = finished.sync_id FOR NO KEY UPDATE;
    moved.last_run_id := finished.id;
    IF finished.planned_at IS NOT NULL AND finished.snapshot_rows IS NOT NULL THEN
        moved.snapshot_rows := finished.snapshot_rows + finished.rows_created - finished.rows_deleted;
    END IF;
    IF finished.status IN ('completed', 'held') THEN
        moved.last_synced_at := finished.finished_at;
        moved.failed_in_a_row := 0;
    ELSIF failed AND signalsmith._rests_until(moved.destination_id, clock_timestamp()) IS NULL THEN
        moved.failed_in_a_row := moved.failed_in_a_row + 1;
    END IF;
    IF moved.status = 'created' THEN
        moved.status := 'active';
    END IF;

    limit_of_failures := coalesce((moved.options->>'error_after')::integer,
                                  current_setting('signalsmith.error_after')::integer);
    IF failed AND moved.status <> 'archived'
        AND (permanent OR moved.failed_in_a_row >= limit_of_failures) THEN
        moved.status := 'error';
        moved.status_error := CASE WHEN permanent OR moved.failed_in_a_row = 1 THEN finished.error
            ELSE format('%s failed runs in a row, the last one with: %s',
                        moved.failed_in_a_row, finished.error) END;
        moved.next_run_at := NULL;
        PERFORM signalsmith._end_queued_runs(moved.id, '{manual,schedule,api}', 'the sync went into error');
    END IF;

    UPDATE signalsmith.sync SET status = moved.status, status_error = moved.status_error,
        failed_in_a_row = moved.failed_in_a_row, next_run_at = moved.next_run_at,
        last_run_id = moved.last_run_id, last_synced_at = moved.last_synced_at,
        snapshot_rows = moved.snapshot_rows
    WHERE id = moved.id;
    IF moved.status = 'error' THEN
        PERFORM signalsmith._keep_cron_job(moved.id);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._move_sync_on(signalsmith.run, boolean) IS
    'brings a sync up to date with the end of a run';

CREATE FUNCTION signalsmith._describe_hold(held signalsmith.run) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('%s, so %s deletes are held; see signalsmith.held_deletes(''run_%3$s'') and approve_deletes(''run_%3$s'')',
        CASE WHEN held.rows_processed = 0 THEN 'the model returned no rows'
             WHEN held.after_recovery THEN 'the server was promoted or recovered since the last run'
             ELSE format('the model lacks %s %% of the %s records sent before',
                         round(100.0 * held.deletes_held / nullif(held.snapshot_rows, 0), 1), held.snapshot_rows) END,
        held.deletes_held, held.id);
END;
COMMENT ON FUNCTION signalsmith._describe_hold(signalsmith.run) IS 'why the deletes of a run wait for approval';

CREATE FUNCTION signalsmith._finish_run(run_id bigint, lease bigint, status text, error text, permanent boolean)
    RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    finished signalsmith.run;
BEGIN
    PERFORM FROM signalsmith.sync s
    WHERE s.id = (SELECT r.sync_id FROM signalsmith.run r WHERE r.id = run_id) FOR NO KEY UPDATE;
    UPDATE signalsmith.run r SET status = _finish_run.status,
        error = coalesce(_finish_run.error, CASE WHEN _finish_run.status = 'held' THEN
            signalsmith._describe_hold(r) END),
        finished_at = clock_timestamp(), phase = NULL, lease_until = NULL,
        runner_pid = NULL, runner_started_at = NULL
    WHERE r.id = run_id AND r.lease = _finish_run.lease AND r.status IN ('queued', 'running')
    RETURNING r.* INTO finished;
    IF finished.id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM signalsmith._move_sync_on(finished, permanent);
    PERFORM signalsmith._announce_run(finished);
    PERFORM signalsmith._tell_alerts(finished);
    PERFORM signalsmith._forget_old_runs(finished.sync_id);
    RETURN true;
END
$$;
COMMENT ON FUNCTION signalsmith._finish_run(bigint, bigint, text, text, boolean) IS
    'ends a run and moves its sync on; false when the runner no longer holds the lease';

CREATE FUNCTION signalsmith.wait_for_run(run text, timeout interval DEFAULT '5 minutes') RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_wait_for_run';
COMMENT ON FUNCTION signalsmith.wait_for_run(text, interval) IS
    'waits until a run is over and returns its final status; an error when the timeout passes; with signalsmith.show_progress on it tells about once a second how far the run is';
