-- Objects as jsonb: what a REST API would answer.  Times are in UTC, ids carry
-- their prefix; "model" and "destination" are names, for people.

CREATE FUNCTION signalsmith._model_json(model signalsmith.model) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN jsonb_build_object(
        'id', 'mod_' || (model).id,
        'name', (model).name,
        'description', (model).description,
        'source_id', 'src_1',
        'source', (model).source,
        'query', (model).query,
        'primary_key', (model).primary_key,
        'identifiers', (model).identifiers,
        'columns', (model).columns,
        'owner', pg_get_userbyid((model).owner),
        'created_at', (model).created_at,
        'updated_at', (model).updated_at);
COMMENT ON FUNCTION signalsmith._model_json(signalsmith.model) IS 'REST representation of a model';

-- What may give access to somebody is left out: values of headers and of query
-- parameters, and of a URL what follows the host, since many webhook URLs are
-- secrets in themselves.
CREATE FUNCTION signalsmith._redacted_config(value jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE jsonb_typeof(value)
        WHEN 'object' THEN
            (SELECT coalesce(jsonb_object_agg(key, CASE
                    WHEN lower(key) = 'query' AND jsonb_typeof(e.value) = 'object' THEN
                        (SELECT coalesce(jsonb_object_agg(q.key, CASE WHEN q.value::text LIKE '%{{%' THEN q.value ELSE '"(hidden)"' END), '{}')
                         FROM jsonb_each(e.value) AS q)
                    WHEN lower(key) <> 'headers' THEN signalsmith._redacted_config(e.value)
                    WHEN jsonb_typeof(e.value) <> 'object' THEN '"(hidden)"'
                    ELSE (SELECT coalesce(jsonb_object_agg(header, '(hidden)'), '{}')
                          FROM jsonb_object_keys(e.value) AS h (header)) END), '{}')
             FROM jsonb_each(value) AS e)
        WHEN 'array' THEN
            (SELECT coalesce(jsonb_agg(signalsmith._redacted_config(item) ORDER BY position), '[]')
             FROM jsonb_array_elements(value) WITH ORDINALITY AS e (item, position))
        WHEN 'string' THEN to_jsonb(regexp_replace(
            regexp_replace(value #>> '{}', '^([[:alpha:]]+://)[^/?#]*@', '\1'),
            '^([[:alpha:]]+://[^/?#]*)[/?#].+$', '\1/(hidden)'))
        ELSE value END;
END
$$;
COMMENT ON FUNCTION signalsmith._redacted_config(jsonb) IS
    'config of a destination as shown to those who do not manage it';

CREATE FUNCTION signalsmith._destination_json(caller regrole, destination signalsmith.destination) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN jsonb_build_object(
        'id', 'dst_' || (destination).id,
        'name', (destination).name,
        'description', (destination).description,
        'connector', (destination).connector,
        'config', CASE WHEN signalsmith._may_manage(caller, (destination).owner) THEN (destination).config
                       ELSE signalsmith._redacted_config((destination).config) END,
        'shared_with', CASE WHEN signalsmith._may_see(caller, (destination).owner) THEN
            signalsmith._shared_with((destination).id) END,
        'owner', pg_get_userbyid((destination).owner),
        'created_at', (destination).created_at,
        'updated_at', (destination).updated_at);
COMMENT ON FUNCTION signalsmith._destination_json(regrole, signalsmith.destination) IS
    'REST representation of a destination';

-- A cron schedule is shown with the time zone that it is in.
CREATE FUNCTION signalsmith._schedule_json(schedule jsonb) RETURNS jsonb
    LANGUAGE sql STABLE STRICT
    RETURN CASE WHEN schedule->>'type' = 'cron'
                THEN schedule || jsonb_build_object('timezone', signalsmith._cron_timezone())
                ELSE schedule END;
COMMENT ON FUNCTION signalsmith._schedule_json(jsonb) IS 'a schedule as it is shown';

-- Of an interval the launcher knows the time, of a cron expression pg_cron.
CREATE FUNCTION signalsmith._next_run(schedule jsonb, status text, next_run_at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE
    RETURN CASE WHEN schedule->>'type' = 'cron' THEN
        CASE WHEN status IN ('created', 'active')
                AND EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_cron')
            THEN signalsmith._next_cron_run(schedule->>'expression', now(), signalsmith._cron_timezone()) END
        ELSE next_run_at END;
COMMENT ON FUNCTION signalsmith._next_run(jsonb, text, timestamptz) IS 'when the schedule starts the next run';

CREATE FUNCTION signalsmith._sync_json(sync signalsmith.sync) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN jsonb_build_object(
        'id', 'sync_' || (sync).id,
        'name', (sync).name,
        'description', (sync).description,
        'model_id', 'mod_' || (sync).model_id,
        'model', (SELECT m.name FROM signalsmith.model m WHERE m.id = (sync).model_id),
        'destination_id', 'dst_' || (sync).destination_id,
        'destination', (SELECT d.name FROM signalsmith.destination d WHERE d.id = (sync).destination_id),
        'mode', (sync).mode,
        'field_mappings', (sync).field_mappings,
        'schedule', signalsmith._schedule_json((sync).schedule),
        'object', (sync).object,
        'options', (sync).options,
        'status', (sync).status,
        'status_error', (sync).status_error,
        'next_run_at', signalsmith._next_run((sync).schedule, (sync).status,
            CASE WHEN (sync).next_run_at IS NOT NULL
                 THEN greatest((sync).next_run_at, signalsmith._rests_until((sync).destination_id, now())) END),
        'last_run_id', 'run_' || (sync).last_run_id,
        'last_synced_at', (sync).last_synced_at,
        'owner', pg_get_userbyid(signalsmith._owner_of('sync', (sync).id)),
        'created_at', (sync).created_at,
        'updated_at', (sync).updated_at);
COMMENT ON FUNCTION signalsmith._sync_json(signalsmith.sync) IS 'REST representation of a sync';

-- The buckets are those of src/base/request_time.h: up to 0.064 ms, then four
-- that double that, and so on.
CREATE FUNCTION signalsmith._request_time_ms(counts bigint[], fraction double precision) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT round((0.064 * 2 ^ ((bucket - 1) / 4.0))::numeric, 2)
            FROM (SELECT bucket, sum(count) OVER (ORDER BY bucket) AS so_far, sum(count) OVER () AS total
                  FROM unnest(counts) WITH ORDINALITY AS t (count, bucket)) AS running
            WHERE total > 0 AND so_far >= fraction * total
            ORDER BY bucket LIMIT 1);
COMMENT ON FUNCTION signalsmith._request_time_ms(bigint[], double precision) IS
    'milliseconds within which that fraction of requests was answered, to the bound of a bucket; of run.request_times';

CREATE FUNCTION signalsmith._run_json(run signalsmith.run) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN jsonb_build_object(
        'id', 'run_' || (run).id,
        'sync_id', 'sync_' || (run).sync_id,
        'sync', (SELECT s.name FROM signalsmith.sync s WHERE s.id = (run).sync_id),
        'trigger', (run).trigger,
        'full_resync', (run).full_resync,
        'status', (run).status,
        'phase', (run).phase,
        'queued_at', (run).queued_at,
        'started_at', (run).started_at,
        'finished_at', (run).finished_at,
        'duration_ms', round(extract(epoch FROM (run).finished_at - (run).started_at) * 1000),
        'rows_processed', (run).rows_processed,
        'rows_created', (run).rows_created,
        'rows_updated', (run).rows_updated,
        'rows_deleted', (run).rows_deleted,
        'rows_failed', (run).rows_failed,
        'rows_unchanged', (run).rows_unchanged,
        'requests', (run).requests,
        'bytes_sent', (run).bytes_sent,
        'query_ms', round((run).query_ms::numeric, 1),
        'diff_ms', round((run).diff_ms::numeric, 1),
        'stage_ms', round((run).stage_ms::numeric, 1),
        'deliver_ms', round((run).deliver_ms::numeric, 1),
        'bytes_staged', (run).bytes_staged,
        'peak_memory', (run).peak_memory,
        'request_p50_ms', signalsmith._request_time_ms((run).request_times, 0.5),
        'request_p99_ms', signalsmith._request_time_ms((run).request_times, 0.99),
        'error', (run).error);
COMMENT ON FUNCTION signalsmith._run_json(signalsmith.run) IS 'REST representation of a run';

CREATE FUNCTION signalsmith._get_model(caller regrole, ref text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN (SELECT signalsmith._model_json(m) FROM signalsmith.model m
            WHERE id = signalsmith._find(caller, 'model', ref));
END
$$;
COMMENT ON FUNCTION signalsmith._get_model(regrole, text) IS 'private part of get_model';

CREATE FUNCTION signalsmith.get_model(ref text) RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.get_model(text) IS 'a model, as a REST API would show it';

CREATE FUNCTION signalsmith._list_models(caller regrole) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN QUERY SELECT signalsmith._model_json(m) FROM signalsmith.model m
        WHERE signalsmith._may_see(caller, owner) ORDER BY id;
END
$$;
COMMENT ON FUNCTION signalsmith._list_models(regrole) IS 'private part of list_models';

CREATE FUNCTION signalsmith.list_models() RETURNS SETOF jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.list_models() IS 'the models that the caller may see, oldest first';

CREATE FUNCTION signalsmith._get_destination(caller regrole, ref text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN (SELECT signalsmith._destination_json(caller, d) FROM signalsmith.destination d
            WHERE id = signalsmith._find(caller, 'destination', ref));
END
$$;
COMMENT ON FUNCTION signalsmith._get_destination(regrole, text) IS 'private part of get_destination';

CREATE FUNCTION signalsmith.get_destination(ref text) RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.get_destination(text) IS
    'a destination, as a REST API would show it: without its secrets, and for who does not manage it without header values and all of a URL after the host';

CREATE FUNCTION signalsmith._list_destinations(caller regrole) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN QUERY SELECT signalsmith._destination_json(caller, d) FROM signalsmith.destination d
        WHERE signalsmith._is_visible(caller, 'destination', id) ORDER BY id;
END
$$;
COMMENT ON FUNCTION signalsmith._list_destinations(regrole) IS 'private part of list_destinations';

CREATE FUNCTION signalsmith.list_destinations() RETURNS SETOF jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.list_destinations() IS
    'the destinations that the caller may see, oldest first, as get_destination shows them';

CREATE FUNCTION signalsmith._get_sync(caller regrole, ref text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN (SELECT signalsmith._sync_json(s) FROM signalsmith.sync s
            WHERE id = signalsmith._find(caller, 'sync', ref));
END
$$;
COMMENT ON FUNCTION signalsmith._get_sync(regrole, text) IS 'private part of get_sync';

CREATE FUNCTION signalsmith.get_sync(ref text) RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.get_sync(text) IS 'a sync, as a REST API would show it';

CREATE FUNCTION signalsmith._list_syncs(caller regrole) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN QUERY SELECT signalsmith._sync_json(s) FROM signalsmith.sync s
        WHERE signalsmith._is_visible(caller, 'sync', id) ORDER BY id;
END
$$;
COMMENT ON FUNCTION signalsmith._list_syncs(regrole) IS 'private part of list_syncs';

CREATE FUNCTION signalsmith.list_syncs() RETURNS SETOF jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.list_syncs() IS 'the syncs that the caller may see, oldest first';

CREATE FUNCTION signalsmith._get_run(caller regrole, ref text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN (SELECT signalsmith._run_json(r) FROM signalsmith.run r
            WHERE id = signalsmith._find(caller, 'run', ref));
END
$$;
COMMENT ON FUNCTION signalsmith._get_run(regrole, text) IS 'private part of get_run';

CREATE FUNCTION signalsmith.get_run(ref text) RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.get_run(text) IS 'a run, as a REST API would show it';

CREATE FUNCTION signalsmith._list_runs(caller regrole, sync text) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    listed bigint := signalsmith._find(caller, 'sync', sync);
BEGIN
    RETURN QUERY SELECT signalsmith._run_json(r) FROM signalsmith.run r
        WHERE sync_id = listed ORDER BY id DESC;
END
$$;
COMMENT ON FUNCTION signalsmith._list_runs(regrole, text) IS 'private part of list_runs';

CREATE FUNCTION signalsmith.list_runs(sync text) RETURNS SETOF jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.list_runs(text) IS 'the runs of a sync, newest first';
