-- Whose data this is.  A database that was restored, cloned or copied has the
-- syncs of the original, and must not send until somebody says what it is.

CREATE TABLE signalsmith.instance (
    only_one        boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    system_identifier bigint NOT NULL,
    database_oid    oid NOT NULL,
    instance_id     text NOT NULL,
    timeline        bigint NOT NULL,
    adopted_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE signalsmith.instance IS 'the database that the state in these tables belongs to';
COMMENT ON COLUMN signalsmith.instance.timeline IS 'of the write-ahead log; a promotion or point-in-time recovery begins another';
-- The script inserts no row: in a restored database it would stand in the way
-- of the one from the dump, which is the one that tells.
SELECT pg_catalog.pg_extension_config_dump('signalsmith.instance', '');

CREATE VIEW signalsmith._this_instance WITH (security_barrier) AS
    SELECT (pg_control_system()).system_identifier,
        (SELECT oid FROM pg_database WHERE datname = current_database()) AS database_oid,
        current_setting('signalsmith.instance_id') AS instance_id,
        CASE WHEN pg_is_in_recovery() THEN (pg_control_checkpoint()).timeline_id
             ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
        END AS timeline;
COMMENT ON VIEW signalsmith._this_instance IS 'what tells this database from every other one';

CREATE VIEW signalsmith._fence WITH (security_barrier) AS
    SELECT CASE
        WHEN i.system_identifier <> t.system_identifier THEN 'it was restored into another cluster'
        WHEN i.database_oid <> t.database_oid THEN 'it is a copy of another database of this cluster'
        WHEN i.instance_id <> t.instance_id THEN
            format('signalsmith.instance_id was "%s" and is "%s"', i.instance_id, t.instance_id)
        END AS reason
    FROM signalsmith.instance i, signalsmith._this_instance t;
COMMENT ON VIEW signalsmith._fence IS 'why this database must not send; NULL or no row: it may';

CREATE FUNCTION signalsmith._note_instance() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO signalsmith.instance (system_identifier, database_oid, instance_id, timeline)
    SELECT system_identifier, database_oid, instance_id, timeline FROM signalsmith._this_instance
    ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION signalsmith._note_instance() IS 'remembers whose state this is, when the first sync is made';

CREATE FUNCTION signalsmith._refuse_fenced() RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reason CONSTANT text := (SELECT f.reason FROM signalsmith._fence f);
BEGIN
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION 'this database sends nothing, because %', reason
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'Its syncs may be those of another database that is still at work.',
            HINT = 'A member of signalsmith_admin decides with SELECT signalsmith.adopt_instance(''resync''), ''continue'' or ''discard''.';
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._refuse_fenced() IS 'refuses to queue a run in a database that is a copy';

-- A new timeline is a promotion or a recovery to an earlier point: what was sent
-- last may be forgotten here.  Creates and updates do no harm when they are
-- repeated; deletes wait until the model has been looked at once more.
CREATE FUNCTION signalsmith._heed_instance() RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reason text := (SELECT f.reason FROM signalsmith._fence f);
BEGIN
    IF reason IS NULL THEN
        UPDATE signalsmith.instance i SET timeline = t.timeline
        FROM signalsmith._this_instance t WHERE i.timeline <> t.timeline;
        IF FOUND THEN
            UPDATE signalsmith.sync SET hold_next_deletes = true WHERE mode = 'mirror';
            DELETE FROM signalsmith.outbox WHERE operation = 'delete' AND attempts = 0;
        END IF;
    END IF;
    RETURN reason;
END
$$;
COMMENT ON FUNCTION signalsmith._heed_instance() IS
    'why this database must not send, or NULL, having taken note of a new timeline; for the scheduler';

CREATE FUNCTION signalsmith._end_all_runs(reason text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH ended AS (
        UPDATE signalsmith.run r SET status = 'cancelled', error = reason, finished_at = clock_timestamp(),
            phase = NULL, lease = lease + 1, runner_pid = NULL, runner_started_at = NULL
        WHERE status IN ('queued', 'running')
        RETURNING r AS run
    )
    SELECT signalsmith._announce_run(run) FROM ended;
    UPDATE signalsmith.run SET deletes_held = 0 WHERE deletes_held > 0;
    DELETE FROM signalsmith.outbox;
    DELETE FROM signalsmith.alert_event;
    DELETE FROM signalsmith.alert_firing;
END;
COMMENT ON FUNCTION signalsmith._end_all_runs(text) IS 'ends whatever an original was doing, or was about to tell, when it was copied';

CREATE FUNCTION signalsmith._forget_all_snapshots() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM signalsmith.segment;
    DELETE FROM signalsmith.skipped_row;
    UPDATE signalsmith.sync SET snapshot_key = NULL, snapshot_rows = 0;
END;
COMMENT ON FUNCTION signalsmith._forget_all_snapshots() IS 'forgets what all destinations are known to hold';

CREATE FUNCTION signalsmith._adopt_instance(caller regrole, mode text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    modes CONSTANT text[] := ARRAY['resync', 'continue', 'discard'];
BEGIN
    IF mode IS NULL OR mode <> ALL (modes) THEN
        RAISE EXCEPTION 'unknown mode "%"', coalesce(mode, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
            HINT = signalsmith._hint_for_choice(mode, modes);
    ELSIF NOT EXISTS (SELECT FROM signalsmith._fence WHERE reason IS NOT NULL) THEN
        RAISE EXCEPTION 'this database is no copy: there is nothing to adopt'
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'To send everything of one sync again, use trigger_sync with full_resync, or reset_sync.';
    END IF;

    IF mode = 'continue' THEN
        -- The original may be sending the same plan: these are other keys.
        UPDATE signalsmith.outbox SET seed = gen_random_uuid();
    ELSE
        PERFORM FROM signalsmith.sync ORDER BY id FOR UPDATE;
        PERFORM signalsmith._end_all_runs(format('the database was adopted with "%s"', mode));
        PERFORM signalsmith._forget_all_snapshots();
    END IF;
    IF mode = 'discard' THEN
        UPDATE signalsmith.sync SET status = 'paused', next_run_at = NULL WHERE status IN ('created', 'active');
    END IF;
    -- The jobs of pg_cron have come along, and name the original.
    IF (signalsmith._cron_obstacle()).message IS NULL THEN
        PERFORM signalsmith._keep_cron_job(id) FROM signalsmith.sync WHERE schedule->>'type' = 'cron';
    END IF;
    DELETE FROM signalsmith.instance;
    PERFORM signalsmith._note_instance();
    PERFORM signalsmith._wake();
END
$$;
COMMENT ON FUNCTION signalsmith._adopt_instance(regrole, text) IS 'private part of adopt_instance';

CREATE FUNCTION signalsmith.adopt_instance(mode text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.adopt_instance(text) IS
    'lets a restored or cloned database send again: "resync" sends every row anew, "continue" goes on where the original was, "discard" forgets its state and pauses its syncs';
