-- Connectors: kinds of destination API, as manifests.  Those that are built in
-- come with the extension; others are made here, and belong to a role.

-- A connector says where the secrets of a destination go, and its owner may
-- change it.  So one may be used by its owner, and by all whom the owner could
-- harm anyway: a superuser's by everybody, an admin's by all but superusers.
CREATE FUNCTION signalsmith._may_use_connector(user_role regrole, used signalsmith.connector) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN (used).builtin
        OR signalsmith._is_superuser((used).owner) IS TRUE
        OR signalsmith._is_superuser(user_role) IS NOT TRUE
           AND (pg_has_role(user_role, (used).owner, 'USAGE')
                OR pg_has_role((used).owner, 'signalsmith_admin', 'USAGE'));
COMMENT ON FUNCTION signalsmith._may_use_connector(regrole, signalsmith.connector) IS
    'may destinations of this role be of that connector?';

CREATE FUNCTION signalsmith._usable_connectors(user_role regrole) RETURNS text[]
    LANGUAGE sql STABLE STRICT
    RETURN ARRAY(SELECT name FROM signalsmith.connector c
                 WHERE signalsmith._may_use_connector(user_role, c) ORDER BY name);
COMMENT ON FUNCTION signalsmith._usable_connectors(regrole) IS 'names of the connectors that destinations of this role may have';

CREATE FUNCTION signalsmith._hint_for_connector(user_role regrole, connector_name text) RETURNS text
    LANGUAGE sql STABLE
    RETURN coalesce('Did you mean "' || signalsmith._closest(connector_name, signalsmith._usable_connectors(user_role)) || '"?',
                    'SELECT * FROM signalsmith.list_connectors() shows those that you may use.');
COMMENT ON FUNCTION signalsmith._hint_for_connector(regrole, text) IS 'a hint for who has named a connector that there is not';

-- What does not exist, and what is not the caller's to use, are one error.
CREATE FUNCTION signalsmith._find_connector(user_role regrole, connector_name text) RETURNS signalsmith.connector
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_connector signalsmith.connector;
BEGIN
    SELECT * INTO found_connector FROM signalsmith.connector c
    WHERE c.name = connector_name AND signalsmith._may_use_connector(user_role, c);
    IF NOT FOUND THEN
        RAISE EXCEPTION '%', CASE WHEN connector_name IS NULL THEN 'no connector given'
                                  ELSE format('connector "%s" does not exist', connector_name) END
            USING ERRCODE = 'undefined_object',
            HINT = signalsmith._hint_for_connector(user_role, connector_name);
    END IF;
    RETURN found_connector;
END
$$;
COMMENT ON FUNCTION signalsmith._find_connector(regrole, text) IS
    'a connector that destinations of this role may have; an error when there is none';

CREATE FUNCTION signalsmith._managed_connector(caller regrole, connector_name text) RETURNS signalsmith.connector
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    managed CONSTANT signalsmith.connector := signalsmith._find_connector(caller, connector_name);
BEGIN
    IF managed.builtin THEN
        RAISE EXCEPTION 'connector "%" is built in', connector_name
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'It comes with the extension, and changes with its upgrades.',
            HINT = format('Give a copy another name: SELECT signalsmith.create_connector(''my_%1$s'', signalsmith.get_connector(''%1$s'')->''manifest'').',
                          connector_name);
    ELSIF NOT signalsmith._may_manage(caller, managed.owner) THEN
        RAISE EXCEPTION 'permission denied for connector "%"', connector_name
            USING ERRCODE = 'insufficient_privilege',
            DETAIL = format('It belongs to role "%s".', pg_get_userbyid(managed.owner)),
            HINT = 'Its owner can change it, and so can a member of signalsmith_admin unless that is a superuser.';
    END IF;
    PERFORM FROM signalsmith.connector WHERE name = connector_name FOR UPDATE;
    RETURN managed;
END
$$;
COMMENT ON FUNCTION signalsmith._managed_connector(regrole, text) IS 'a connector that the caller may change, locked';

-- Whatever a manifest requires of a config, so that the rest of it can be checked.
CREATE FUNCTION signalsmith._example_config(manifest jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT coalesce(jsonb_object_agg(key, CASE
            WHEN jsonb_typeof(value->'enum') = 'array' THEN value->'enum'->0
            WHEN value->>'type' IN ('integer', 'number') THEN coalesce(value->'minimum', value->'maximum', '1')
            WHEN value->>'type' = 'boolean' THEN 'true'
            WHEN value->>'type' = 'object' THEN '{}'
            WHEN value->>'type' = 'array' THEN '[]'
            WHEN value->>'format' = 'url' THEN '"https://example.com"'
            ELSE '"example"' END), '{}')
        FROM jsonb_each(CASE WHEN jsonb_typeof(manifest->'config') = 'object' THEN manifest->'config' ELSE '{}' END)
        WHERE NOT value ? 'default' AND value->'secret' IS DISTINCT FROM 'true'
            AND (value->'required' = 'true' OR jsonb_path_exists(manifest,
                '$.auth.token.grants.*.requires[*] ? (@ == $name)', jsonb_build_object('name', key))));
COMMENT ON FUNCTION signalsmith._example_config(jsonb) IS 'a config with made-up values that a manifest accepts';

CREATE FUNCTION signalsmith._check_manifest(connector_name text, manifest jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF manifest IS NULL OR jsonb_typeof(manifest) <> 'object' THEN
        RAISE EXCEPTION 'the manifest of connector "%" must be a JSON object', connector_name
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = CASE WHEN manifest IS NULL THEN 'It is NULL.'
                          ELSE format('It is of JSON type %s.', jsonb_typeof(manifest)) END;
    ELSIF manifest ? 'manifest_in_config' THEN
        RAISE EXCEPTION 'invalid manifest of connector "%" at "manifest_in_config"', connector_name
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'Only the connector "http" has its manifest in the config.';
    END IF;
    PERFORM signalsmith._check_destination(connector_name, manifest, signalsmith._example_config(manifest));
END
$$;
COMMENT ON FUNCTION signalsmith._check_manifest(text, jsonb) IS 'refuses a manifest with a fault, and says where it is';

CREATE FUNCTION signalsmith._create_connector(caller regrole, name text, manifest jsonb) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM signalsmith._check_name('connector', name);
    PERFORM signalsmith._check_manifest(name, manifest);
    INSERT INTO signalsmith.connector (name, manifest, owner) VALUES (name, manifest, caller);
    RETURN name;
EXCEPTION
    WHEN unique_violation THEN
        PERFORM signalsmith._raise_name_taken('connector', name);
END
$$;
COMMENT ON FUNCTION signalsmith._create_connector(regrole, text, jsonb) IS 'private part of create_connector';

CREATE FUNCTION signalsmith.create_connector(name text, manifest jsonb) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.create_connector(text, jsonb) IS
    'saves how a kind of destination API is spoken to, after checking it, and returns its name; doc/manifest.md has the language';

CREATE FUNCTION signalsmith._update_connector(caller regrole, name text, manifest jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed CONSTANT signalsmith.connector := signalsmith._managed_connector(caller, name);
BEGIN
    PERFORM signalsmith._check_manifest(changed.name, manifest);
    UPDATE signalsmith.connector c SET manifest = _update_connector.manifest, updated_at = now()
    WHERE c.name = changed.name;
    PERFORM signalsmith._check_dependent_destination(caller, d) FROM signalsmith.destination d
    WHERE d.connector = changed.name ORDER BY d.id;
    PERFORM signalsmith._check_dependent_sync(caller, s.id, format('connector "%s"', changed.name), true)
    FROM signalsmith.sync s JOIN signalsmith.destination d ON d.id = s.destination_id
    WHERE d.connector = changed.name AND s.status <> 'archived' ORDER BY s.id;
END
$$;
COMMENT ON FUNCTION signalsmith._update_connector(regrole, text, jsonb) IS 'private part of update_connector';

CREATE FUNCTION signalsmith.update_connector(name text, manifest jsonb) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.update_connector(text, jsonb) IS
    'gives a connector another manifest, unless a destination or sync could not go on with it; a run under way ends with the old one';

CREATE FUNCTION signalsmith._check_dependent_destination(caller regrole, dependent signalsmith.destination) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    message text;
    detail text;
BEGIN
    PERFORM signalsmith._check_destination(dependent.connector,
        signalsmith._manifest_of(dependent.connector), dependent.config);
EXCEPTION
    WHEN invalid_parameter_value THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
        IF NOT signalsmith._may_manage(caller, dependent.owner) THEN
            RAISE EXCEPTION 'cannot change connector "%" because a destination of another role could not go on with it',
                    dependent.connector
                USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give what is new a default, or create another connector.';
        END IF;
        RAISE EXCEPTION 'cannot change connector "%" because destination "%" could not go on with it',
                dependent.connector, dependent.name
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('%s: %s', message, detail),
            HINT = 'Give what is new a default, or create another connector.';
END
$$;
COMMENT ON FUNCTION signalsmith._check_dependent_destination(regrole, signalsmith.destination) IS
    'refuses a change of a connector that a destination would not survive';

CREATE FUNCTION signalsmith._delete_connector(caller regrole, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted CONSTANT signalsmith.connector := signalsmith._managed_connector(caller, name);
    visible text[];
    others bigint;
BEGIN
    SELECT array_agg(d.name ORDER BY d.name) FILTER (WHERE signalsmith._is_visible(caller, 'destination', d.id)),
        count(*) FILTER (WHERE NOT signalsmith._is_visible(caller, 'destination', d.id))
    INTO visible, others
    FROM signalsmith.destination d WHERE d.connector = deleted.name;
    IF visible IS NOT NULL OR others > 0 THEN
        RAISE EXCEPTION 'cannot delete connector "%" because it is in use', name
            USING ERRCODE = 'dependent_objects_still_exist',
            DETAIL = format('Its destinations: %s.', concat_ws(' and ', signalsmith._quoted_list(visible),
                                                               nullif(others, 0) || ' of other roles')),
            HINT = 'Delete those first, with signalsmith.delete_destination().';
    END IF;
    DELETE FROM signalsmith.connector c WHERE c.name = deleted.name;
END
$$;
COMMENT ON FUNCTION signalsmith._delete_connector(regrole, text) IS 'private part of delete_connector';

CREATE FUNCTION signalsmith.delete_connector(name text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.delete_connector(text) IS 'deletes a connector that no destination is of';

CREATE FUNCTION signalsmith._get_connector(caller regrole, name text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    found_connector CONSTANT signalsmith.connector := signalsmith._find_connector(caller, name);
BEGIN
    RETURN jsonb_build_object(
        'name', found_connector.name,
        'description', found_connector.manifest->>'description',
        'builtin', found_connector.builtin,
        'manifest', found_connector.manifest,
        'owner', pg_get_userbyid(found_connector.owner),
        'created_at', found_connector.created_at,
        'updated_at', found_connector.updated_at);
END
$$;
COMMENT ON FUNCTION signalsmith._get_connector(regrole, text) IS 'private part of get_connector';

CREATE FUNCTION signalsmith.get_connector(name text) RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.get_connector(text) IS 'a connector with its manifest, which another one can begin with';
