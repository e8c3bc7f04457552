-- Is the installation sound?

CREATE FUNCTION signalsmith._library_version() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_library_version';
COMMENT ON FUNCTION signalsmith._library_version() IS 'the version of the extension that the library belongs to';

CREATE FUNCTION signalsmith._http_client(OUT version text, OUT problem text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_http_client';
COMMENT ON FUNCTION signalsmith._http_client() IS 'the HTTP client that is installed here, and what is wrong with it';

CREATE FUNCTION signalsmith._authorities(OUT path text, OUT problem text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_authorities';
COMMENT ON FUNCTION signalsmith._authorities() IS
    'the certificate authorities that destinations are verified with, and what is wrong with them';

CREATE FUNCTION signalsmith._check_installation(caller regrole)
    RETURNS TABLE (name text, ok boolean, detail text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    slots integer := current_setting('max_worker_processes')::integer;
    wanted integer := current_setting('signalsmith.max_workers')::integer;
    used integer;
    obstacle record;
    installed text;
    client record;
    authorities record;
BEGIN
    -- Not everybody may know the whole list.
    name := 'shared_preload_libraries';
    ok := EXISTS (SELECT FROM regexp_split_to_table(current_setting(name), '\s*,\s*') AS e (library)
                  WHERE btrim(library, '" ') ~ '(^|/)signalsmith(\.so)?$');
    detail := CASE WHEN ok THEN 'signalsmith is loaded' ELSE 'signalsmith is not among them' END;
    hint := CASE WHEN NOT ok THEN 'Add signalsmith to shared_preload_libraries and restart: schedules need it, and runs that go on after a restart.' END;
    RETURN NEXT;

    name := 'version';
    installed := (SELECT extversion FROM pg_extension WHERE extname = 'signalsmith');
    ok := installed = signalsmith._library_version();
    detail := CASE WHEN ok THEN installed
        ELSE format('%s in this database, but the library is %s: syncs wait', installed, signalsmith._library_version()) END;
    hint := CASE WHEN NOT ok THEN 'Run ALTER EXTENSION signalsmith UPDATE in this database; if the library is the older one, install the newer and restart.' END;
    RETURN NEXT;

    name := 'launcher';
    ok := EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'signalsmith launcher');
    detail := CASE WHEN ok THEN 'running' ELSE 'not running' END;
    hint := CASE WHEN NOT ok THEN 'It starts with the server when the library is preloaded; the server''s log says why it stopped.' END;
    RETURN NEXT;

    name := 'signalsmith.enabled';
    ok := current_setting(name)::boolean;
    detail := current_setting(name);
    hint := CASE WHEN NOT ok THEN 'Runs wait in the queue until it is on: ALTER SYSTEM SET signalsmith.enabled = on, then SELECT pg_reload_conf().' END;
    RETURN NEXT;

    name := 'worker slots';
    used := (SELECT count(*) FROM pg_stat_activity WHERE backend_type NOT IN ('client backend',
        'autovacuum launcher', 'autovacuum worker', 'background writer', 'checkpointer', 'walwriter',
        'walsender', 'walreceiver', 'startup', 'archiver', 'parallel worker', 'slotsync worker',
        'walsummarizer') AND backend_type NOT LIKE 'signalsmith%');
    ok := slots - used >= wanted + 2;
    detail := format('max_worker_processes is %s, others use %s, signalsmith may use %s', slots, used, wanted + 2);
    hint := CASE WHEN NOT ok THEN 'Raise max_worker_processes (needs a restart) or lower signalsmith.max_workers.' END;
    RETURN NEXT;

    name := 'owner of syncs';
    detail := signalsmith._owner_obstacle(caller);
    ok := detail IS NULL;
    detail := coalesce(detail, format('role "%s" can own syncs', caller));
    hint := CASE WHEN NOT ok THEN 'A sync runs connected as its owner: use a role with LOGIN and CONNECT.' END;
    RETURN NEXT;

    name := 'libcurl';
    client := signalsmith._http_client();
    ok := client.problem IS NULL;
    detail := concat_ws(': ', client.version, client.problem);
    hint := CASE WHEN NOT ok THEN 'Install a libcurl as new as the one that signalsmith was built with, or build signalsmith anew, and restart.' END;
    RETURN NEXT;

    name := 'signalsmith.ca_file';
    authorities := signalsmith._authorities();
    ok := authorities.problem IS NULL;
    detail := concat_ws(': ', authorities.path, authorities.problem);
    hint := CASE WHEN NOT ok THEN 'No https destination can be verified, so nothing is sent: install the package ca-certificates, or set signalsmith.ca_file to a file of certificates in PEM form.' END;
    RETURN NEXT;

    name := 'egress';
    ok := current_setting('signalsmith.allowed_hosts') <> '' AND NOT (
        current_setting('signalsmith.allow_private_networks')::boolean AND current_setting('signalsmith.allowed_hosts') = '*');
    detail := CASE current_setting('signalsmith.allowed_hosts') WHEN '' THEN 'no host is allowed'
            WHEN '*' THEN 'all hosts' ELSE 'hosts: ' || current_setting('signalsmith.allowed_hosts') END
        || CASE WHEN current_setting('signalsmith.allow_private_networks')::boolean
            THEN ', private networks too' ELSE ', no private networks' END;
    hint := CASE WHEN ok THEN NULL WHEN current_setting('signalsmith.allowed_hosts') = ''
            THEN 'Name some in signalsmith.allowed_hosts.'
            ELSE 'Whoever may create a destination can reach every service inside your network: name the hosts in signalsmith.allowed_hosts, or set signalsmith.allow_private_networks to off.' END;
    RETURN NEXT;

    name := 'signalsmith.key_file';
    detail := signalsmith._key_problem();
    ok := detail IS NULL;
    detail := coalesce(detail, 'usable');
    hint := CASE WHEN NOT ok THEN 'Only secrets need it: put the output of "openssl rand -hex 32" into a file that only the server''s user can read, outside the data directory.' END;
    RETURN NEXT;

    name := 'pg_cron';
    obstacle := signalsmith._cron_obstacle();
    ok := obstacle.message IS NULL;
    detail := coalesce(obstacle.message, (SELECT format('version %s, time zone %s', extversion, signalsmith._cron_timezone())
                                          FROM pg_extension WHERE extname = 'pg_cron'));
    hint := 'Only cron schedules need it. ' || obstacle.hint;
    IF ok AND signalsmith._syncs_without_cron_job() > 0 THEN
        ok := false;
        detail := format('%s syncs with a cron schedule have no job that starts them', signalsmith._syncs_without_cron_job());
        hint := 'A renamed role or database, or DROP EXTENSION pg_cron, leaves them without. Give each its schedule again with signalsmith.update_sync().';
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION signalsmith._check_installation(regrole) IS 'private part of check_installation';

CREATE FUNCTION signalsmith.check_installation()
    RETURNS TABLE (name text, ok boolean, detail text, hint text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.check_installation() IS
    'what signalsmith needs of this server, whether it is there, and what to do if not';
