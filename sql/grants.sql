-- Who may do what.  PUBLIC may do nothing; what begins with an underscore is
-- nobody's; the roles get what is listed here.

-- Default privileges may have granted others what was just created, and a schema
-- that was there before may have come with grants.
DO $$
DECLARE
    other name;
BEGIN
    FOR other IN
        SELECT DISTINCT rolname
        FROM (SELECT nspacl FROM pg_namespace WHERE nspname = 'signalsmith'
              UNION ALL
              SELECT relacl FROM pg_class WHERE relnamespace = 'signalsmith'::regnamespace
              UNION ALL
              SELECT proacl FROM pg_proc WHERE pronamespace = 'signalsmith'::regnamespace) AS object (acl),
            aclexplode(acl) JOIN pg_roles r ON r.oid = grantee
        WHERE rolname <> current_user
            AND r.oid <> (SELECT nspowner FROM pg_namespace WHERE nspname = 'signalsmith')
    LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA signalsmith FROM %I CASCADE', other);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA signalsmith FROM %I CASCADE', other);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA signalsmith FROM %I CASCADE', other);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA signalsmith FROM %I CASCADE', other);
    END LOOP;
END
$$;
REVOKE ALL ON ALL TABLES IN SCHEMA signalsmith FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA signalsmith FROM PUBLIC;
REVOKE ALL ON SCHEMA signalsmith FROM PUBLIC;

GRANT USAGE ON SCHEMA signalsmith TO signalsmith_user, signalsmith_viewer, signalsmith_admin;

GRANT SELECT ON
    signalsmith.syncs,
    signalsmith.runs,
    signalsmith.run_timings,
    signalsmith.row_errors,
    signalsmith.skipped_rows,
    signalsmith.error_summary,
    signalsmith.alerts,
    signalsmith.alert_events,
    signalsmith.run_progress,
    signalsmith.overview,
    signalsmith.recent_runs,
    signalsmith.sync_health
TO signalsmith_user, signalsmith_viewer, signalsmith_admin;

-- A view's functions are called by its reader; these show figures of runs by
-- their number, and no data, or work on what they are given.
GRANT EXECUTE ON FUNCTION
    signalsmith._progress(),
    signalsmith._shortened(text, integer),
    signalsmith._remark(bigint, bigint, text),
    signalsmith._id_number(text),
    signalsmith._cron_timezone(),
    signalsmith._next_cron_run(text, timestamptz, text),
    signalsmith._schedule_json(jsonb),
    signalsmith._next_run(jsonb, text, timestamptz)
TO signalsmith_user, signalsmith_viewer, signalsmith_admin;

GRANT EXECUTE ON FUNCTION
    signalsmith.get_model(text),
    signalsmith.list_models(),
    signalsmith.get_destination(text),
    signalsmith.list_destinations(),
    signalsmith.get_sync(text),
    signalsmith.list_syncs(),
    signalsmith.get_run(text),
    signalsmith.list_runs(text),
    signalsmith.wait_for_run(text, interval),
    signalsmith.run_history(text, integer),
    signalsmith.check_installation(),
    signalsmith.get_connector(text),
    signalsmith.list_connectors(),
    signalsmith.describe_connector(text),
    signalsmith.render_request(text, text, json, text),
    signalsmith.interpret_answer(text, text, json, integer, text, jsonb, text)
TO signalsmith_user, signalsmith_viewer, signalsmith_admin;

GRANT EXECUTE ON FUNCTION
    signalsmith.create_model(text, text, text[], text[], text, text),
    signalsmith.update_model(text, jsonb),
    signalsmith.delete_model(text),
    signalsmith.create_connector(text, jsonb),
    signalsmith.update_connector(text, jsonb),
    signalsmith.delete_connector(text),
    signalsmith.create_destination(text, text, jsonb, text),
    signalsmith.update_destination(text, jsonb),
    signalsmith.delete_destination(text),
    signalsmith.share_destination(text, text),
    signalsmith.unshare_destination(text, text),
    signalsmith.set_secret(text, text, text),
    signalsmith.test_destination(text),
    signalsmith.create_sync(jsonb),
    signalsmith.create_sync(text, text, text, text, jsonb, jsonb, text, jsonb, text),
    signalsmith.update_sync(text, jsonb),
    signalsmith.delete_sync(text),
    signalsmith.trigger_sync(text, boolean),
    signalsmith.cancel_run(text),
    signalsmith.pause_sync(text),
    signalsmith.resume_sync(text),
    signalsmith.archive_sync(text),
    signalsmith.restore_sync(text),
    signalsmith.reset_sync(text),
    signalsmith.snapshot(text),
    signalsmith.preview_sync(text, integer, boolean),
    signalsmith.preview_counts(text),
    signalsmith.preview_requests(text, integer),
    signalsmith.approve_deletes(text, jsonb),
    signalsmith.held_deletes(text),
    signalsmith.retry_rows(text),
    signalsmith.skip_rows(text, jsonb),
    signalsmith.create_alert(text, text, text, jsonb, text),
    signalsmith.delete_alert(text),
    signalsmith.export_config(),
    signalsmith.import_config(jsonb, boolean)
TO signalsmith_user, signalsmith_admin;

GRANT EXECUTE ON FUNCTION
    signalsmith.adopt_instance(text),
    signalsmith.rotate_key()
TO signalsmith_admin;

-- The launcher need not wait for its next round to find this database.
SELECT signalsmith._wake();
