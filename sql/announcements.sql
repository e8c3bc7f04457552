-- Telling whoever listens that a run is over:
--
--     LISTEN signalsmith;
--
-- Any role of the database may listen, so there are ids and figures here, and
-- no name, key or message.  NOTIFY fails, at commit, when its queue is full
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
            'status', ended.status,
            'duration_ms', round(extract(epoch FROM ended.finished_at - ended.started_at) * 1000),
            'rows_processed', ended.rows_processed,
            'rows_created', ended.rows_created,
            'rows_updated', ended.rows_updated,
            'rows_deleted', ended.rows_deleted,
            'rows_failed', ended.rows_failed,
            'rows_unchanged', ended.rows_unchanged,
            'deletes_held', ended.deletes_held,
            'requests', ended.requests,
            'bytes_sent', ended.bytes_sent)::text);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._announce_run(signalsmith.run) IS
    'tells sessions that LISTEN signalsmith of the end of a run, when the transaction commits';
