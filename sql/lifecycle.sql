-- The life of a sync:
--
--     created -> active <-> paused       active -> error (by failing runs)
--     created, paused, error -> active   by resume_sync
--     any -> archived -> paused          by archive_sync, restore_sync
--     any -> gone                        by delete_sync
--
-- A sync becomes active with its first run or by resume_sync.  A sync that is
-- created or active runs on its schedule; a manual trigger works in paused too.

-- The next run is due one interval after the last one that the schedule
-- started, and one interval from now where there was none: what has just been
-- defined sends nothing before somebody could look at it.  Alerts, which have no
-- schedule, may wait for a sync that could not deliver them.
CREATE FUNCTION signalsmith._reschedule(changed_sync bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE signalsmith.sync s SET next_run_at =
        CASE WHEN status IN ('created', 'active') AND signalsmith._interval_of(schedule) IS NOT NULL THEN
            greatest(now(), signalsmith._interval_of(schedule) + coalesce(
                (SELECT max(queued_at) FROM signalsmith.run
                 WHERE sync_id = s.id AND trigger = 'schedule' AND queued_at < now()), now()))
             WHEN status = 'active' AND signalsmith._delivers_alerts(id) THEN now()
        END
    WHERE id = changed_sync;
    PERFORM signalsmith._keep_cron_job(changed_sync);
    PERFORM signalsmith._wake();
END
$$;
COMMENT ON FUNCTION signalsmith._reschedule(bigint) IS
    'sets when the next run of a sync is due, by the launcher or by pg_cron';

CREATE FUNCTION signalsmith._raise_transition(sync signalsmith.sync, action text, hint text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'cannot % sync "%" because its status is "%"', action, sync.name, sync.status
        USING ERRCODE = 'object_not_in_prerequisite_state',
        DETAIL = coalesce(sync.status_error, ''),
        HINT = format(hint, 'sync_' || sync.id);
END
$$;
COMMENT ON FUNCTION signalsmith._raise_transition(signalsmith.sync, text, text) IS
    'refuses what the status of a sync does not allow, naming the way out';

-- Waits for transactions that have triggered the sync.
CREATE FUNCTION signalsmith._lock_sync(caller regrole, ref text) RETURNS signalsmith.sync
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted bigint := signalsmith._find(caller, 'sync', ref, true);
    locked signalsmith.sync;
BEGIN
    SELECT * INTO locked FROM signalsmith.sync WHERE id = wanted FOR UPDATE;
    RETURN locked;
END
$$;
COMMENT ON FUNCTION signalsmith._lock_sync(regrole, text) IS 'a sync that the caller may manage, locked';

CREATE FUNCTION signalsmith._set_status(changed_sync bigint, new_status text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE signalsmith.sync SET status = new_status, status_error = NULL, failed_in_a_row = 0,
        updated_at = now()
    WHERE id = changed_sync;
    PERFORM signalsmith._reschedule(changed_sync);
END
$$;
COMMENT ON FUNCTION signalsmith._set_status(bigint, text) IS
    'puts a sync into a status that somebody chose';

CREATE FUNCTION signalsmith._pause_sync(caller regrole, sync text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    locked signalsmith.sync := signalsmith._lock_sync(caller, sync);
BEGIN
    IF locked.status = 'error' THEN
        PERFORM signalsmith._raise_transition(locked, 'pause',
            'It runs nothing until SELECT signalsmith.resume_sync(''%1$s''); to put it away for good, run SELECT signalsmith.archive_sync(''%1$s'').');
    ELSIF locked.status = 'archived' THEN
        PERFORM signalsmith._raise_transition(locked, 'pause',
            'Run SELECT signalsmith.restore_sync(''%s''), which leaves it paused.');
    ELSIF locked.status <> 'paused' THEN
        PERFORM signalsmith._set_status(locked.id, 'paused');
        PERFORM signalsmith._end_queued_runs(locked.id, '{schedule}', 'the sync was paused');
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._pause_sync(regrole, text) IS 'private part of pause_sync';

CREATE FUNCTION signalsmith.pause_sync(sync text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.pause_sync(text) IS
    'stops the schedule of a sync; a run that is under way goes on, manual triggers still work';

CREATE FUNCTION signalsmith._resume_sync(caller regrole, sync text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    locked signalsmith.sync := signalsmith._lock_sync(caller, sync);
BEGIN
    IF locked.status = 'archived' THEN
        PERFORM signalsmith._raise_transition(locked, 'resume',
            'Run SELECT signalsmith.restore_sync(''%s'') first.');
    ELSIF locked.status <> 'active' THEN
        PERFORM signalsmith._set_status(locked.id, 'active');
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._resume_sync(regrole, text) IS 'private part of resume_sync';

CREATE FUNCTION signalsmith.resume_sync(sync text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.resume_sync(text) IS
    'makes a sync active that is paused, in error or was never run; missed times are made up for by one run';

CREATE FUNCTION signalsmith._archive_sync(caller regrole, sync text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    locked signalsmith.sync := signalsmith._lock_sync(caller, sync);
BEGIN
    IF locked.status = 'archived' THEN
        RETURN;
    END IF;
    PERFORM signalsmith._set_status(locked.id, 'archived');
    PERFORM signalsmith._end_queued_runs(locked.id, '{manual,schedule,api}', 'the sync was archived');
    PERFORM signalsmith._request_cancel(id) FROM signalsmith.run
    WHERE sync_id = locked.id AND status = 'running';
END
$$;
COMMENT ON FUNCTION signalsmith._archive_sync(regrole, text) IS 'private part of archive_sync';

CREATE FUNCTION signalsmith.archive_sync(sync text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.archive_sync(text) IS
    'puts a sync away: its runs are cancelled, none is triggered any more, its history and its snapshot stay';

CREATE FUNCTION signalsmith._restore_sync(caller regrole, sync text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    locked signalsmith.sync := signalsmith._lock_sync(caller, sync);
BEGIN
    IF locked.status <> 'archived' THEN
        PERFORM signalsmith._raise_transition(locked, 'restore',
            'Only what archive_sync() put away is restored. See SELECT signalsmith.get_sync(''%s'').');
    END IF;
    PERFORM signalsmith._check_sync(locked.id);
    PERFORM signalsmith._set_status(locked.id, 'paused');
END
$$;
COMMENT ON FUNCTION signalsmith._restore_sync(regrole, text) IS 'private part of restore_sync';

CREATE FUNCTION signalsmith.restore_sync(sync text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.restore_sync(text) IS 'brings an archived sync back; it is paused then';

-- The snapshot is not taken from under a runner.
CREATE FUNCTION signalsmith._reset_sync(caller regrole, sync text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    forgotten bigint := signalsmith._find(caller, 'sync', sync, true);
    sync_name text;
    live bigint;
BEGIN
    SELECT name INTO sync_name FROM signalsmith.sync WHERE id = forgotten FOR UPDATE;
    PERFORM FROM signalsmith.run WHERE sync_id = forgotten AND status IN ('queued', 'running') FOR UPDATE;
    SELECT id INTO live FROM signalsmith.run WHERE sync_id = forgotten AND status = 'running';
    IF FOUND THEN
        RAISE EXCEPTION 'cannot reset sync "%" while it is running', sync_name
            USING ERRCODE = 'object_in_use',
            DETAIL = format('Run "run_%s" is under way.', live),
            HINT = format('Wait for it, or run SELECT signalsmith.cancel_run(''run_%s''), then try again.', live);
    END IF;
    DELETE FROM signalsmith.segment WHERE sync_id = forgotten;
    DELETE FROM signalsmith.skipped_row WHERE sync_id = forgotten;

    -- Deletes that wait for approval, or are approved, come from the snapshot.
    PERFORM signalsmith._cancel_queued(id, 'the sync was reset') FROM signalsmith.run
    WHERE sync_id = forgotten AND status = 'queued' AND planned_at IS NOT NULL;
    DELETE FROM signalsmith.outbox WHERE run_id IN
        (SELECT id FROM signalsmith.run WHERE sync_id = forgotten AND deletes_held > 0);
    UPDATE signalsmith.run SET deletes_held = 0 WHERE sync_id = forgotten AND deletes_held > 0;
    UPDATE signalsmith.sync SET snapshot_key = NULL, snapshot_rows = 0 WHERE id = forgotten;
END
$$;
COMMENT ON FUNCTION signalsmith._reset_sync(regrole, text) IS 'private part of reset_sync';

CREATE FUNCTION signalsmith.reset_sync(sync text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.reset_sync(text) IS
    'forgets what the destination is known to hold: the next run sends everything, and deletes nothing that was sent before';

CREATE FUNCTION signalsmith.snapshot(sync text)
    RETURNS TABLE (key jsonb, key_packed bytea, hash bytea, state text, id jsonb, version jsonb)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_snapshot';
COMMENT ON FUNCTION signalsmith.snapshot(text) IS
    'what the destination of a sync is known to hold; state "unknown": it has the record, nobody knows in which version; "maybe": nobody knows whether it has it; id and version are its own, if it says them';
