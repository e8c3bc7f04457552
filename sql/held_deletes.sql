-- Deletes that a run holds back until somebody approves them, all or some.

CREATE FUNCTION signalsmith._deletes_held(run bigint)
    RETURNS TABLE (sequence integer, index integer, key jsonb, identifier jsonb)
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'signalsmith_deletes_held';
COMMENT ON FUNCTION signalsmith._deletes_held(bigint) IS
    'the deletes of a run in the outbox: bundle, place in it, key and identifier';

CREATE FUNCTION signalsmith._release_deletes(from_run bigint, to_run bigint, sequences integer[], indexes integer[])
    RETURNS bigint
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_release_deletes';
COMMENT ON FUNCTION signalsmith._release_deletes(bigint, bigint, integer[], integer[]) IS
    'moves the deletes at these places, in their order, to the outbox of another run, and returns how many batches they are there';

CREATE FUNCTION signalsmith._held_deletes(caller regrole, run text) RETURNS TABLE (key jsonb, identifier jsonb)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held_run CONSTANT bigint := signalsmith._find(caller, 'run', run, true);
BEGIN
    IF EXISTS (SELECT FROM signalsmith.run r WHERE r.id = held_run AND r.deletes_held > 0) THEN
        RETURN QUERY SELECT d.key, d.identifier FROM signalsmith._deletes_held(held_run) d;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._held_deletes(regrole, text) IS 'private part of held_deletes';

CREATE FUNCTION signalsmith.held_deletes(run text) RETURNS TABLE (key jsonb, identifier jsonb)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.held_deletes(text) IS
    'the records that a run would delete and that wait for approve_deletes: their keys, and what identifies them at the destination';

-- Nobody may have looked at the model since, or be about to before those deletes
-- are sent: what they delete may be back by then.
CREATE FUNCTION signalsmith._refuse_without_held_deletes(asked signalsmith.run) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    later signalsmith.run;
BEGIN
    SELECT * INTO later FROM signalsmith.run r
    WHERE r.sync_id = asked.sync_id AND r.id > asked.id AND signalsmith._looked_at_model(r)
    ORDER BY r.id DESC LIMIT 1;
    IF FOUND AND asked.status = 'held' THEN
        RAISE EXCEPTION 'the deletes of run "run_%" are out of date', asked.id
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = format('Run "run_%s" has looked at the model again; what it still has to delete, it holds itself.', later.id),
            HINT = 'Approve the deletes of the latest held run.';
    ELSIF asked.deletes_held = 0 OR asked.status <> 'held' THEN
        RAISE EXCEPTION 'run "run_%" holds no deletes', asked.id
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = format('Its status is "%s".', asked.status),
            HINT = 'Runs that hold some have the status "held" in signalsmith.runs; their column error says how many.';
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._refuse_without_held_deletes(signalsmith.run) IS
    'refuses a run that has no deletes to approve, or none that are certain to be due';

CREATE FUNCTION signalsmith._refuse_before_later_run(held signalsmith.run) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    later signalsmith.run;
BEGIN
    SELECT * INTO later FROM signalsmith.run r
    WHERE r.sync_id = held.sync_id AND r.id > held.id AND r.status IN ('queued', 'running')
    ORDER BY r.id DESC LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'cannot approve the deletes of run "run_%" while run "run_%" is %', held.id, later.id, later.status
            USING ERRCODE = 'object_in_use',
            HINT = format('Wait for it, or run SELECT signalsmith.cancel_run(''run_%s''), then approve again.', later.id);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._refuse_before_later_run(signalsmith.run) IS
    'refuses to approve deletes while another run may change what is due';

-- A run that has its plan already and only delivers: exactly what was held.
CREATE FUNCTION signalsmith._queue_approved(held signalsmith.run, deletes bigint) RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO signalsmith.run (sync_id, trigger, phase, planned_at, definition, changes_planned, snapshot_rows)
    SELECT held.sync_id, 'manual', 'deliver', clock_timestamp(), held.definition, deletes, s.snapshot_rows
    FROM signalsmith.sync s WHERE s.id = held.sync_id
    RETURNING id;
END;
COMMENT ON FUNCTION signalsmith._queue_approved(signalsmith.run, bigint) IS 'queues a run for approved deletes';

CREATE FUNCTION signalsmith._move_all_deletes(from_run bigint, to_run bigint) RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH moved AS (
        UPDATE signalsmith.outbox SET run_id = to_run WHERE run_id = from_run AND operation = 'delete'
        RETURNING length(batch_ends) / 4 AS batches
    )
    SELECT coalesce(sum(batches), 0) FROM moved;
END;
COMMENT ON FUNCTION signalsmith._move_all_deletes(bigint, bigint) IS
    'moves the deletes of a run to the outbox of another one, and returns how many batches they are at most';

CREATE FUNCTION signalsmith._move_deletes(from_run bigint, to_run bigint, keys jsonb[]) RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT signalsmith._release_deletes(from_run, to_run, array_agg(d.sequence ORDER BY d.sequence, d.index),
        array_agg(d.index ORDER BY d.sequence, d.index))
    FROM signalsmith._deletes_held(from_run) d WHERE d.key IN (SELECT k FROM unnest(keys) AS k);
END;
COMMENT ON FUNCTION signalsmith._move_deletes(bigint, bigint, jsonb[]) IS 'the same for deletes with these keys';

-- What to do about deletes that wait stays at the end, as long as some do.
CREATE FUNCTION signalsmith._describe_approval(hold text, sending_run bigint, approved bigint, waiting bigint) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT reason || format('; run_%s sends %s of them', sending_run, approved)
        || CASE WHEN waiting > 0 THEN format(', %s wait', waiting) || substr(hold, length(reason) + 1) ELSE '' END
    FROM split_part(hold, '; see ', 1) AS reason;
END;
COMMENT ON FUNCTION signalsmith._describe_approval(text, bigint, bigint, bigint) IS
    'the error of a held run, once some of its deletes are approved';

CREATE FUNCTION signalsmith._approve_deletes(caller regrole, run text, keys jsonb) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held_run bigint := signalsmith._find(caller, 'run', run, true);
    chosen CONSTANT jsonb[] := signalsmith._key_list(keys);
    held signalsmith.run;
    approved bigint;
    new_run bigint;
    batches bigint;
BEGIN
    PERFORM FROM signalsmith.sync s
    WHERE s.id = (SELECT sync_id FROM signalsmith.run WHERE id = held_run) FOR UPDATE;
    SELECT * INTO held FROM signalsmith.run WHERE id = held_run FOR UPDATE;
    PERFORM signalsmith._refuse_without_held_deletes(held);
    PERFORM signalsmith._refuse_before_later_run(held);
    IF chosen IS NOT NULL THEN
        PERFORM signalsmith._refuse_unknown_keys(format('run "run_%s" holds no delete', held.id), chosen,
            ARRAY(SELECT key FROM signalsmith._deletes_held(held.id)),
            format('SELECT * FROM signalsmith.held_deletes(''run_%s'') shows what it holds.', held.id));
    END IF;

    approved := coalesce(cardinality(chosen), held.deletes_held);
    new_run := signalsmith._queue_approved(held, approved);
    batches := CASE WHEN chosen IS NULL THEN signalsmith._move_all_deletes(held.id, new_run)
                    ELSE signalsmith._move_deletes(held.id, new_run, chosen) END;
    UPDATE signalsmith.run SET batches_planned = batches WHERE id = new_run;
    UPDATE signalsmith.run SET deletes_held = held.deletes_held - approved,
        error = signalsmith._describe_approval(error, new_run, approved, held.deletes_held - approved)
    WHERE id = held.id;
    PERFORM signalsmith._wake();
    RETURN 'run_' || new_run;
END
$$;
COMMENT ON FUNCTION signalsmith._approve_deletes(regrole, text, jsonb) IS 'private part of approve_deletes';

CREATE FUNCTION signalsmith.approve_deletes(run text, keys jsonb DEFAULT NULL) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.approve_deletes(text, jsonb) IS
    'releases exactly the deletes that a run held back, or those with these keys, and returns the id of the run that sends them; the others go on waiting';
