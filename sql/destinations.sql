-- Destinations.

CREATE FUNCTION signalsmith._check_destination(connector text, manifest jsonb, config jsonb) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_check_destination';
COMMENT ON FUNCTION signalsmith._check_destination(text, jsonb, jsonb) IS
    'refuses a config that the connector''s manifest does not accept';

CREATE FUNCTION signalsmith._manifest_of(connector_name text) RETURNS jsonb
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    RETURN (SELECT manifest FROM signalsmith.connector WHERE name = connector_name);
COMMENT ON FUNCTION signalsmith._manifest_of(text) IS 'manifest of the connector of a destination';

-- Creates the destination (id NULL) or changes it; keys of "changes" are the
-- names of create_destination's arguments.
CREATE FUNCTION signalsmith._write_destination(caller regrole, changed_destination bigint, changes jsonb) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written signalsmith.destination;
    used signalsmith.connector;
    what CONSTANT text := 'the definition of a destination';
BEGIN
    PERFORM signalsmith._check_keys(what, changes, ARRAY['name', 'connector', 'config', 'description']);
    written.owner := caller;
    IF changed_destination IS NOT NULL THEN
        SELECT * INTO written FROM signalsmith.destination WHERE id = changed_destination FOR UPDATE;
    END IF;

    IF changes ? 'name' THEN
        written.name := signalsmith._text_of(what, changes, 'name');
        PERFORM signalsmith._check_name('destination', written.name);
        IF signalsmith._id_of('destination', written.name) <> coalesce(changed_destination, 0) THEN
            PERFORM signalsmith._raise_name_taken('destination', written.name);
        END IF;
    END IF;
    IF changes ? 'description' THEN
        written.description := signalsmith._text_of(what, changes, 'description');
    END IF;
    IF changes ? 'connector' THEN
        written.connector := signalsmith._text_of(what, changes, 'connector');
    END IF;
    IF changes ? 'config' THEN
        written.config := coalesce(nullif(changes->'config', 'null'), '{}');
        IF jsonb_typeof(written.config) <> 'object' THEN
            RAISE EXCEPTION 'config of destination "%" must be a JSON object', written.name
                USING ERRCODE = 'invalid_parameter_value',
                DETAIL = format('It is of JSON type %s.', jsonb_typeof(written.config));
        END IF;
    END IF;
    IF written.connector IS NULL THEN
        RAISE EXCEPTION 'a destination needs a connector'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = signalsmith._hint_for_connector(written.owner, NULL);
    END IF;
    used := signalsmith._find_connector(written.owner, written.connector);
    PERFORM signalsmith._check_destination(used.name, used.manifest, written.config);

    BEGIN
        IF changed_destination IS NOT NULL THEN
            UPDATE signalsmith.destination SET name = written.name,
                description = written.description, connector = written.connector,
                config = written.config, updated_at = now()
            WHERE id = changed_destination;
            RETURN changed_destination;
        END IF;
        INSERT INTO signalsmith.destination (name, description, connector, config, owner)
        VALUES (written.name, written.description, written.connector,
            written.config, written.owner)
        RETURNING id INTO written.id;
        RETURN written.id;
    EXCEPTION
        WHEN unique_violation THEN
            PERFORM signalsmith._raise_name_taken('destination', written.name);
    END;
END
$$;
COMMENT ON FUNCTION signalsmith._write_destination(regrole, bigint, jsonb) IS
    'checks and stores a destination: a new one (NULL) or a changed one';

CREATE FUNCTION signalsmith._create_destination(caller regrole, name text, connector text,
        config jsonb, description text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN 'dst_' || signalsmith._write_destination(caller, NULL, jsonb_build_object(
        'name', name, 'connector', connector, 'config', config, 'description', description));
END
$$;
COMMENT ON FUNCTION signalsmith._create_destination(regrole, text, text, jsonb, text) IS
    'private part of create_destination';

CREATE FUNCTION signalsmith.create_destination(name text, connector text, config jsonb DEFAULT '{}',
        description text DEFAULT NULL) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.create_destination(text, text, jsonb, text) IS
    'saves where and how to send, after checking it, and returns the destination''s id';

CREATE FUNCTION signalsmith._update_destination(caller regrole, ref text, changes jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed bigint := signalsmith._find(caller, 'destination', ref, true);
    old_connector text := (SELECT connector FROM signalsmith.destination WHERE id = changed);
BEGIN
    PERFORM signalsmith._write_destination(caller, changed, changes);
    IF changes->>'connector' <> old_connector THEN
        PERFORM signalsmith._refuse_with_snapshot(caller, id, 'connector') FROM signalsmith.sync
        WHERE destination_id = changed ORDER BY id;
    END IF;
    IF changes ?| ARRAY['connector', 'config'] THEN
        PERFORM signalsmith._check_dependent_sync(caller, s.id, format('destination "%s"', ref), true)
        FROM signalsmith.sync s JOIN signalsmith.model m ON m.id = s.model_id
        WHERE s.destination_id = changed AND s.status <> 'archived'
            AND signalsmith._may_use(m.owner, changed) ORDER BY s.id;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._update_destination(regrole, text, jsonb) IS
    'private part of update_destination';

CREATE FUNCTION signalsmith.update_destination(ref text, changes jsonb) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.update_destination(text, jsonb) IS
    'changes a destination: keys are the arguments of create_destination, an absent one stays as it is; config is replaced as a whole';

CREATE FUNCTION signalsmith._delete_destination(caller regrole, ref text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted bigint := signalsmith._find(caller, 'destination', ref, true);
BEGIN
    PERFORM FROM signalsmith.destination WHERE id = deleted FOR UPDATE;
    PERFORM signalsmith._refuse_if_used(caller, 'destination', ref,
        ARRAY(SELECT id FROM signalsmith.sync WHERE destination_id = deleted));
    DELETE FROM signalsmith.destination WHERE id = deleted;
END
$$;
COMMENT ON FUNCTION signalsmith._delete_destination(regrole, text) IS 'private part of delete_destination';

CREATE FUNCTION signalsmith.delete_destination(ref text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.delete_destination(text) IS 'deletes a destination that no sync uses';

-- Sharing --------------------------------------------------------------------

CREATE FUNCTION signalsmith._role_of(role_name text) RETURNS regrole
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_role oid := (SELECT oid FROM pg_roles WHERE rolname = role_name);
BEGIN
    IF found_role IS NULL THEN
        RAISE EXCEPTION '%', coalesce('role "' || role_name || '" does not exist', 'no role given')
            USING ERRCODE = 'undefined_object',
            HINT = CASE WHEN role_name = 'public'
                        THEN 'For everybody who may create syncs, give the role signalsmith_user.'
                        ELSE coalesce('Did you mean "' || signalsmith._closest(role_name,
                                 ARRAY(SELECT rolname FROM pg_roles ORDER BY rolname)) || '"?', '') END;
    END IF;
    RETURN found_role;
END
$$;
COMMENT ON FUNCTION signalsmith._role_of(text) IS 'the role of this name; an error when there is none';

CREATE FUNCTION signalsmith._forget_dropped_roles() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM signalsmith.destination_share s
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE oid = s.role);
END;
COMMENT ON FUNCTION signalsmith._forget_dropped_roles() IS 'deletes shares with roles that are gone';

CREATE FUNCTION signalsmith._shared_with(shared_destination bigint) RETURNS text[]
    LANGUAGE sql STABLE STRICT
    RETURN ARRAY(SELECT rolname FROM signalsmith.destination_share JOIN pg_catalog.pg_roles r ON r.oid = role
                 WHERE destination_id = shared_destination ORDER BY rolname);
COMMENT ON FUNCTION signalsmith._shared_with(bigint) IS 'names of the roles that a destination is shared with';

CREATE FUNCTION signalsmith._share_destination(caller regrole, destination text, role text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shared bigint := signalsmith._find(caller, 'destination', destination, true);
    new_role regrole := signalsmith._role_of(role);
BEGIN
    PERFORM signalsmith._forget_dropped_roles();
    INSERT INTO signalsmith.destination_share (destination_id, role) VALUES (shared, new_role)
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION signalsmith._share_destination(regrole, text, text) IS 'private part of share_destination';

CREATE FUNCTION signalsmith.share_destination(destination text, role text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.share_destination(text, text) IS
    'lets a role and its members send to a destination with their own syncs, without showing them its secrets, header values and full URLs, and without letting them change it';

-- Whoever loses the right keeps the sync: its next run fails, and says why.
CREATE FUNCTION signalsmith._unshare_destination(caller regrole, destination text, role text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shared bigint := signalsmith._find(caller, 'destination', destination, true);
    old_role regrole := signalsmith._role_of(role);
    stranded bigint;
BEGIN
    DELETE FROM signalsmith.destination_share s WHERE s.destination_id = shared AND s.role = old_role;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'destination "%" is not shared with role "%"', destination, role
            USING ERRCODE = 'undefined_object',
            HINT = coalesce('It is shared with: '
                            || signalsmith._quoted_list(nullif(signalsmith._shared_with(shared), '{}')) || '.', '');
    END IF;
    PERFORM signalsmith._forget_dropped_roles();

    SELECT count(*) INTO stranded
    FROM signalsmith.sync s JOIN signalsmith.model m ON m.id = s.model_id
    WHERE s.destination_id = shared AND s.status <> 'archived' AND NOT signalsmith._may_use(m.owner, shared);
    IF stranded > 0 THEN
        RAISE NOTICE '% may no longer send to destination "%"',
                CASE stranded WHEN 1 THEN '1 sync' ELSE stranded || ' syncs' END, destination
            USING DETAIL = 'The next run of each fails, and puts the sync into error.';
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._unshare_destination(regrole, text, text) IS 'private part of unshare_destination';

CREATE FUNCTION signalsmith.unshare_destination(destination text, role text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.unshare_destination(text, text) IS
    'takes back what share_destination gave; syncs that depend on it go into error with their next run';

-- Testing --------------------------------------------------------------------

CREATE FUNCTION signalsmith._probe_destination(destination_id bigint, destination_name text,
        connector text, manifest jsonb, config jsonb)
    RETURNS TABLE (step text, ok boolean, detail text)
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_probe_destination';
COMMENT ON FUNCTION signalsmith._probe_destination(bigint, text, text, jsonb, jsonb) IS
    'sends one request that changes nothing, and tells how far it came';

CREATE FUNCTION signalsmith._probe_table(sync_id bigint) RETURNS text
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_probe_table';
COMMENT ON FUNCTION signalsmith._probe_table(bigint) IS
    'refuses a table that a sync''s owner could not write to as the sync wants; connects to where a foreign table is, and returns the table''s name';

-- A destination of tables is as good as the tables that its syncs name.
CREATE FUNCTION signalsmith._test_tables(caller regrole, tested bigint)
    RETURNS TABLE (step text, ok boolean, detail text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    sync record;
    message text;
    hint text;
    table_name text;
BEGIN
    FOR sync IN SELECT s.id, s.name FROM signalsmith.sync s
                WHERE s.destination_id = tested AND s.status <> 'archived'
                    AND signalsmith._is_visible(caller, 'sync', s.id) ORDER BY s.name LOOP
        step := 'table';
        BEGIN
            table_name := signalsmith._probe_table(sync.id);
            ok := true;
            detail := format('%s: sync "%s" can write to it', table_name, sync.name);
        EXCEPTION
            WHEN internal_error OR query_canceled THEN
                RAISE;
            WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
                ok := false;
                detail := format('sync "%s": %s', sync.name, message) || coalesce(' (' || nullif(hint, '') || ')', '');
        END;
        RETURN NEXT;
    END LOOP;
    IF step IS NULL THEN
        RETURN QUERY SELECT 'table', true, 'no sync of yours names a table here yet';
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._test_tables(regrole, bigint) IS
    'the part of test_destination for destinations that are tables';

CREATE FUNCTION signalsmith._test_destination(caller regrole, destination text)
    RETURNS TABLE (step text, ok boolean, detail text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tested signalsmith.destination;
BEGIN
    SELECT * INTO tested FROM signalsmith.destination d
    WHERE d.id = signalsmith._find(caller, 'destination', destination);
    IF NOT signalsmith._may_use(caller, tested.id) THEN
        RAISE EXCEPTION 'permission denied for destination "%"', destination
            USING ERRCODE = 'insufficient_privilege',
            DETAIL = format('It belongs to role "%s", and is not shared with you.', pg_get_userbyid(tested.owner)),
            HINT = format('Who manages it can allow it: SELECT signalsmith.share_destination(''dst_%s'', %L).', tested.id, caller);
    END IF;
    PERFORM signalsmith._refuse_fenced();
    IF signalsmith._manifest_of(tested.connector) ? 'table' THEN
        RETURN QUERY SELECT * FROM signalsmith._test_tables(caller, tested.id);
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM signalsmith._probe_destination(tested.id, tested.name, tested.connector,
        signalsmith._manifest_of(tested.connector), tested.config);
END
$$;
COMMENT ON FUNCTION signalsmith._test_destination(regrole, text) IS 'private part of test_destination';

CREATE FUNCTION signalsmith.test_destination(destination text)
    RETURNS TABLE (step text, ok boolean, detail text)
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.test_destination(text) IS
    'tries a destination step by step, up to the first that fails: token, resolve, connect, TLS, authenticate; sends no record';
