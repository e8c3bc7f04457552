-- How long finished runs are remembered.

-- A few at a time, after each run of the sync, so that no deletion is ever
-- large.  Runs with failures are kept four times as long; the last run of the
-- sync and those that hold deletes stay.
CREATE FUNCTION signalsmith._forget_old_runs(of_sync bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    age CONSTANT interval := make_interval(mins =>
        (SELECT setting::integer FROM pg_settings WHERE name = 'signalsmith.run_retention'));
    last_kept CONSTANT bigint := (SELECT id FROM signalsmith.run WHERE sync_id = of_sync
        ORDER BY id DESC OFFSET current_setting('signalsmith.run_retention_count')::integer LIMIT 1);
    forgotten bigint[];
BEGIN
    SELECT array_agg(id) INTO forgotten
    FROM (SELECT r.id FROM signalsmith.run r JOIN signalsmith.sync s ON s.id = r.sync_id
          WHERE r.sync_id = of_sync AND r.status IN ('completed', 'failed', 'cancelled', 'held')
              AND r.deletes_held = 0 AND r.id IS DISTINCT FROM s.last_run_id
              AND (r.id <= last_kept OR r.finished_at < now() - age
                   * CASE WHEN r.status = 'failed' OR r.rows_failed > 0 THEN 4 ELSE 1 END)
          ORDER BY r.id LIMIT 20) AS old;
    DELETE FROM signalsmith.row_failure WHERE run_id = ANY (forgotten);
    DELETE FROM signalsmith.run WHERE id = ANY (forgotten);
END
$$;
COMMENT ON FUNCTION signalsmith._forget_old_runs(bigint) IS
    'deletes a few runs of a sync that are older or more than the settings say';
