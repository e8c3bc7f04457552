-- Telling whoever listens that a run is over:
--
--     LISTEN signalsmith;
--
-- Any role of the database may listen, and PostgreSQL has no rights on that, so
-- there are ids and a status here: whoever may know more finds it by the id in
-- signalsmith.runs.  NOTIFY fails, at commit, when its queue is full
-- because some session listens and does not read; the end of a run must not, so
-- that nothing is told while the queue is half full.

CREATE FUNCTION signalsmith._announce_run(ended signalsmith.run) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('signalsmith', json_build_object(
            'event', 'run_ended',
            'run', 'run_' || ended.id,
            'sync', 'sync_' || ended.sync_id,
            'trigger', ended.trigger,
            'status', ended.status)::text);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._announce_run(signalsmith.run) IS
    'tells sessions that LISTEN signalsmith of the end of a run, when the transaction commits';
