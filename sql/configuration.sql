-- Configuration as code: what is defined, as one document, and back.
--
-- An import carries the document out for real, by the functions that everybody
-- uses, and a dry run takes that back; so the plan that it shows is what will
-- happen, down to the error that it would end with.

-- Keys are the arguments of the create functions, a model's search_path, and the
-- roles that a destination is shared with.
CREATE FUNCTION signalsmith._config_of(kind text, object_name text) RETURNS jsonb
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    RETURN CASE kind
        WHEN 'connector' THEN (
            SELECT jsonb_build_object('name', c.name, 'manifest', c.manifest)
            FROM signalsmith.connector c WHERE c.name = object_name)
        WHEN 'model' THEN (
            SELECT jsonb_build_object('name', m.name, 'description', m.description, 'source', m.source,
                'query', m.query, 'search_path', m.search_path,
                'primary_key', m.primary_key, 'identifiers', m.identifiers)
            FROM signalsmith.model m WHERE m.name = object_name)
        WHEN 'destination' THEN (
            SELECT jsonb_build_object('name', d.name, 'description', d.description,
                'connector', d.connector, 'config', d.config, 'shared_with', signalsmith._shared_with(d.id))
            FROM signalsmith.destination d WHERE d.name = object_name)
        WHEN 'sync' THEN (
            SELECT jsonb_build_object('name', s.name, 'description', s.description,
                'model', m.name, 'destination', d.name, 'mode', s.mode, 'field_mappings', s.field_mappings,
                'schedule', s.schedule, 'object', s.object, 'options', s.options)
            FROM signalsmith.sync s
                JOIN signalsmith.model m ON m.id = s.model_id
                JOIN signalsmith.destination d ON d.id = s.destination_id
            WHERE s.name = object_name)
        WHEN 'alert' THEN (
            SELECT jsonb_build_object('name', a.name, 'sync', coalesce(s.name, '*'), 'condition', a.condition,
                'destination', d.name, 'options', a.options)
            FROM signalsmith.alert a
                LEFT JOIN signalsmith.sync s ON s.id = a.sync_id
                JOIN signalsmith.sync delivery ON delivery.id = a.delivery_sync_id
                JOIN signalsmith.destination d ON d.id = delivery.destination_id
            WHERE a.name = object_name)
    END;
COMMENT ON FUNCTION signalsmith._config_of(text, text) IS 'the definition of an object, as in export_config; NULL when there is none';

-- What delivers alerts comes with them.
CREATE FUNCTION signalsmith._export_config(caller regrole) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT jsonb_build_object('format', 1,
        'connectors', (SELECT coalesce(jsonb_agg(signalsmith._config_of('connector', name) ORDER BY name), '[]')
            FROM signalsmith.connector WHERE NOT builtin AND signalsmith._may_manage(caller, owner)),
        'models', (SELECT coalesce(jsonb_agg(signalsmith._config_of('model', name) ORDER BY name), '[]')
            FROM signalsmith.model m WHERE signalsmith._may_manage(caller, owner) AND NOT EXISTS (
                SELECT FROM signalsmith.sync s WHERE s.model_id = m.id AND signalsmith._delivers_alerts(s.id))),
        'destinations', (SELECT coalesce(jsonb_agg(signalsmith._config_of('destination', name) ORDER BY name), '[]')
            FROM signalsmith.destination WHERE signalsmith._may_manage(caller, owner)),
        'syncs', (SELECT coalesce(jsonb_agg(signalsmith._config_of('sync', name) ORDER BY name), '[]')
            FROM signalsmith.sync WHERE signalsmith._may_manage(caller, signalsmith._owner_of('sync', id))
                AND NOT signalsmith._delivers_alerts(id)),
        'alerts', (SELECT coalesce(jsonb_agg(signalsmith._config_of('alert', name) ORDER BY name), '[]')
            FROM signalsmith.alert WHERE signalsmith._may_manage(caller, owner)));
END;
COMMENT ON FUNCTION signalsmith._export_config(regrole) IS 'private part of export_config';

CREATE FUNCTION signalsmith.export_config() RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.export_config() IS
    'what the caller manages as one document: connectors that are not built in, models, destinations, syncs and alerts, by name; without ids, owners, secrets and state';

-- Without the key they stay as they are.
CREATE FUNCTION signalsmith._share_as_configured(caller regrole, destination text, given jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted CONSTANT text[] := signalsmith._texts_of('the definition of a destination', given, 'shared_with');
    present CONSTANT text[] := signalsmith._shared_with(signalsmith._id_of('destination', destination));
BEGIN
    IF wanted IS NULL THEN
        RETURN;
    END IF;
    PERFORM signalsmith._share_destination(caller, destination, role) FROM unnest(wanted) AS role WHERE role <> ALL (present);
    PERFORM signalsmith._unshare_destination(caller, destination, role) FROM unnest(present) AS role WHERE role <> ALL (wanted);
END
$$;
COMMENT ON FUNCTION signalsmith._share_as_configured(regrole, text, jsonb) IS
    'shares a destination with exactly the roles that a configuration names';

CREATE FUNCTION signalsmith._import_alert(caller regrole, given jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what CONSTANT text := 'the definition of an alert';
    old_alert CONSTANT bigint := signalsmith._id_of('alert', given->>'name');
    owner CONSTANT regrole := coalesce(signalsmith._owner_of('alert', old_alert), caller);
BEGIN
    PERFORM signalsmith._check_keys(what, given, ARRAY['name', 'sync', 'condition', 'destination', 'options']);
    UPDATE signalsmith.alert SET name = 'replaced ' || id WHERE id = old_alert;
    PERFORM signalsmith._create_alert(owner, signalsmith._text_of(what, given, 'sync'),
        signalsmith._text_of(what, given, 'condition'), signalsmith._text_of(what, given, 'destination'),
        given->'options', signalsmith._text_of(what, given, 'name'));
    PERFORM signalsmith._drop_alert(owner, old_alert) WHERE old_alert IS NOT NULL;
END
$$;
COMMENT ON FUNCTION signalsmith._import_alert(regrole, jsonb) IS
    'creates or replaces an alert; what it has told stays, as long as it goes to the same destination';

CREATE FUNCTION signalsmith._create_from_config(caller regrole, kind text, given jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE kind
        WHEN 'connector' THEN
            PERFORM signalsmith._check_keys('the definition of a connector', given, ARRAY['name', 'manifest']);
            PERFORM signalsmith._create_connector(caller, given->>'name', given->'manifest');
        WHEN 'model' THEN
            PERFORM signalsmith._write_model(caller, NULL, '{"query": null, "source": "local"}' || given);
        WHEN 'destination' THEN
            PERFORM signalsmith._write_destination(caller, NULL, '{"connector": null, "config": {}}' || (given - 'shared_with'));
            PERFORM signalsmith._share_as_configured(caller, given->>'name', given);
        WHEN 'sync' THEN
            PERFORM signalsmith._create_sync(caller, given);
        WHEN 'alert' THEN
            PERFORM signalsmith._import_alert(caller, given);
    END CASE;
END
$$;
COMMENT ON FUNCTION signalsmith._create_from_config(regrole, text, jsonb) IS 'creates an object of a configuration';

CREATE FUNCTION signalsmith._update_from_config(caller regrole, kind text, object_name text, changes jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE kind
        WHEN 'connector' THEN
            PERFORM signalsmith._check_keys('the definition of a connector', changes, ARRAY['manifest']);
            PERFORM signalsmith._update_connector(caller, object_name, changes->'manifest');
        WHEN 'model' THEN
            PERFORM signalsmith._update_model(caller, object_name, changes);
        WHEN 'destination' THEN
            PERFORM signalsmith._update_destination(caller, object_name, changes - 'shared_with');
            PERFORM signalsmith._share_as_configured(caller, object_name, changes);
        WHEN 'sync' THEN
            PERFORM signalsmith._update_sync(caller, object_name, changes);
        WHEN 'alert' THEN
            PERFORM signalsmith._import_alert(caller, signalsmith._config_of('alert', object_name) || changes);
    END CASE;
END
$$;
COMMENT ON FUNCTION signalsmith._update_from_config(regrole, text, text, jsonb) IS 'changes an object to what a configuration says';

-- What says the same in other words, such as a field mapping's synonyms, is no
-- change: that shows only once it is stored, and the update is taken back.
CREATE FUNCTION signalsmith._import_object(caller regrole, kind text, given jsonb, OUT action text, OUT detail text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    object_name CONSTANT text := given->>'name';
    before CONSTANT jsonb := signalsmith._config_of(kind, object_name);
    after jsonb;
    changes jsonb;
BEGIN
    IF before IS NULL THEN
        PERFORM signalsmith._create_from_config(caller, kind, given);
        action := 'create';
        RETURN;
    ELSIF kind = 'connector' THEN
        IF object_name <> ALL (signalsmith._usable_connectors(caller)) THEN
            PERFORM signalsmith._raise_name_taken(kind, object_name);
        END IF;
    ELSE
        IF NOT signalsmith._is_visible(caller, kind, signalsmith._id_of(kind, object_name)) THEN
            PERFORM signalsmith._raise_name_taken(kind, object_name);
        END IF;
        PERFORM signalsmith._find(caller, kind, object_name, true);
    END IF;

    action := 'unchanged';
    SELECT coalesce(jsonb_object_agg(key, value), '{}') INTO changes
    FROM jsonb_each(given) AS e (key, value) WHERE value IS DISTINCT FROM before->key;
    IF changes = '{}' THEN
        RETURN;
    ELSIF changes ? 'query' THEN
        changes := jsonb_build_object('search_path', before->'search_path') || changes;
    END IF;
    BEGIN
        PERFORM signalsmith._update_from_config(caller, kind, object_name, changes);
        after := signalsmith._config_of(kind, object_name);
        IF after = before THEN
            RAISE EXCEPTION USING ERRCODE = 'SS001', MESSAGE = 'nothing has changed';
        END IF;
        action := 'update';
        SELECT string_agg(key, ', ' ORDER BY key) INTO detail
        FROM jsonb_each(after) AS e (key, value) WHERE value IS DISTINCT FROM before->key;
    EXCEPTION
        WHEN SQLSTATE 'SS001' THEN
            NULL;
    END;
END
$$;
COMMENT ON FUNCTION signalsmith._import_object(regrole, text, jsonb) IS
    'creates or changes one object of a configuration, and says which';

CREATE FUNCTION signalsmith._objects_of_config(config jsonb)
    RETURNS TABLE (number bigint, kind text, object_name text, given jsonb)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what CONSTANT text := 'the configuration';
    list text;
BEGIN
    PERFORM signalsmith._check_keys(what, config, ARRAY['format', 'connectors', 'models', 'destinations', 'syncs', 'alerts']);
    IF coalesce(config->'format', '1') <> '1' THEN
        RAISE EXCEPTION 'the configuration is of format %, which this version does not know', config->'format'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'It was exported by a later version of signalsmith.';
    END IF;
    FOREACH list IN ARRAY ARRAY['connectors', 'models', 'destinations', 'syncs', 'alerts'] LOOP
        IF jsonb_typeof(config->list) <> 'array'
            OR jsonb_path_exists(config->list, '$[*] ? (@.type() != "object" || !(exists (@.name)) || @.name.type() != "string")') THEN
            RAISE EXCEPTION '"%" in the configuration must be a list of objects with a "name"', list
                USING ERRCODE = 'invalid_parameter_value',
                HINT = 'SELECT jsonb_pretty(signalsmith.export_config()) shows what a configuration looks like.';
        END IF;
    END LOOP;

    RETURN QUERY
    SELECT row_number() OVER (ORDER BY kinds.position, e.position), kinds.kind, e.value->>'name',
        CASE kinds.kind WHEN 'sync' THEN signalsmith._sync_keys(e.value) ELSE e.value END
    FROM unnest(ARRAY['connector', 'model', 'destination', 'sync', 'alert']) WITH ORDINALITY AS kinds (kind, position)
        CROSS JOIN LATERAL jsonb_array_elements(config->(kinds.kind || 's')) WITH ORDINALITY AS e (value, position);
END
$$;
COMMENT ON FUNCTION signalsmith._objects_of_config(jsonb) IS 'the objects of a configuration, in the order in which they depend on each other';

-- A model that loses a column and a sync that no longer sends it have to change in
-- another order than a model and a sync that gain one.  So what is refused is
-- tried again after the others, as long as that gets anywhere.
CREATE FUNCTION signalsmith._import_config(caller regrole, config jsonb, dry_run boolean)
    RETURNS TABLE (action text, kind text, name text, detail text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    planned record;
    imported record;
    fault record;
    actions text[] := '{}';
    details text[] := '{}';
    total bigint;
    done bigint;
    message text;
    error_detail text;
    hint text;
    state text;
BEGIN
    SELECT o.kind, o.object_name INTO fault FROM signalsmith._objects_of_config(config) AS o
    GROUP BY o.kind, o.object_name HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the configuration has two % named "%"', fault.kind || 's', fault.object_name
            USING ERRCODE = 'duplicate_object',
            HINT = 'Objects are found by their name: leave one of the two out.';
    END IF;

    SELECT count(*) INTO total FROM signalsmith._objects_of_config(config);
    BEGIN
        LOOP
            done := cardinality(array_remove(actions, NULL));
            EXIT WHEN done = total;
            state := NULL;
            FOR planned IN SELECT * FROM signalsmith._objects_of_config(config) AS o ORDER BY o.number LOOP
                CONTINUE WHEN actions[planned.number] IS NOT NULL;
                BEGIN
                    imported := signalsmith._import_object(caller, planned.kind, planned.given);
                    actions[planned.number] := imported.action;
                    details[planned.number] := imported.detail;
                EXCEPTION
                    WHEN internal_error THEN
                        RAISE;
                    WHEN OTHERS THEN
                        IF state IS NULL THEN
                            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, error_detail = PG_EXCEPTION_DETAIL,
                                hint = PG_EXCEPTION_HINT, state = RETURNED_SQLSTATE;
                            fault := planned;
                        END IF;
                END;
            END LOOP;
            IF cardinality(array_remove(actions, NULL)) = done THEN
                RAISE EXCEPTION 'cannot import % "%": %', fault.kind, fault.object_name, message
                    USING ERRCODE = state, DETAIL = error_detail, HINT = hint;
            END IF;
        END LOOP;
        IF coalesce(dry_run, true) THEN
            RAISE EXCEPTION USING ERRCODE = 'SS002', MESSAGE = 'this was a dry run';
        END IF;
    EXCEPTION
        WHEN SQLSTATE 'SS002' THEN
            NULL;
    END;

    RETURN QUERY
    SELECT actions[o.number], o.kind, o.object_name, details[o.number]
    FROM signalsmith._objects_of_config(config) AS o ORDER BY o.number;
END
$$;
COMMENT ON FUNCTION signalsmith._import_config(regrole, jsonb, boolean) IS 'private part of import_config';

CREATE FUNCTION signalsmith.import_config(config jsonb, dry_run boolean DEFAULT true)
    RETURNS TABLE (action text, kind text, name text, detail text)
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.import_config(jsonb, boolean) IS
    'creates and changes what a document of export_config defines, and deletes nothing; a dry run tells what that would change, and takes it back';
