-- Syncs: what is stored is canonical, whatever spelling it came in.

-- Modes, schedules, options -------------------------------------------------

CREATE FUNCTION signalsmith._check_mode(mode text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    modes CONSTANT text[] := ARRAY['upsert', 'mirror', 'append', 'update', 'insert'];
BEGIN
    IF mode = ANY (modes) THEN
        RETURN mode;
    END IF;
    RAISE EXCEPTION '%', coalesce('unknown mode "' || mode || '"', 'mode must not be null')
        USING ERRCODE = 'invalid_parameter_value',
        HINT = signalsmith._hint_for_choice(mode, modes);
END
$$;
COMMENT ON FUNCTION signalsmith._check_mode(text) IS 'the mode, if it is one';

CREATE FUNCTION signalsmith._interval_of(schedule jsonb) RETURNS interval
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN schedule->>'type' = 'interval' THEN make_interval(
        mins => coalesce((schedule->>'interval_minutes')::integer, 0),
        secs => coalesce((schedule->>'interval_seconds')::integer, 0)) END;
COMMENT ON FUNCTION signalsmith._interval_of(jsonb) IS
    'time between runs of a stored schedule; NULL unless it is an interval';

-- 366 days are enough for everybody, and far from what an interval cannot hold.
CREATE FUNCTION signalsmith._check_interval(schedule jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unit text;
    amount numeric;
    highest integer;
BEGIN
    PERFORM signalsmith._check_keys('an interval schedule', schedule,
        ARRAY['type', 'interval_minutes', 'interval_seconds']);
    unit := CASE WHEN schedule ? 'interval_seconds' THEN 'interval_seconds' ELSE 'interval_minutes' END;
    highest := 366 * 24 * 60 * CASE unit WHEN 'interval_seconds' THEN 60 ELSE 1 END;
    IF NOT schedule ? unit OR schedule ?& ARRAY['interval_minutes', 'interval_seconds'] THEN
        RAISE EXCEPTION 'an interval schedule needs either "interval_minutes" or "interval_seconds"'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For example {"type":"interval","interval_minutes":60}.';
    END IF;
    IF jsonb_typeof(schedule->unit) = 'number' THEN
        amount := (schedule->unit)::numeric;
    END IF;
    IF amount IS NULL OR amount <> trunc(amount) OR amount NOT BETWEEN 1 AND highest THEN
        RAISE EXCEPTION '"%" must be a whole number from 1 to %', unit, highest
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('It is %s.', left((schedule->unit)::text, 100));
    END IF;
    RETURN jsonb_build_object('type', 'interval', unit, amount::integer);
END
$$;
COMMENT ON FUNCTION signalsmith._check_interval(jsonb) IS 'canonical form of an interval schedule';

CREATE FUNCTION signalsmith._check_schedule(schedule jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    types CONSTANT text[] := ARRAY['manual', 'interval', 'cron'];
    type text;
BEGIN
    -- A bare string is a cron expression.
    IF jsonb_typeof(schedule) = 'string' THEN
        schedule := jsonb_build_object('type', 'cron', 'expression', schedule);
    END IF;
    PERFORM signalsmith._check_keys('a schedule', schedule,
        ARRAY['type', 'interval_minutes', 'interval_seconds', 'expression', 'timezone']);
    type := signalsmith._text_of('a schedule', schedule, 'type');

    IF type = 'manual' THEN
        PERFORM signalsmith._check_keys('a manual schedule', schedule, ARRAY['type']);
        RETURN schedule;
    ELSIF type = 'interval' THEN
        RETURN signalsmith._check_interval(schedule);
    ELSIF type = 'cron' THEN
        RETURN signalsmith._check_cron_schedule(schedule);
    END IF;
    RAISE EXCEPTION '%', coalesce('unknown schedule type "' || type || '"', 'a schedule needs a "type"')
        USING ERRCODE = 'invalid_parameter_value',
        HINT = signalsmith._hint_for_choice(type, types);
END
$$;
COMMENT ON FUNCTION signalsmith._check_schedule(jsonb) IS 'canonical form of a schedule';

-- Ranges are those of the settings that they override.
CREATE FUNCTION signalsmith._check_number_option(option text, value jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    range record;
    number numeric;
BEGIN
    SELECT * INTO range FROM (VALUES
        ('batch_size', 1, 100000, true),
        ('max_in_flight', 1, 100, true),
        ('max_attempts', 1, 100, true),
        ('timeout_seconds', 0.001, 86400, false),
        ('max_delete_percent', 0, 100, false),
        ('error_after', 1, 1000000, true)) AS r (name, lowest, highest, whole)
    WHERE name = option LIMIT 1;
    IF jsonb_typeof(value) = 'number' THEN
        number := value::numeric;
    END IF;
    IF number IS NULL OR number NOT BETWEEN range.lowest AND range.highest
        OR range.whole AND number <> trunc(number) THEN
        RAISE EXCEPTION 'option "%" must be a % from % to %', option,
                CASE WHEN range.whole THEN 'whole number' ELSE 'number' END,
                trim_scale(range.lowest), range.highest
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('It is %s.', left(value::text, 100));
    END IF;
    RETURN to_jsonb(trim_scale(number));
END
$$;
COMMENT ON FUNCTION signalsmith._check_number_option(text, jsonb) IS
    'canonical form of the value of an option that is a number';

CREATE FUNCTION signalsmith._check_options(options jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    option record;
    canonical jsonb := '{}';
BEGIN
    PERFORM signalsmith._check_keys('the options of a sync', options,
        ARRAY['batch_size', 'max_in_flight', 'max_attempts', 'timeout_seconds',
              'max_delete_percent', 'error_after', 'on_null']);
    FOR option IN SELECT key, value FROM jsonb_each(options) AS e (key, value)
                  WHERE value <> 'null' LOOP
        IF option.key <> 'on_null' THEN
            option.value := signalsmith._check_number_option(option.key, option.value);
        ELSIF option.value NOT IN ('"null"', '"omit"') THEN
            RAISE EXCEPTION 'option "on_null" must be "null" or "omit"'
                USING ERRCODE = 'invalid_parameter_value',
                DETAIL = format('It is %s.', left(option.value::text, 100)),
                HINT = '"null" sends a null, "omit" leaves the field out.';
        END IF;
        canonical := canonical || jsonb_build_object(option.key, option.value);
    END LOOP;
    RETURN canonical;
END
$$;
COMMENT ON FUNCTION signalsmith._check_options(jsonb) IS 'canonical form of a sync''s options';

-- Who may own a sync, and use what -------------------------------------------

-- Asked when a sync is created and before each run: the role may have changed,
-- or be gone, since.
CREATE FUNCTION signalsmith._owner_obstacle(owner regrole) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT CASE
            WHEN r.oid IS NULL THEN format('role %s no longer exists', owner)
            WHEN r.rolsuper AND NOT current_setting('signalsmith.allow_superuser_syncs')::boolean
                THEN 'a superuser may not own syncs, since signalsmith.allow_superuser_syncs is off'
            WHEN NOT r.rolcanlogin AND current_setting('server_version_num')::integer < 170000
                THEN format('role "%s" cannot log in', r.rolname)
            WHEN NOT has_database_privilege(r.oid, current_database(), 'CONNECT')
                THEN format('role "%s" may not connect to database "%s"', r.rolname, current_database())
        END
        FROM (VALUES (1)) AS one LEFT JOIN pg_roles r ON r.oid = owner);
COMMENT ON FUNCTION signalsmith._owner_obstacle(regrole) IS
    'why a sync of this role cannot run; NULL when it can';

-- Asked by the scheduler before each run.
CREATE FUNCTION signalsmith._obstacle_of(sync_id bigint) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT coalesce(signalsmith._owner_obstacle(m.owner),
            CASE WHEN NOT signalsmith._may_use(m.owner, d.id) THEN
                format('role "%s" may not use destination "%s"; who manages that can allow it with signalsmith.share_destination()',
                       pg_get_userbyid(m.owner), d.name)
            WHEN NOT signalsmith._may_use_connector(d.owner, c) THEN
                format('connector "%s" belongs to role "%s", and destination "%s" of role "%s" may not use it any more',
                       c.name, pg_get_userbyid(c.owner), d.name, pg_get_userbyid(d.owner))
            END)
        FROM signalsmith.sync s
            JOIN signalsmith.model m ON m.id = s.model_id
            JOIN signalsmith.destination d ON d.id = s.destination_id
            JOIN signalsmith.connector c ON c.name = d.connector
        WHERE s.id = sync_id);
COMMENT ON FUNCTION signalsmith._obstacle_of(bigint) IS
    'why a sync may not run: its owner cannot connect, or not use the destination; NULL when it may';

CREATE FUNCTION signalsmith._check_owner(owner regrole) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    obstacle text := signalsmith._owner_obstacle(owner);
BEGIN
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION '%', obstacle
            USING ERRCODE = 'insufficient_privilege',
            DETAIL = 'A sync runs connected as its owner, who is the owner of its model.',
            HINT = CASE WHEN obstacle LIKE '%log in' THEN
                            format('Run ALTER ROLE %s LOGIN, which needs no password, or have another role create the model.', owner)
                        WHEN obstacle LIKE '%may not connect%' THEN
                            format('Run GRANT CONNECT ON DATABASE %I TO %s.', current_database(), owner)
                        ELSE 'Create the model as another role, with SET ROLE.' END;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._check_owner(regrole) IS 'refuses an owner as whom no run could connect';

CREATE FUNCTION signalsmith._changed_model(caller regrole, sync signalsmith.sync, ref text) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted bigint := signalsmith._find(caller, 'model', ref, true);
    old_owner regrole := signalsmith._owner_of('model', sync.model_id);
    new_owner regrole := signalsmith._owner_of('model', wanted);
BEGIN
    IF old_owner <> new_owner THEN
        RAISE EXCEPTION 'cannot give sync "%" a model of another owner', sync.name
            USING ERRCODE = 'invalid_object_definition',
            DETAIL = format('A sync belongs to the owner of its model: this one to role "%s", and model "%s" to role "%s".',
                            pg_get_userbyid(old_owner), ref, pg_get_userbyid(new_owner)),
            HINT = 'Create another sync for that model.';
    END IF;
    RETURN wanted;
END
$$;
COMMENT ON FUNCTION signalsmith._changed_model(regrole, signalsmith.sync, text) IS
    'number of the model that a sync is to have; an error when it is of another owner than the one it has';

-- Whoever may manage the model may write its owner's syncs; the destination must
-- be one that the owner may use.
CREATE FUNCTION signalsmith._usable_destination(caller regrole, owner regrole, ref text) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    used bigint := signalsmith._find(caller, 'destination', ref);
BEGIN
    IF NOT signalsmith._may_use(owner, used) THEN
        RAISE EXCEPTION 'permission denied for destination "%"', ref
            USING ERRCODE = 'insufficient_privilege',
            DETAIL = format('The sync belongs to role "%s", the owner of its model, which may not use the destination.', pg_get_userbyid(owner)),
            HINT = format('Who manages the destination can allow it: SELECT signalsmith.share_destination(''dst_%s'', %L).',
                          used, pg_get_userbyid(owner));
    END IF;
    RETURN used;
END
$$;
COMMENT ON FUNCTION signalsmith._usable_destination(regrole, regrole, text) IS
    'number of the destination that a sync of this owner is to use';

-- Writing --------------------------------------------------------------------

CREATE FUNCTION signalsmith._check_sync(sync_id bigint) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_check_sync';
COMMENT ON FUNCTION signalsmith._check_sync(bigint) IS
    'refuses a stored sync that could not run: mappings, snapshot, connector, mode';

CREATE FUNCTION signalsmith._needed_secrets(sync_id bigint) RETURNS text[]
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_needed_secrets';
COMMENT ON FUNCTION signalsmith._needed_secrets(bigint) IS
    'names of the secrets without which a stored sync could send nothing';

-- They may be set later, as after an import; but who forgets it should not learn it at night.
CREATE FUNCTION signalsmith._warn_of_missing_secrets(sync_id bigint, used_destination bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    destination_name CONSTANT text := (SELECT name FROM signalsmith.destination WHERE id = used_destination);
    missing text;
BEGIN
    FOR missing IN
        SELECT needed FROM unnest(signalsmith._needed_secrets(sync_id)) AS needed
        WHERE NOT EXISTS (SELECT FROM signalsmith.secret s WHERE s.destination_id = used_destination AND s.name = needed)
    LOOP
        RAISE WARNING 'the secret "%" of destination "%" is not set', missing, destination_name
            USING HINT = format('Before the first run, use SELECT signalsmith.set_secret(%L, %L, value).', destination_name, missing);
    END LOOP;
END
$$;
COMMENT ON FUNCTION signalsmith._warn_of_missing_secrets(bigint, bigint) IS
    'warns of secrets that a new sync needs and that its destination does not have yet';

CREATE FUNCTION signalsmith._check_sync_connector(sync_id bigint) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_check_sync_connector';
COMMENT ON FUNCTION signalsmith._check_sync_connector(bigint) IS
    'refuses a stored sync that its destination''s connector could not serve; plans no query';

-- The error of a sync that a change elsewhere would break says so.
CREATE FUNCTION signalsmith._check_dependent_sync(caller regrole, sync_id bigint, changed text, connector_only boolean)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    broken signalsmith.sync;
    message text;
    detail text;
    hint text;
BEGIN
    IF connector_only THEN
        PERFORM signalsmith._check_sync_connector(sync_id);
    ELSE
        PERFORM signalsmith._check_sync(sync_id);
    END IF;
EXCEPTION
    WHEN internal_error OR query_canceled THEN
        RAISE;
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        SELECT * INTO broken FROM signalsmith.sync WHERE id = sync_id;
        IF NOT signalsmith._is_visible(caller, 'sync', sync_id) THEN
            RAISE EXCEPTION 'cannot change % because a sync of another role could no longer run', changed
                USING ERRCODE = SQLSTATE,
                HINT = 'A member of signalsmith_admin sees which one and why.';
        END IF;
        RAISE EXCEPTION 'cannot change % because % could no longer run', changed,
                format('sync "%s"', broken.name)
            USING ERRCODE = SQLSTATE,
            DETAIL = upper(left(message, 1)) || substr(message, 2) || '.' || coalesce(' ' || nullif(detail, ''), ''),
            HINT = coalesce(nullif(hint, ''), 'Change the sync first with signalsmith.update_sync().');
END
$$;
COMMENT ON FUNCTION signalsmith._check_dependent_sync(regrole, bigint, text, boolean) IS
    'refuses a change of a model or destination that a sync would not survive';

CREATE FUNCTION signalsmith._refuse_with_snapshot(caller regrole, changed_sync bigint, what text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept signalsmith.sync;
    is_visible boolean := signalsmith._is_visible(caller, 'sync', changed_sync);
BEGIN
    SELECT * INTO kept FROM signalsmith.sync WHERE id = changed_sync;
    IF kept.snapshot_key IS NOT NULL THEN
        RAISE EXCEPTION 'cannot change the % of % while it has a snapshot', what,
                CASE WHEN is_visible THEN format('sync "%s"', kept.name) ELSE 'a sync of another role' END
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'The snapshot says what the old one holds; the new one would be taken to hold the same.',
            HINT = CASE WHEN is_visible THEN
                format('Run SELECT signalsmith.reset_sync(''sync_%s'') first; the next run then sends everything.', kept.id)
                ELSE 'A member of signalsmith_admin sees which one.' END;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._refuse_with_snapshot(regrole, bigint, text) IS
    'refuses a change that the snapshot of a sync would contradict';

-- The keys of create_sync's jsonb form, with synonyms replaced.
CREATE FUNCTION signalsmith._sync_keys(definition jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what CONSTANT text := 'the definition of a sync';
BEGIN
    PERFORM signalsmith._check_keys(what, definition, ARRAY['name', 'model', 'destination', 'mode',
        'field_mappings', 'schedule', 'object', 'options', 'description',
        'model_id', 'destination_id', 'sync_mode', 'field_mapping', 'config']);
    definition := signalsmith._unify_key(what, definition, 'model', 'model_id');
    definition := signalsmith._unify_key(what, definition, 'destination', 'destination_id');
    definition := signalsmith._unify_key(what, definition, 'mode', 'sync_mode');
    definition := signalsmith._unify_key(what, definition, 'field_mappings', 'field_mapping');
    RETURN signalsmith._unify_key(what, definition, 'options', 'config');
END
$$;
COMMENT ON FUNCTION signalsmith._sync_keys(jsonb) IS 'the definition of a sync with one spelling of each key';

-- The sync as the changes make it; keys of "changes" are those of _sync_keys.
CREATE FUNCTION signalsmith._changed_sync(caller regrole, sync signalsmith.sync, changes jsonb)
    RETURNS signalsmith.sync
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what CONSTANT text := 'the definition of a sync';
BEGIN
    IF changes ? 'name' THEN
        sync.name := signalsmith._text_of(what, changes, 'name');
        PERFORM signalsmith._check_name('sync', sync.name);
        IF signalsmith._id_of('sync', sync.name) <> coalesce(sync.id, 0) THEN
            PERFORM signalsmith._raise_name_taken('sync', sync.name);
        END IF;
    END IF;
    IF changes ? 'model' THEN
        sync.model_id := signalsmith._changed_model(caller, sync,
            signalsmith._text_of(what, changes, 'model'));
    END IF;
    IF changes ? 'destination' THEN
        sync.destination_id := signalsmith._usable_destination(caller,
            signalsmith._owner_of('model', sync.model_id),
            signalsmith._text_of(what, changes, 'destination'));
    END IF;
    IF changes ? 'mode' THEN
        sync.mode := signalsmith._check_mode(signalsmith._text_of(what, changes, 'mode'));
    END IF;
    IF changes ? 'schedule' THEN
        sync.schedule := signalsmith._check_schedule(changes->'schedule');
    END IF;
    IF changes ? 'object' THEN
        sync.object := signalsmith._text_of(what, changes, 'object');
    END IF;
    IF changes ? 'options' THEN
        sync.options := signalsmith._check_options(coalesce(nullif(changes->'options', 'null'), '{}'));
    END IF;
    IF changes ? 'description' THEN
        sync.description := signalsmith._text_of(what, changes, 'description');
    END IF;
    IF changes ?| ARRAY['model', 'field_mappings'] THEN
        sync.field_mappings := signalsmith._check_field_mappings(
            CASE WHEN changes ? 'field_mappings' THEN changes->'field_mappings' ELSE sync.field_mappings END,
            (SELECT columns FROM signalsmith.model WHERE id = sync.model_id FOR KEY SHARE));
    END IF;
    RETURN sync;
END
$$;
COMMENT ON FUNCTION signalsmith._changed_sync(regrole, signalsmith.sync, jsonb) IS
    'a sync after checked changes, not stored yet';

CREATE FUNCTION signalsmith._create_sync(caller regrole, definition jsonb) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written signalsmith.sync;
    required text;
BEGIN
    definition := signalsmith._sync_keys(definition);

    -- What is null is absent, and what is absent has a default.
    definition := '{"mode": "upsert", "schedule": {"type": "manual"}, "options": {}}'
        || (SELECT coalesce(jsonb_object_agg(key, value), '{}')
            FROM jsonb_each(definition) AS e (key, value) WHERE value <> 'null');
    FOREACH required IN ARRAY ARRAY['name', 'model', 'destination'] LOOP
        IF NOT definition ? required THEN
            RAISE EXCEPTION 'a sync needs a %', required
                USING ERRCODE = 'invalid_parameter_value',
                HINT = CASE required WHEN 'name' THEN '' ELSE format('Give the %s''s name or id.', required) END;
        END IF;
    END LOOP;
    written := signalsmith._changed_sync(caller, written, definition);
    PERFORM signalsmith._check_owner(signalsmith._owner_of('model', written.model_id));
    BEGIN
        INSERT INTO signalsmith.sync (name, description, model_id, destination_id, mode,
            field_mappings, schedule, object, options)
        VALUES (written.name, written.description, written.model_id, written.destination_id, written.mode,
            written.field_mappings, written.schedule, written.object, written.options)
        RETURNING id INTO written.id;
    EXCEPTION
        WHEN unique_violation THEN
            PERFORM signalsmith._raise_name_taken('sync', written.name);
    END;
    PERFORM signalsmith._check_sync(written.id);
    PERFORM signalsmith._warn_of_missing_secrets(written.id, written.destination_id);
    PERFORM signalsmith._reschedule(written.id);
    PERFORM signalsmith._note_instance();
    PERFORM signalsmith._tell_cron_timezone(written.schedule);
    RETURN 'sync_' || written.id;
END
$$;
COMMENT ON FUNCTION signalsmith._create_sync(regrole, jsonb) IS 'private part of create_sync(jsonb)';

CREATE FUNCTION signalsmith.create_sync(definition jsonb) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.create_sync(jsonb) IS
    'saves a sync given as the body of a REST request, after checking it, and returns the sync''s id; it belongs to the owner of the model';

CREATE FUNCTION signalsmith._create_sync(caller regrole, name text, model text, destination text, mode text,
        field_mappings jsonb, schedule jsonb, object text, options jsonb, description text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN signalsmith._create_sync(caller, jsonb_build_object('name', name, 'model', model,
        'destination', destination, 'mode', mode, 'field_mappings', field_mappings,
        'schedule', schedule, 'object', object, 'options', options, 'description', description));
END
$$;
COMMENT ON FUNCTION signalsmith._create_sync(regrole, text, text, text, text, jsonb, jsonb, text, jsonb, text) IS
    'private part of create_sync';

CREATE FUNCTION signalsmith.create_sync(name text, model text, destination text, mode text DEFAULT 'upsert',
        field_mappings jsonb DEFAULT NULL, schedule jsonb DEFAULT '{"type":"manual"}',
        object text DEFAULT NULL, options jsonb DEFAULT '{}', description text DEFAULT NULL) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.create_sync(text, text, text, text, jsonb, jsonb, text, jsonb, text) IS
    'saves how a model goes to a destination, after checking it, and returns the sync''s id; it belongs to the owner of the model, and runs with that role''s rights; with an interval schedule the first run is due one interval later';

CREATE FUNCTION signalsmith._update_sync(caller regrole, ref text, changes jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed_sync bigint := signalsmith._find(caller, 'sync', ref, true);
    written signalsmith.sync;
    old_sync signalsmith.sync;
BEGIN
    SELECT * INTO old_sync FROM signalsmith.sync WHERE id = changed_sync FOR UPDATE;
    changes := signalsmith._sync_keys(changes);
    written := signalsmith._changed_sync(caller, old_sync, changes);
    IF written.destination_id <> old_sync.destination_id THEN
        PERFORM signalsmith._refuse_with_snapshot(caller, changed_sync, 'destination');
    END IF;
    IF written.object IS DISTINCT FROM old_sync.object THEN
        PERFORM signalsmith._refuse_with_snapshot(caller, changed_sync, 'object');
    END IF;

    BEGIN
        UPDATE signalsmith.sync SET name = written.name, description = written.description,
            model_id = written.model_id, destination_id = written.destination_id, mode = written.mode,
            field_mappings = written.field_mappings, schedule = written.schedule, object = written.object,
            options = written.options, updated_at = now()
        WHERE id = changed_sync;
    EXCEPTION
        WHEN unique_violation THEN
            PERFORM signalsmith._raise_name_taken('sync', written.name);
    END;
    PERFORM signalsmith._check_sync(changed_sync);
    IF changes ? 'schedule' THEN
        PERFORM signalsmith._reschedule(changed_sync);
        PERFORM signalsmith._tell_cron_timezone(written.schedule);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._update_sync(regrole, text, jsonb) IS 'private part of update_sync';

CREATE FUNCTION signalsmith.update_sync(ref text, changes jsonb) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.update_sync(text, jsonb) IS
    'changes a sync: keys are those of create_sync, an absent one stays as it is; another model must be of the same owner; options and field mappings are replaced as a whole';

-- A run that is under way is cancelled first: its runner is told when this
-- transaction commits, and can record nothing any more.
CREATE FUNCTION signalsmith._delete_sync(caller regrole, ref text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted bigint := signalsmith._find(caller, 'sync', ref, true);
BEGIN
    PERFORM FROM signalsmith.sync WHERE id = deleted FOR UPDATE;
    PERFORM signalsmith._drop_alerts_of(caller, deleted);
    PERFORM FROM signalsmith.run WHERE sync_id = deleted AND status IN ('queued', 'running') FOR UPDATE;
    PERFORM signalsmith._request_cancel(id) FROM signalsmith.run WHERE sync_id = deleted AND status = 'running';
    DELETE FROM signalsmith.outbox WHERE run_id IN (SELECT id FROM signalsmith.run WHERE sync_id = deleted);
    DELETE FROM signalsmith.row_failure WHERE sync_id = deleted;
    DELETE FROM signalsmith.segment WHERE sync_id = deleted;
    DELETE FROM signalsmith.run WHERE sync_id = deleted;
    DELETE FROM signalsmith.sync WHERE id = deleted;
    PERFORM signalsmith._keep_cron_job(deleted);
END
$$;
COMMENT ON FUNCTION signalsmith._delete_sync(regrole, text) IS 'private part of delete_sync';

CREATE FUNCTION signalsmith.delete_sync(ref text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.delete_sync(text) IS
    'deletes a sync with its runs, its row errors and its snapshot; a run that is under way is cancelled; what it has sent stays at the destination';
