-- Cron schedules: pg_cron keeps the time.  A sync with a cron schedule has a job
-- of pg_cron's in this database, in its owner's name, that does no more than
-- trigger the sync.  The job is kept in step with the sync; it is inactive while
-- the sync is paused or in error.

CREATE FUNCTION signalsmith._check_cron(expression text) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'signalsmith_check_cron';
COMMENT ON FUNCTION signalsmith._check_cron(text) IS
    'canonical form of a cron expression; an error that names the field which is wrong';

CREATE FUNCTION signalsmith._cron_timezone() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_cron_timezone';
COMMENT ON FUNCTION signalsmith._cron_timezone() IS
    'time zone of pg_cron''s jobs: its setting cron.timezone, GMT before its version 1.5';

CREATE FUNCTION signalsmith._next_cron_run(expression text, after timestamptz, zone text) RETURNS timestamptz
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'signalsmith_next_cron_run';
COMMENT ON FUNCTION signalsmith._next_cron_run(text, timestamptz, text) IS
    'when pg_cron starts a job with this schedule next';

-- Of pg_cron in this database; NULL when it is not here.
CREATE FUNCTION signalsmith._cron_version() RETURNS integer[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT string_to_array(substring(extversion, '^[0-9]+\.[0-9]+'), '.')::integer[]
            FROM pg_extension WHERE extname = 'pg_cron');
COMMENT ON FUNCTION signalsmith._cron_version() IS 'major and minor version of pg_cron in this database, or NULL';

-- What keeps pg_cron from running jobs in this database, and the way out.
CREATE FUNCTION signalsmith._cron_obstacle(OUT message text, OUT hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    loaded boolean := EXISTS (
        SELECT FROM regexp_split_to_table(current_setting('shared_preload_libraries'), '\s*,\s*') AS e (library)
        WHERE btrim(library, '" ') ~ '(^|/)pg_cron(\.so)?$');
    home text := current_setting('cron.database_name', true);
    version text := (SELECT extversion FROM pg_extension WHERE extname = 'pg_cron');
BEGIN
    IF NOT loaded THEN
        message := 'pg_cron is not loaded';
        hint := format('Install the package postgresql-%s-cron, add pg_cron to shared_preload_libraries, set cron.database_name = %L, restart the server, and run CREATE EXTENSION pg_cron. Or use an interval, which needs nothing.',
                       current_setting('server_version_num')::integer / 10000, current_database());
    ELSIF home <> current_database() THEN
        message := format('pg_cron works in database "%s", and there can be only one', home);
        hint := format('Set cron.database_name = %L, restart the server and run CREATE EXTENSION pg_cron here; or use an interval; or leave the sync manual and have a superuser schedule SELECT signalsmith.trigger_sync(...) in database "%s" with cron.schedule_in_database().',
                       current_database(), home);
    ELSIF version IS NULL THEN
        message := 'pg_cron is not installed in this database';
        hint := 'Run CREATE EXTENSION pg_cron as a superuser.';
    ELSIF signalsmith._cron_version() < ARRAY[1, 4] THEN
        message := format('pg_cron is too old: version %s', version);
        hint := 'Install version 1.4 or later, then run ALTER EXTENSION pg_cron UPDATE.';
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._cron_obstacle() IS
    'why cron schedules do not work in this database, and what to do; NULL when they do';

CREATE FUNCTION signalsmith._require_cron() RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    obstacle record := signalsmith._cron_obstacle();
BEGIN
    IF obstacle.message IS NOT NULL THEN
        RAISE EXCEPTION 'cron schedules do not work here: %', obstacle.message
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = obstacle.hint;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._require_cron() IS 'refuses where pg_cron cannot keep the time';

CREATE FUNCTION signalsmith._check_cron_schedule(schedule jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what CONSTANT text := 'a cron schedule';
    expression text;
    zone text;
BEGIN
    PERFORM signalsmith._check_keys(what, schedule, ARRAY['type', 'expression', 'timezone']);
    expression := signalsmith._text_of(what, schedule, 'expression');
    IF expression IS NULL THEN
        RAISE EXCEPTION 'a cron schedule needs an "expression"'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For example {"type":"cron","expression":"0 9 * * 1-5"}.';
    END IF;
    expression := signalsmith._check_cron(expression);
    PERFORM signalsmith._require_cron();
    IF split_part(expression, ' ', 3) = '$' AND signalsmith._cron_version() < ARRAY[1, 6] THEN
        RAISE EXCEPTION 'invalid cron expression "%"', expression
            USING ERRCODE = 'feature_not_supported',
            DETAIL = 'Only version 1.6 of pg_cron knows "$", the last day of the month.';
    END IF;

    -- It is shown with the schedule, so it may come back with one.
    zone := coalesce(signalsmith._text_of(what, schedule, 'timezone'), signalsmith._cron_timezone());
    IF zone <> signalsmith._cron_timezone() THEN
        RAISE EXCEPTION 'cron schedules are in time zone "%" here, not in "%"', signalsmith._cron_timezone(), zone
            USING ERRCODE = 'feature_not_supported',
            DETAIL = 'pg_cron has one time zone for all its jobs.',
            HINT = CASE WHEN signalsmith._cron_version() < ARRAY[1, 5]
                        THEN format('Write the expression in time zone "%s". From version 1.5 on, pg_cron has a setting cron.timezone.', signalsmith._cron_timezone())
                        ELSE format('Write the expression in time zone "%s", or change the setting cron.timezone, which takes a restart.', signalsmith._cron_timezone()) END;
    END IF;
    RETURN jsonb_build_object('type', 'cron', 'expression', expression);
END
$$;
COMMENT ON FUNCTION signalsmith._check_cron_schedule(jsonb) IS 'canonical form of a cron schedule';

-- "At nine" is said in somebody's own zone; pg_cron's may be another.
CREATE FUNCTION signalsmith._tell_cron_timezone(schedule jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    zone text := signalsmith._cron_timezone();
    first_run timestamptz := signalsmith._next_cron_run(schedule->>'expression', now(), zone);
BEGIN
    IF first_run AT TIME ZONE zone <> first_run AT TIME ZONE current_setting('TimeZone') THEN
        RAISE NOTICE 'cron schedule "%" is in time zone "%": next at %', schedule->>'expression', zone, first_run;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._tell_cron_timezone(jsonb) IS
    'tells the caller when pg_cron''s time zone is not the session''s';

-- Makes, changes, deactivates or removes the job.  Only to start runs takes a
-- pg_cron that works and an owner that it accepts: a sync can always be paused,
-- put away, or fail.
CREATE FUNCTION signalsmith._keep_cron_job(kept_sync bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    job_name CONSTANT text := 'signalsmith sync_' || kept_sync;
    job_command CONSTANT text := format('SELECT signalsmith.trigger_sync(''sync_%s'')', kept_sync);
    obstacle record := signalsmith._cron_obstacle();
    kept record;
    job bigint;
BEGIN
    SELECT s.schedule->>'expression' AS expression, pg_get_userbyid(m.owner)::text AS owner,
        s.status IN ('created', 'active') AS active INTO kept
    FROM signalsmith.sync s JOIN signalsmith.model m ON m.id = s.model_id
    WHERE s.id = kept_sync AND s.schedule->>'type' = 'cron' AND s.status <> 'archived';
    IF kept.active THEN
        PERFORM signalsmith._require_cron();
    ELSIF obstacle.message IS NOT NULL THEN
        RETURN;
    END IF;

    -- A job's name is unique for each role only, so that somebody else may have
    -- one of this name; only one that does what ours does is taken away.
    PERFORM cron.unschedule(jobid) FROM cron.job
    WHERE jobname = job_name AND command = job_command AND username IS DISTINCT FROM kept.owner;
    SELECT jobid INTO job FROM cron.job WHERE jobname = job_name AND username = kept.owner;
    IF job IS NOT NULL AND NOT kept.active THEN
        PERFORM cron.alter_job(job, active => false);
    ELSIF job IS NOT NULL THEN
        PERFORM cron.alter_job(job, kept.expression, job_command, current_database()::text, kept.owner, true);
    ELSIF kept.active THEN
        PERFORM cron.schedule_in_database(job_name, kept.expression, job_command, current_database()::text, kept.owner, true);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._keep_cron_job(bigint) IS
    'brings the pg_cron job of a sync in line with its schedule and status; a sync that is gone has none';

CREATE FUNCTION signalsmith._is_called_by_cron() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_is_called_by_cron';
COMMENT ON FUNCTION signalsmith._is_called_by_cron() IS
    'is this a background worker or a connection of pg_cron''s?';

CREATE FUNCTION signalsmith._syncs_without_cron_job() RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT count(*) FROM signalsmith.sync s JOIN signalsmith.model m ON m.id = s.model_id
        WHERE s.schedule->>'type' = 'cron' AND s.status IN ('created', 'active') AND NOT EXISTS (
            SELECT FROM cron.job j WHERE j.jobname = 'signalsmith sync_' || s.id AND j.active
                AND j.schedule = s.schedule->>'expression' AND j.database = current_database()
                AND j.username = pg_get_userbyid(m.owner)));
END
$$;
COMMENT ON FUNCTION signalsmith._syncs_without_cron_job() IS
    'how many syncs that should be started by pg_cron are not; needs pg_cron';
