-- Models.

CREATE FUNCTION signalsmith._describe_query(query text, owner regrole, search_path text) RETURNS jsonb
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_describe_query';
COMMENT ON FUNCTION signalsmith._describe_query(text, regrole, text) IS
    'result columns of a query that its owner may run; an error when it is not one SELECT or cannot be planned';

CREATE FUNCTION signalsmith._check_columns(what text, wanted text[], columns jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known text[] := signalsmith._column_names(columns);
    wrong text;
BEGIN
    IF array_position(wanted, NULL) IS NOT NULL THEN
        RAISE EXCEPTION '% contains NULL', what
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    SELECT name INTO wrong FROM unnest(wanted) AS e (name) WHERE name <> ALL (known) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% names column "%", which the query does not return', what, wrong
            USING ERRCODE = 'undefined_column',
            HINT = signalsmith._hint_for_choice(wrong, known);
    END IF;

    SELECT name INTO wrong FROM unnest(wanted) AS e (name) GROUP BY name HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% names column "%" twice', what, wrong
            USING ERRCODE = 'duplicate_column';
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._check_columns(text, text[], jsonb) IS
    'refuses column names that are not among the columns, or come twice';

CREATE FUNCTION signalsmith._check_source(source text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF source NOT IN ('local', 'src_1') THEN
        RAISE EXCEPTION 'source "%" does not exist', source
            USING ERRCODE = 'undefined_object',
            HINT = 'The one source there is, this database, is called "local".';
    END IF;
    RETURN 'local';
END
$$;
COMMENT ON FUNCTION signalsmith._check_source(text) IS 'the source''s name, given its name or id';

-- Creates the model (id NULL) or changes it; keys of "changes" are the names of
-- create_model's arguments.
CREATE FUNCTION signalsmith._write_model(caller regrole, changed_model bigint, changes jsonb) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written signalsmith.model;
    what CONSTANT text := 'the definition of a model';
BEGIN
    PERFORM signalsmith._check_keys(what, changes,
        ARRAY['name', 'query', 'search_path', 'primary_key', 'identifiers', 'source', 'description']);
    written.owner := caller;
    IF changed_model IS NOT NULL THEN
        SELECT * INTO written FROM signalsmith.model WHERE id = changed_model FOR UPDATE;
    END IF;

    IF changes ? 'name' THEN
        written.name := signalsmith._text_of(what, changes, 'name');
        PERFORM signalsmith._check_name('model', written.name);
        IF signalsmith._id_of('model', written.name) <> coalesce(changed_model, 0) THEN
            PERFORM signalsmith._raise_name_taken('model', written.name);
        END IF;
    END IF;
    IF changes ? 'description' THEN
        written.description := signalsmith._text_of(what, changes, 'description');
    END IF;
    IF changes ? 'source' THEN
        written.source := signalsmith._check_source(signalsmith._text_of(what, changes, 'source'));
    END IF;
    IF changes ? 'query' THEN
        written.query := signalsmith._text_of(what, changes, 'query');
        IF written.query IS NULL THEN
            RAISE EXCEPTION 'model "%" needs a query', written.name
                USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give one SELECT.';
        END IF;
    END IF;
    IF changes ?| ARRAY['query', 'search_path'] THEN
        written.search_path := coalesce(signalsmith._text_of(what, changes, 'search_path'),
            signalsmith._caller_search_path());
        written.columns := signalsmith._describe_query(written.query, written.owner, written.search_path);
    END IF;
    IF changes ? 'primary_key' THEN
        written.primary_key := signalsmith._texts_of(what, changes, 'primary_key');
    END IF;
    IF changes ? 'identifiers' THEN
        written.identifiers := nullif(signalsmith._texts_of(what, changes, 'identifiers'), '{}');
    END IF;

    IF coalesce(cardinality(written.primary_key), 0) = 0 THEN
        RAISE EXCEPTION 'model "%" needs a primary key', written.name
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Name the columns of the query that identify a row, for example ARRAY[''id''].';
    END IF;
    PERFORM signalsmith._check_columns('the primary key', written.primary_key, written.columns);
    PERFORM signalsmith._check_columns('the list of identifiers', written.identifiers, written.columns);

    BEGIN
        IF changed_model IS NOT NULL THEN
            UPDATE signalsmith.model SET name = written.name, description = written.description,
                query = written.query, search_path = written.search_path, columns = written.columns,
                primary_key = written.primary_key, identifiers = written.identifiers, updated_at = now()
            WHERE id = changed_model;
        ELSE
            INSERT INTO signalsmith.model (name, description, source, query, search_path,
                primary_key, identifiers, columns, owner)
            VALUES (written.name, written.description, written.source, written.query, written.search_path,
                written.primary_key, written.identifiers, written.columns, written.owner)
            RETURNING id INTO written.id;
        END IF;
    EXCEPTION
        WHEN unique_violation THEN
            PERFORM signalsmith._raise_name_taken('model', written.name);
    END;
    IF changes ?| ARRAY['query', 'search_path'] THEN
        PERFORM signalsmith._record_inputs(written);
    END IF;
    RETURN written.id;
END
$$;
COMMENT ON FUNCTION signalsmith._write_model(regrole, bigint, jsonb) IS
    'checks and stores a model: a new one (NULL) or a changed one';

CREATE FUNCTION signalsmith._create_model(caller regrole, name text, query text, primary_key text[],
        identifiers text[], source text, description text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN 'mod_' || signalsmith._write_model(caller, NULL, jsonb_build_object(
        'name', name, 'query', query, 'primary_key', primary_key, 'identifiers', identifiers,
        'source', coalesce(source, 'local'), 'description', description));
END
$$;
COMMENT ON FUNCTION signalsmith._create_model(regrole, text, text, text[], text[], text, text) IS
    'private part of create_model';

CREATE FUNCTION signalsmith.create_model(name text, query text, primary_key text[],
        identifiers text[] DEFAULT NULL, source text DEFAULT 'local', description text DEFAULT NULL) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.create_model(text, text, text[], text[], text, text) IS
    'saves a query as a model, after checking it, and returns the model''s id';

CREATE FUNCTION signalsmith._update_model(caller regrole, ref text, changes jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed_model bigint := signalsmith._find(caller, 'model', ref, true);
BEGIN
    PERFORM signalsmith._write_model(caller, changed_model, changes);
    IF changes ?| ARRAY['query', 'search_path', 'primary_key', 'identifiers'] THEN
        PERFORM signalsmith._check_dependent_sync(caller, id, format('model "%s"', ref), false)
        FROM signalsmith.sync
        WHERE model_id = changed_model AND status <> 'archived' ORDER BY id;
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._update_model(regrole, text, jsonb) IS 'private part of update_model';

CREATE FUNCTION signalsmith.update_model(ref text, changes jsonb) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.update_model(text, jsonb) IS
    'changes a model: keys are the arguments of create_model and search_path, an absent one stays as it is, but with another query comes the search_path of the session';

CREATE FUNCTION signalsmith._refuse_if_used(caller regrole, kind text, ref text, users bigint[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    visible text[];
BEGIN
    IF cardinality(users) = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(name ORDER BY name) INTO visible
    FROM signalsmith.sync
    WHERE id = ANY (users) AND signalsmith._is_visible(caller, 'sync', id);
    RAISE EXCEPTION 'cannot delete % "%" because it is in use', kind, ref
        USING ERRCODE = 'dependent_objects_still_exist',
        DETAIL = format('Syncs that use it: %s.', concat_ws(', ', signalsmith._quoted_list(visible),
            nullif(cardinality(users) - coalesce(cardinality(visible), 0), 0) || ' of other roles')),
        HINT = 'Delete those first with signalsmith.delete_sync(), or have them use another one with signalsmith.update_sync().';
END
$$;
COMMENT ON FUNCTION signalsmith._refuse_if_used(regrole, text, text, bigint[]) IS
    'refuses the deletion of what these syncs use';

CREATE FUNCTION signalsmith._delete_model(caller regrole, ref text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted bigint := signalsmith._find(caller, 'model', ref, true);
BEGIN
    PERFORM FROM signalsmith.model WHERE id = deleted FOR UPDATE;
    PERFORM signalsmith._refuse_if_used(caller, 'model', ref,
        ARRAY(SELECT id FROM signalsmith.sync WHERE model_id = deleted));
    DELETE FROM signalsmith.model WHERE id = deleted;
END
$$;
COMMENT ON FUNCTION signalsmith._delete_model(regrole, text) IS 'private part of delete_model';

CREATE FUNCTION signalsmith.delete_model(ref text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.delete_model(text) IS 'deletes a model that no sync uses';
