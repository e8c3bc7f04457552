-- Schema drift: a command that drops or changes what a model reads tells so at
-- once, or is refused when signalsmith.protect_models is on, instead of failing the
-- model's next run.
--
-- What a model reads is noted when its query is saved: the relations and columns
-- that its text refers to, by name.  Names are what the text will be read by
-- again; and they stay true in a dump that is restored.  What its views and
-- functions read is not noted: the server keeps a view's columns as they are, and
-- drops the view where it must, which is a drop like any other.
--
-- The event triggers look at what a command has done, with the catalogs and
-- this table alone.  They analyse no query and take no lock that anybody else
-- might hold for long: a command that has nothing to do with models neither
-- waits nor fails because of them.

CREATE TABLE signalsmith.model_input (
    model_id        bigint NOT NULL REFERENCES signalsmith.model ON DELETE CASCADE,
    schema_name     text NOT NULL,
    relation_name   text NOT NULL,
    columns         jsonb NOT NULL,
    PRIMARY KEY (model_id, schema_name, relation_name)
);
CREATE INDEX model_input_relation ON signalsmith.model_input (relation_name, schema_name);
COMMENT ON TABLE signalsmith.model_input IS 'tables and views that the models'' queries name, and the columns that they use of them';
COMMENT ON COLUMN signalsmith.model_input.columns IS 'types by column name: {"email": "text"}';
SELECT pg_catalog.pg_extension_config_dump('signalsmith.model_input', '');

CREATE FUNCTION signalsmith._query_inputs(query text, owner regrole, search_path text)
    RETURNS TABLE (relation oid, column_number smallint)
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'signalsmith_query_inputs';
COMMENT ON FUNCTION signalsmith._query_inputs(text, regrole, text) IS
    'relations (column_number NULL) and columns (0: all) that a query refers to';

CREATE FUNCTION signalsmith._record_inputs(model signalsmith.model) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM signalsmith.model_input WHERE model_id = model.id;
    INSERT INTO signalsmith.model_input (model_id, schema_name, relation_name, columns)
    SELECT model.id, n.nspname, c.relname,
        coalesce(jsonb_object_agg(a.attname, format_type(a.atttypid, NULL)) FILTER (WHERE a.attnum IS NOT NULL), '{}')
    FROM signalsmith._query_inputs(model.query, model.owner, model.search_path) AS i
        JOIN pg_class c ON c.oid = i.relation
        JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND i.column_number IN (a.attnum, 0)
    GROUP BY n.nspname, c.relname;
END
$$;
COMMENT ON FUNCTION signalsmith._record_inputs(signalsmith.model) IS 'notes what a model reads';

-- Below, a hit is a model and what it reads that is no longer there.

CREATE TYPE signalsmith._hit AS (model_id bigint, what text);
COMMENT ON TYPE signalsmith._hit IS 'a model, and what it reads that a command has taken away';

-- Only while a command's sql_drop event triggers run.
CREATE FUNCTION signalsmith._hits_of_drop() RETURNS SETOF signalsmith._hit
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT i.model_id, CASE WHEN d.column_name IS NULL THEN format('%s "%s.%s"', d.object_type, i.schema_name, i.relation_name)
        ELSE format('column "%s" of "%s.%s"', d.column_name, i.schema_name, i.relation_name) END
    FROM (SELECT object_type, address_names[1] AS schema_name, address_names[2] AS relation_name,
              address_names[3] AS column_name
          FROM pg_event_trigger_dropped_objects()
          WHERE NOT is_temporary AND object_type IN ('table', 'view', 'materialized view', 'foreign table',
              'table column', 'view column', 'materialized view column', 'foreign table column')) AS d
        JOIN signalsmith.model_input i USING (relation_name, schema_name)
    WHERE d.column_name IS NULL OR i.columns ? d.column_name;
END
$$;
COMMENT ON FUNCTION signalsmith._hits_of_drop() IS 'models that read what the command has dropped';

-- Only while a command's ddl_command_end event triggers run.  Columns of children
-- change with those of their parents.
CREATE FUNCTION signalsmith._hits_of_changed_columns(changed text[]) RETURNS SETOF signalsmith._hit
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE altered AS (
        SELECT objid AS relation FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass
        UNION
        SELECT inhrelid FROM pg_inherits JOIN altered ON inhparent = relation
    )
    SELECT i.model_id, CASE WHEN a.attnum IS NULL THEN format('column "%s" of "%s.%s"', name, i.schema_name, i.relation_name)
        ELSE format('column "%s" of "%s.%s" as %s', name, i.schema_name, i.relation_name, i.columns->>name) END
    FROM altered
        JOIN pg_class c ON c.oid = altered.relation
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN signalsmith.model_input i ON i.relation_name = c.relname AND i.schema_name = n.nspname
        JOIN unnest(changed) AS u (name) ON i.columns ? name
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = name AND NOT a.attisdropped
    WHERE format_type(a.atttypid, NULL) IS DISTINCT FROM i.columns->>name;
END
$$;
COMMENT ON FUNCTION signalsmith._hits_of_changed_columns(text[]) IS
    'models that read columns of these names, of the altered relation, which it no longer has as they were';

-- Who is called by another name now is missed under the old one.  NULL is any.
CREATE FUNCTION signalsmith._hits_of_rename(old_schema text, old_relation text) RETURNS SETOF signalsmith._hit
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT i.model_id, format('"%s.%s"', i.schema_name, i.relation_name)
    FROM signalsmith.model_input i
    WHERE (old_relation IS NULL OR i.relation_name = old_relation)
        AND (old_schema IS NULL OR i.schema_name = old_schema)
        AND NOT EXISTS (
            SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relname = i.relation_name AND n.nspname = i.schema_name
                AND c.relkind IN ('r', 'p', 'v', 'm', 'f'));
END
$$;
COMMENT ON FUNCTION signalsmith._hits_of_rename(text, text) IS
    'models that read a relation of this name, where there is none any more';

-- Models and syncs of others are counted, and not named.
CREATE FUNCTION signalsmith._describe_hits(caller regrole, hits signalsmith._hit[]) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN (
        WITH model_hit AS (
            SELECT m.id, m.name, signalsmith._may_see(caller, m.owner) AS visible, string_agg(DISTINCT h.what, ', ') AS whats,
                (SELECT coalesce(signalsmith._quoted_list(array_agg(s.name ORDER BY s.name)), 'none')
                 FROM signalsmith.sync s WHERE s.model_id = m.id AND s.status <> 'archived') AS syncs
            FROM unnest(hits) AS h JOIN signalsmith.model m ON m.id = h.model_id
            GROUP BY m.id
        )
        SELECT concat_ws(E'\n',
            (SELECT string_agg(format('Model "%s" reads %s.  Its syncs: %s.', name, whats, syncs), E'\n' ORDER BY id)
             FROM (SELECT * FROM model_hit WHERE visible ORDER BY id LIMIT 20) AS shown),
            (SELECT format('Models of other roles, or further ones: %s.', nullif(count(*) - least(20, count(*) FILTER (WHERE visible)), 0))
             FROM model_hit HAVING count(*) > least(20, count(*) FILTER (WHERE visible)))));
COMMENT ON FUNCTION signalsmith._describe_hits(regrole, signalsmith._hit[]) IS
    'which models and syncs are hit, in words';

-- A fault of ours must not be one of the command's.
CREATE FUNCTION signalsmith._find_hits(caller regrole, event text, old_schema text, old_relation text,
        changed_columns text[], OUT models bigint, OUT description text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hits signalsmith._hit[];
BEGIN
    hits := CASE
        WHEN event = 'sql_drop' THEN ARRAY(SELECT h FROM signalsmith._hits_of_drop() AS h)
        WHEN changed_columns IS NOT NULL THEN
            ARRAY(SELECT h FROM signalsmith._hits_of_changed_columns(changed_columns) AS h)
        ELSE ARRAY(SELECT h FROM signalsmith._hits_of_rename(old_schema, old_relation) AS h) END;
    IF cardinality(hits) > 0 THEN
        models := (SELECT count(DISTINCT (h).model_id) FROM unnest(hits) AS h);
        description := signalsmith._describe_hits(caller, hits);
    END IF;
EXCEPTION
    WHEN OTHERS THEN
        RAISE WARNING 'could not tell which models read what this command changes'
            USING DETAIL = SQLERRM;
        models := NULL;
END
$$;
COMMENT ON FUNCTION signalsmith._find_hits(regrole, text, text, text, text[]) IS
    'the models that a command has hit, for its event triggers; NULL: none';

CREATE FUNCTION signalsmith._watch_schema() RETURNS event_trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_watch_schema';
COMMENT ON FUNCTION signalsmith._watch_schema() IS
    'tells which models and syncs a command hits, or refuses the command';

CREATE EVENT TRIGGER signalsmith_watch_drops ON sql_drop
    EXECUTE FUNCTION signalsmith._watch_schema();
COMMENT ON EVENT TRIGGER signalsmith_watch_drops IS 'signalsmith: tells which models read what is dropped';

CREATE EVENT TRIGGER signalsmith_watch_changes ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE', 'ALTER SCHEMA')
    EXECUTE FUNCTION signalsmith._watch_schema();
COMMENT ON EVENT TRIGGER signalsmith_watch_changes IS 'signalsmith: tells which models read what is changed or renamed';

-- Syncs have waited for the extension to become the library's version.
CREATE FUNCTION signalsmith._heed_new_version() RETURNS event_trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_wake';
COMMENT ON FUNCTION signalsmith._heed_new_version() IS 'has the launcher look here after ALTER EXTENSION';

CREATE EVENT TRIGGER signalsmith_watch_versions ON ddl_command_end
    WHEN TAG IN ('ALTER EXTENSION')
    EXECUTE FUNCTION signalsmith._heed_new_version();
COMMENT ON EVENT TRIGGER signalsmith_watch_versions IS 'signalsmith: goes on after an update of the extension';
