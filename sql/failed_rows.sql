-- Failed rows as work items: tried again, or accepted as they are.
--
-- A failed row is planned by whatever run comes next, since the snapshot has not
-- moved.  One that is skipped is not, as long as it is what it was; the snapshot
-- does not move for that either.

-- Keys as in row_errors: one, or a list of them.
CREATE FUNCTION signalsmith._key_list(keys jsonb) RETURNS jsonb[]
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb[] := CASE jsonb_typeof(keys)
        WHEN 'array' THEN ARRAY(SELECT DISTINCT e.value FROM jsonb_array_elements(keys) AS e)
        ELSE ARRAY[keys] END;
    wrong jsonb;
BEGIN
    IF keys IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT e INTO wrong FROM unnest(list) AS e WHERE jsonb_typeof(e) <> 'object' LIMIT 1;
    IF FOUND OR cardinality(list) = 0 THEN
        RAISE EXCEPTION 'keys must be a key or a list of keys'
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = CASE WHEN wrong IS NULL THEN 'The list is empty.'
                          ELSE format('There is a JSON %s where a key should be.', jsonb_typeof(wrong)) END,
            HINT = 'Write a key as signalsmith.row_errors and signalsmith.held_deletes() show it: {"id": 1}.';
    END IF;
    RETURN list;
END
$$;
COMMENT ON FUNCTION signalsmith._key_list(jsonb) IS 'the keys that somebody has named; NULL when none: all are meant';

CREATE FUNCTION signalsmith._refuse_unknown_keys(what text, keys jsonb[], known jsonb[], remark text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unknown CONSTANT jsonb[] := ARRAY(SELECT k FROM unnest(keys) AS k WHERE k <> ALL (known));
BEGIN
    IF cardinality(unknown) > 0 THEN
        RAISE EXCEPTION '% with the key %', what, unknown[1]
            USING ERRCODE = 'undefined_object',
            DETAIL = CASE WHEN cardinality(unknown) > 1
                THEN format('Nor with %s more of these keys.', cardinality(unknown) - 1) ELSE '' END,
            HINT = remark;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._refuse_unknown_keys(text, jsonb[], jsonb[], text) IS
    'refuses keys that are not among the known ones';

CREATE FUNCTION signalsmith._refuse_without_failed_rows(looked_at signalsmith.run) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF looked_at.rows_failed = 0 THEN
        RAISE EXCEPTION 'run "run_%" has no failed rows', looked_at.id
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = format('Its status is "%s".', looked_at.status),
            HINT = format('SELECT signalsmith.trigger_sync(''sync_%s'') sends whatever is due.', looked_at.sync_id);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._refuse_without_failed_rows(signalsmith.run) IS
    'refuses a run in which no row failed';

-- Retrying -------------------------------------------------------------------

-- The next run tries them in any case, unless they are skipped; this says when.
CREATE FUNCTION signalsmith._retry_rows(caller regrole, run text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    failed_run bigint := signalsmith._find(caller, 'run', run, true);
    retried signalsmith.run;
    clean_run bigint;
BEGIN
    SELECT * INTO retried FROM signalsmith.run WHERE id = failed_run;
    PERFORM signalsmith._refuse_without_failed_rows(retried);

    DELETE FROM signalsmith.skipped_row s USING signalsmith.row_failure f
    WHERE f.run_id = retried.id AND s.sync_id = retried.sync_id AND s.packed_key = f.packed_key;
    IF FOUND THEN
        RETURN signalsmith._trigger_sync(caller, 'sync_' || retried.sync_id, false);
    END IF;

    -- A run of approved deletes tries none of them.
    SELECT r.id INTO clean_run FROM signalsmith.run r
    WHERE r.sync_id = retried.sync_id AND r.id > retried.id AND r.rows_failed = 0
        AND r.status IN ('completed', 'held') AND signalsmith._looked_at_model(r)
    ORDER BY r.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the failed rows of run "%" have been retried', run
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = format('Run "run_%s" tried them again, as every run does, and none of its rows failed.', clean_run),
            HINT = format('There is nothing to do. SELECT signalsmith.trigger_sync(''sync_%s'') sends whatever is due.', retried.sync_id);
    END IF;
    RETURN signalsmith._trigger_sync(caller, 'sync_' || retried.sync_id, false);
END
$$;
COMMENT ON FUNCTION signalsmith._retry_rows(regrole, text) IS 'private part of retry_rows';

CREATE FUNCTION signalsmith.retry_rows(run text) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.retry_rows(text) IS
    'queues a run that tries the failed rows of another one again, also those that were skipped, with whatever else has changed, and returns its id';

-- Skipping -------------------------------------------------------------------

-- A runner holds them in memory (src/plan/skip_list.c).
CREATE FUNCTION signalsmith._refuse_too_many_skips(skipping_sync bigint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM signalsmith.skipped_row WHERE sync_id = skipping_sync) > 100000 THEN
        RAISE EXCEPTION 'a sync cannot skip more than 100000 rows'
            USING ERRCODE = 'program_limit_exceeded',
            HINT = 'Leave out the rows that the destination does not want in the model''s query: a WHERE does what so many skips would.';
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._refuse_too_many_skips(bigint) IS 'limits how many rows of a sync are skipped';

-- Where the delete of an old identity and the create of the new one both failed,
-- the row is what counts.
CREATE FUNCTION signalsmith._skip_rows(caller regrole, run text, keys jsonb) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    failed_run bigint := signalsmith._find(caller, 'run', run, true);
    chosen CONSTANT jsonb[] := signalsmith._key_list(keys);
    looked_at signalsmith.run;
    skipped bigint;
BEGIN
    SELECT * INTO looked_at FROM signalsmith.run WHERE id = failed_run;
    PERFORM FROM signalsmith.sync WHERE id = looked_at.sync_id FOR NO KEY UPDATE;
    PERFORM signalsmith._refuse_without_failed_rows(looked_at);
    PERFORM signalsmith._refuse_unknown_keys(format('run "run_%s" has no failed row', looked_at.id), chosen,
        ARRAY(SELECT f.key FROM signalsmith.row_failure f WHERE f.run_id = looked_at.id AND f.key IS NOT NULL),
        format('SELECT key FROM signalsmith.row_errors WHERE run_id = ''run_%s'' shows them.', looked_at.id));

    DELETE FROM signalsmith.skipped_row s USING signalsmith.row_failure f
    WHERE f.run_id = looked_at.id AND s.sync_id = looked_at.sync_id AND s.packed_key = f.packed_key
        AND (chosen IS NULL OR f.key = ANY (chosen));
    INSERT INTO signalsmith.skipped_row (sync_id, packed_key, row_hash, operation, key, code, message, run_id, skipped_by)
    SELECT DISTINCT ON (f.packed_key) looked_at.sync_id, f.packed_key, f.row_hash, f.operation, f.key, f.code,
        f.message, f.run_id, pg_get_userbyid(caller)
    FROM signalsmith.row_failure f
    WHERE f.run_id = looked_at.id AND f.packed_key IS NOT NULL AND (chosen IS NULL OR f.key = ANY (chosen))
    ORDER BY f.packed_key, f.row_hash = 0, f.number DESC;
    GET DIAGNOSTICS skipped = ROW_COUNT;

    IF skipped = 0 THEN
        RAISE EXCEPTION 'these rows of run "%" cannot be skipped', run
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'A row without a key, or with a key that another row has too, cannot be told from others.',
            HINT = 'Mend the data, or leave such rows out in the model''s query.';
    END IF;
    PERFORM signalsmith._refuse_too_many_skips(looked_at.sync_id);
    RETURN skipped;
END
$$;
COMMENT ON FUNCTION signalsmith._skip_rows(regrole, text, jsonb) IS 'private part of skip_rows';

CREATE FUNCTION signalsmith.skip_rows(run text, keys jsonb DEFAULT NULL) RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.skip_rows(text, jsonb) IS
    'accepts failed rows of a run as they are, those with these keys or all of them: they are not sent again until they change; returns how many';
