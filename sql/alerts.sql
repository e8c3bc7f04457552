-- Alerts: what somebody wants to be told of, once when it begins and once when
-- it is over.
--
-- The end of a run writes an event for each alert whose state it changes.  Events
-- are delivered by a sync like any other, of mode append, that belongs to the
-- alerts' owner: a model over signalsmith.alert_events, one for each owner and
-- destination.  So alerts go wherever a sync can go, in background workers, at
-- least once, and what becomes of them is in the views that show syncs and runs.
-- No alert watches a sync that delivers alerts.

-- What people see ------------------------------------------------------------

CREATE VIEW signalsmith.alerts WITH (security_barrier) AS
    SELECT 'alert_' || a.id AS id,
        a.name,
        coalesce(watched.name, '*') AS sync,
        a.condition,
        a.options,
        d.name AS destination,
        (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM signalsmith.alert_firing f
            JOIN signalsmith.sync s ON s.id = f.sync_id WHERE f.alert_id = a.id) AS firing,
        delivery.name AS delivered_by,
        pg_get_userbyid(a.owner)::text AS owner
    FROM signalsmith.alert a
        JOIN signalsmith._visible_sync delivery ON delivery.id = a.delivery_sync_id
        JOIN signalsmith.destination d ON d.id = delivery.destination_id
        LEFT JOIN signalsmith.sync watched ON watched.id = a.sync_id
    ORDER BY a.id;
COMMENT ON VIEW signalsmith.alerts IS 'what is reported when it happens to syncs, and where to';
COMMENT ON COLUMN signalsmith.alerts.sync IS 'the sync that is watched; *: every one that the owner may see';
COMMENT ON COLUMN signalsmith.alerts.firing IS 'the syncs that it is so for now';
COMMENT ON COLUMN signalsmith.alerts.delivered_by IS 'the sync that sends the events';

CREATE VIEW signalsmith.alert_events WITH (security_barrier) AS
    SELECT e.id,
        e.alert,
        e.sync,
        e.condition,
        e.state,
        e.run_id,
        e.text,
        date_trunc('seconds', e.occurred_at) AS occurred_at,
        'sync_' || e.delivery_sync_id AS delivered_by
    FROM signalsmith.alert_event e JOIN signalsmith._visible_sync delivery ON delivery.id = e.delivery_sync_id
    ORDER BY e.id;
COMMENT ON VIEW signalsmith.alert_events IS 'changes of state that alerts have told, or are about to tell';
COMMENT ON COLUMN signalsmith.alert_events.state IS 'firing: it is so from now on; resolved: it is over';
COMMENT ON COLUMN signalsmith.alert_events.text IS 'the message, with what to do';
COMMENT ON COLUMN signalsmith.alert_events.delivered_by IS 'id of the sync that sends it';

-- Judging --------------------------------------------------------------------

-- A cancelled run says nothing; one that did not get to its end, or had its plan
-- already, nothing about rows.
CREATE FUNCTION signalsmith._alert_fires(watching signalsmith.alert, finished signalsmith.run, watched signalsmith.sync)
    RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN CASE
        WHEN (finished).status = 'cancelled' THEN NULL
        WHEN (watching).condition = 'failed' THEN (finished).status = 'failed'
        WHEN (watching).condition = 'error' THEN (watched).status = 'error'
        WHEN (watching).condition = 'held' THEN
            EXISTS (SELECT FROM signalsmith.run WHERE sync_id = (watched).id AND deletes_held > 0)
        WHEN (watching).condition = 'slow' AND extract(epoch FROM (finished).finished_at - (finished).started_at)
            > ((watching).options->>'seconds')::numeric THEN true
        WHEN (finished).status = 'failed' OR NOT signalsmith._looked_at_model(finished) THEN NULL
        WHEN (watching).condition = 'slow' THEN false
        ELSE (finished).rows_failed > coalesce(((watching).options->>'rows')::numeric, 0)
            AND (finished).rows_failed * 100.0
                > coalesce(((watching).options->>'percent')::numeric, 0) * greatest((finished).rows_processed, 1)
    END;
COMMENT ON FUNCTION signalsmith._alert_fires(signalsmith.alert, signalsmith.run, signalsmith.sync) IS
    'is it so that an alert watches for, now that this run has ended? NULL: it stays as it is';

CREATE FUNCTION signalsmith._alert_text(watching signalsmith.alert, finished signalsmith.run, watched signalsmith.sync,
        fires boolean) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN format('%s: ', (watched).name) || CASE
        WHEN NOT fires THEN format('run_%s is %s; no longer %s', (finished).id, (finished).status,
            CASE (watching).condition WHEN 'row_failures' THEN 'failing rows' WHEN 'error' THEN 'in error'
                ELSE (watching).condition END)
        WHEN (watching).condition = 'failed' THEN format('run_%s failed: %s', (finished).id, (finished).error)
        WHEN (watching).condition = 'error' THEN
            format('in error, nothing is sent until SELECT signalsmith.resume_sync(''sync_%s''): %s', (watched).id, (watched).status_error)
        WHEN (watching).condition = 'held' THEN
            format('run_%s is %s: %s', (finished).id, (finished).status, coalesce((finished).error, 'older deletes are held'))
        WHEN (watching).condition = 'slow' THEN
            format('run_%s %s more than %s seconds', (finished).id,
                coalesce('took ' || date_trunc('second', (finished).finished_at - (finished).started_at) || ',', 'takes'),
                (watching).options->>'seconds')
        ELSE format('%s rows of run_%s failed; signalsmith.error_summary says why', (finished).rows_failed, (finished).id)
    END;
COMMENT ON FUNCTION signalsmith._alert_text(signalsmith.alert, signalsmith.run, signalsmith.sync, boolean) IS
    'what an alert says when its state changes';

-- Telling --------------------------------------------------------------------

CREATE FUNCTION signalsmith._delivers_alerts(asked_sync bigint) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN EXISTS (SELECT FROM signalsmith.alert WHERE delivery_sync_id = asked_sync);
COMMENT ON FUNCTION signalsmith._delivers_alerts(bigint) IS 'is it a sync that sends the events of alerts?';

CREATE FUNCTION signalsmith._change_alert(watching signalsmith.alert, finished signalsmith.run, watched signalsmith.sync,
        fires boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF fires THEN
        INSERT INTO signalsmith.alert_firing (alert_id, sync_id) VALUES (watching.id, watched.id) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    ELSE
        DELETE FROM signalsmith.alert_firing WHERE alert_id = watching.id AND sync_id = watched.id;
    END IF;
    INSERT INTO signalsmith.alert_event (delivery_sync_id, alert, sync, condition, state, run_id, text)
    VALUES (watching.delivery_sync_id, watching.name, watched.name, watching.condition,
        CASE WHEN fires THEN 'firing' ELSE 'resolved' END, 'run_' || finished.id,
        signalsmith._alert_text(watching, finished, watched, fires));
    IF EXISTS (SELECT FROM signalsmith.sync WHERE id = watching.delivery_sync_id AND status IN ('created', 'active')) THEN
        PERFORM signalsmith._queue_run(watching.delivery_sync_id, 'schedule', false);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._change_alert(signalsmith.alert, signalsmith.run, signalsmith.sync, boolean) IS
    'notes that what an alert watches for has begun or ended, and has it told';

CREATE FUNCTION signalsmith._judge_alerts(finished signalsmith.run) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    change record;
BEGIN
    FOR change IN
        SELECT judged.* FROM (
            SELECT a AS watching, s AS watched, signalsmith._alert_fires(a, finished, s) AS fires,
                EXISTS (SELECT FROM signalsmith.alert_firing f WHERE f.alert_id = a.id AND f.sync_id = s.id) AS fired
            FROM signalsmith.alert a JOIN signalsmith.sync s ON s.id = finished.sync_id
            WHERE coalesce(a.sync_id, s.id) = s.id
                AND signalsmith._may_see(a.owner, signalsmith._owner_of('sync', s.id))
            ORDER BY a.id) AS judged
        WHERE fires <> fired
    LOOP
        PERFORM signalsmith._change_alert(change.watching, finished, change.watched, change.fires);
    END LOOP;
    DELETE FROM signalsmith.alert_event WHERE occurred_at < now() - make_interval(mins =>
        (SELECT setting::integer FROM pg_settings WHERE name = 'signalsmith.run_retention'));
END
$$;
COMMENT ON FUNCTION signalsmith._judge_alerts(signalsmith.run) IS 'tells what the end of a run changes for alerts';

-- A run need not end for that, and who watches for it wants to know before.
CREATE FUNCTION signalsmith._tell_slow_runs() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM signalsmith.alert WHERE condition = 'slow') THEN
        PERFORM signalsmith._change_alert(a, r, s, true)
        FROM signalsmith.alert a
            JOIN signalsmith.sync s ON s.id = coalesce(a.sync_id, s.id)
            JOIN signalsmith.run r ON r.sync_id = s.id
        WHERE a.condition = 'slow' AND r.status = 'running'
            AND extract(epoch FROM clock_timestamp() - r.started_at) > (a.options->>'seconds')::numeric
            AND NOT EXISTS (SELECT FROM signalsmith.alert_firing f WHERE f.alert_id = a.id AND f.sync_id = s.id)
            AND NOT signalsmith._delivers_alerts(s.id)
            AND signalsmith._may_see(a.owner, signalsmith._owner_of('sync', s.id));
    END IF;
EXCEPTION
    WHEN OTHERS THEN
        RAISE WARNING 'alerts about slow runs could not be told'
            USING ERRCODE = SQLSTATE, DETAIL = SQLERRM;
END
$$;
COMMENT ON FUNCTION signalsmith._tell_slow_runs() IS
    'tells of runs under way that take longer than somebody wants; for the scheduler, which looks after runs now and then';

-- What was not delivered is tried again in a minute, then after two, up to an
-- hour: the sync that delivers has no schedule of its own.
CREATE FUNCTION signalsmith._repeat_delivery(finished signalsmith.run) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    UPDATE signalsmith.sync SET next_run_at = clock_timestamp()
        + interval '1 minute' * least(60, 2 ^ least(6, (SELECT count(*) FROM signalsmith.run r
            WHERE r.sync_id = finished.sync_id AND r.id < finished.id AND r.id > coalesce((
                SELECT max(good.id) FROM signalsmith.run good
                WHERE good.sync_id = finished.sync_id AND good.status = 'completed' AND good.rows_failed = 0), 0))))
    WHERE id = finished.sync_id AND status = 'active'
        AND (finished.status = 'failed' OR finished.rows_failed > 0);
END;
COMMENT ON FUNCTION signalsmith._repeat_delivery(signalsmith.run) IS
    'sets when alerts are sent again that could not be';

-- Whatever is wrong with alerts, the run ends.
CREATE FUNCTION signalsmith._tell_alerts(finished signalsmith.run) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM signalsmith.alert) THEN
        RETURN;
    ELSIF signalsmith._delivers_alerts(finished.sync_id) THEN
        PERFORM signalsmith._repeat_delivery(finished);
    ELSE
        PERFORM signalsmith._judge_alerts(finished);
    END IF;
EXCEPTION
    WHEN OTHERS THEN
        RAISE WARNING 'alerts about run "run_%" could not be told', finished.id
            USING ERRCODE = SQLSTATE, DETAIL = SQLERRM;
END
$$;
COMMENT ON FUNCTION signalsmith._tell_alerts(signalsmith.run) IS 'what the end of a run means for alerts';

-- Defining -------------------------------------------------------------------

CREATE FUNCTION signalsmith._alert_conditions() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY['failed', 'error', 'held', 'row_failures', 'slow'];
COMMENT ON FUNCTION signalsmith._alert_conditions() IS 'what alerts can watch for';

-- "field_mappings" and "object" are for the sync that delivers.
CREATE FUNCTION signalsmith._check_alert_options(condition text, options jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    thresholds CONSTANT text[] := CASE condition WHEN 'slow' THEN '{seconds}' WHEN 'row_failures' THEN '{rows,percent}' ELSE '{}' END;
    threshold text;
BEGIN
    options := jsonb_strip_nulls(coalesce(options, '{}'));
    PERFORM signalsmith._check_keys(format('the options of an alert of condition "%s"', condition), options,
        thresholds || ARRAY['field_mappings', 'object']);
    IF condition = 'slow' AND NOT options ? 'seconds' THEN
        RAISE EXCEPTION 'an alert of condition "slow" needs the option "seconds"'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'A run that takes longer is reported: options => ''{"seconds": 600}''.';
    END IF;
    FOREACH threshold IN ARRAY thresholds LOOP
        IF options ? threshold AND (jsonb_typeof(options->threshold) <> 'number' OR (options->>threshold)::numeric < 0) THEN
            RAISE EXCEPTION 'option "%" of an alert must be a number, 0 or more', threshold
                USING ERRCODE = 'invalid_parameter_value',
                DETAIL = format('It is %s.', left((options->threshold)::text, 100));
        END IF;
    END LOOP;
    RETURN options;
END
$$;
COMMENT ON FUNCTION signalsmith._check_alert_options(text, jsonb) IS 'checks the options of an alert';

-- The model names the sync that its rows are for, so it is written once that is known.
CREATE FUNCTION signalsmith._create_delivery(caller regrole, destination_id bigint, options jsonb) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    query CONSTANT text := 'SELECT id, alert, sync, condition, state, run_id, text, occurred_at'
        ' FROM signalsmith.alert_events WHERE delivered_by = %L';
    name CONSTANT text := format('alerts of %s to %s', caller,
        (SELECT d.name FROM signalsmith.destination d WHERE d.id = destination_id));
    delivery text;
BEGIN
    PERFORM signalsmith._write_model(caller, NULL, jsonb_build_object('name', name, 'query', format(query, ''),
        'primary_key', '["id"]'::jsonb, 'source', 'local', 'description', 'events of alerts'));
    delivery := signalsmith._create_sync(caller, jsonb_build_object('name', name, 'model', name,
        'destination', 'dst_' || destination_id, 'mode', 'append', 'object', options->'object',
        'field_mappings', options->'field_mappings', 'options', '{"error_after": 1000000}'::jsonb,
        'description', 'delivers alerts'));
    PERFORM signalsmith._update_model(caller, name, jsonb_build_object('query', format(query, delivery)));
    RETURN signalsmith._id_number(delivery);
END
$$;
COMMENT ON FUNCTION signalsmith._create_delivery(regrole, bigint, jsonb) IS
    'creates the sync that delivers the alerts of a role to a destination';

CREATE FUNCTION signalsmith._create_alert(caller regrole, sync text, condition text, destination text,
        options jsonb, name text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    written signalsmith.alert;
    used_destination CONSTANT bigint := signalsmith._usable_destination(caller, caller, destination);
BEGIN
    IF sync <> '*' THEN
        written.sync_id := signalsmith._find(caller, 'sync', sync);
    END IF;
    IF signalsmith._delivers_alerts(written.sync_id) THEN
        RAISE EXCEPTION 'sync "%" delivers alerts itself, and none can watch it', sync
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'What it could not deliver is tried again; its runs are in signalsmith.runs.';
    ELSIF condition IS NULL OR condition <> ALL (signalsmith._alert_conditions()) THEN
        RAISE EXCEPTION 'unknown condition "%"', coalesce(condition, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
            HINT = signalsmith._hint_for_choice(condition, signalsmith._alert_conditions());
    END IF;
    written.options := signalsmith._check_alert_options(condition, options);
    written.name := coalesce(name, format('%s: %s to %s', condition,
        coalesce((SELECT s.name FROM signalsmith.sync s WHERE s.id = written.sync_id), 'syncs of ' || caller),
        (SELECT d.name FROM signalsmith.destination d WHERE d.id = used_destination)));
    PERFORM signalsmith._check_name('alert', written.name);

    -- Two first alerts at once would each make a sync.
    PERFORM FROM signalsmith.destination d WHERE d.id = used_destination FOR NO KEY UPDATE;
    SELECT a.delivery_sync_id INTO written.delivery_sync_id
    FROM signalsmith.alert a JOIN signalsmith.sync s ON s.id = a.delivery_sync_id
    WHERE a.owner = caller AND s.destination_id = used_destination ORDER BY a.id LIMIT 1 FOR KEY SHARE OF a, s;
    IF NOT FOUND THEN
        written.delivery_sync_id := signalsmith._create_delivery(caller, used_destination, written.options);
    END IF;
    BEGIN
        INSERT INTO signalsmith.alert (name, sync_id, condition, options, delivery_sync_id, owner)
        VALUES (written.name, written.sync_id, condition, written.options, written.delivery_sync_id, caller)
        RETURNING id INTO written.id;
    EXCEPTION
        WHEN unique_violation THEN
            RAISE EXCEPTION 'an alert named "%" already exists', written.name
                USING ERRCODE = 'duplicate_object',
                HINT = 'Give another name, or delete that one first with signalsmith.delete_alert().';
    END;
    RETURN 'alert_' || written.id;
END
$$;
COMMENT ON FUNCTION signalsmith._create_alert(regrole, text, text, text, jsonb, text) IS 'private part of create_alert';

CREATE FUNCTION signalsmith.create_alert(sync text, condition text, destination text,
        options jsonb DEFAULT '{}', name text DEFAULT NULL) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.create_alert(text, text, text, jsonb, text) IS
    'reports through a destination when a sync, or with * any that the caller may see, begins to be failed, error, held, row_failures or slow, and when that is over; returns the alert''s id';

-- The last one takes the sync along that has delivered it.
CREATE FUNCTION signalsmith._drop_alert(caller regrole, deleted_alert bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    delivery signalsmith.sync;
BEGIN
    SELECT s.* INTO delivery FROM signalsmith.alert a JOIN signalsmith.sync s ON s.id = a.delivery_sync_id
    WHERE a.id = deleted_alert FOR UPDATE OF s;
    DELETE FROM signalsmith.alert WHERE id = deleted_alert;
    IF NOT signalsmith._delivers_alerts(delivery.id) THEN
        PERFORM signalsmith._delete_sync(caller, 'sync_' || delivery.id);
        IF NOT EXISTS (SELECT FROM signalsmith.sync WHERE model_id = delivery.model_id) THEN
            PERFORM signalsmith._delete_model(caller, 'mod_' || delivery.model_id);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._drop_alert(regrole, bigint) IS 'deletes an alert, and what only it has needed';

CREATE FUNCTION signalsmith._delete_alert(caller regrole, alert text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM signalsmith._drop_alert(caller, signalsmith._find(caller, 'alert', alert, true));
END
$$;
COMMENT ON FUNCTION signalsmith._delete_alert(regrole, text) IS 'private part of delete_alert';

CREATE FUNCTION signalsmith.delete_alert(alert text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.delete_alert(text) IS
    'deletes an alert; with the last one of a destination goes the sync that has delivered them';

-- Alerts about a sync go with it; one that delivers alerts stays as long as they do.
CREATE FUNCTION signalsmith._drop_alerts_of(caller regrole, deleted_sync bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF signalsmith._delivers_alerts(deleted_sync) THEN
        RAISE EXCEPTION 'cannot delete sync "%" because it delivers alerts', (SELECT name FROM signalsmith.sync WHERE id = deleted_sync)
            USING ERRCODE = 'dependent_objects_still_exist',
            DETAIL = format('Alerts: %s.', (SELECT signalsmith._quoted_list(array_agg(name ORDER BY id))
                FROM signalsmith.alert WHERE delivery_sync_id = deleted_sync)),
            HINT = 'Delete them with signalsmith.delete_alert(): the last one takes the sync along.';
    END IF;
    PERFORM signalsmith._drop_alert(owner, id) FROM signalsmith.alert WHERE sync_id = deleted_sync;
END
$$;
COMMENT ON FUNCTION signalsmith._drop_alerts_of(regrole, bigint) IS 'what the deletion of a sync means for alerts';
