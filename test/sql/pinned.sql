-- Why a pinned search_path is enough.  With "pg_catalog, pg_temp" functions and
-- operators come from pg_catalog alone, since pg_temp is never searched for them;
-- relations and types could come from pg_temp, but only what pg_catalog has not.
-- So: nothing of ours says a name without its schema that pg_catalog does not
-- have, and nothing is put together as text.  Each query returns no row.
CREATE EXTENSION signalsmith;
CREATE TEMP VIEW body AS
    SELECT p.oid::regprocedure AS function, regexp_replace(prosrc, '--[^\n]*|''[^'']*''|\mDISTINCT FROM\M', ' ', 'g') AS text
    FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'signalsmith') AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql');

-- (what they look at)
SELECT count(*) > 80 AS bodies, count(*) FILTER (WHERE text ~ 'FROM signalsmith\.') > 20 AS relations, count(*) FILTER (WHERE text ~ 'format\(') > 5 AS functions FROM body;

-- relations: after FROM and the like, but for the names that WITH gives
SELECT function, name FROM body, regexp_matches(text, '(?<!DISTINCT )\m(?:FROM|JOIN|UPDATE|INSERT INTO)\s+(?!LATERAL\M)([a-z_]+)\M(?!\s*[.(])', 'gi') AS m, unnest(m) AS name
WHERE name NOT IN (SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace)
    AND text !~* ('\m' || name || '\s+AS\s+\(') AND text !~* ('extract\([a-z]+\s+FROM\s+' || name) AND name NOT ILIKE 'current_%' AND name !~* '^(distinct|set|skip|no|of|select)$'
    AND text !~* ('\m(FOR|FOREACH)\s+UPDATE\s+' || name);

-- types of variables, results and casts
SELECT function, name FROM body, regexp_matches(text, '::\s*([a-z_]+)\M(?!\s*\.)', 'gi') AS m, unnest(m) AS name
WHERE to_regtype('pg_catalog.' || quote_ident(name)) IS NULL AND name NOT IN ('bigint', 'integer', 'boolean', 'interval', 'bit', 'numeric', 'timestamptz');

-- functions
SELECT function, name FROM body, regexp_matches(text, '(?<![.\w])([a-z_][a-z_0-9]*)\(', 'g') AS m, unnest(m) AS name
WHERE name NOT IN (SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace)
    AND name NOT IN ('coalesce', 'nullif', 'greatest', 'least');

-- statements made of text
SELECT function FROM body WHERE text ~* '\mEXECUTE\M';

-- what hangs on other objects, or runs without being called: nothing but two event triggers
SELECT DISTINCT classid::regclass FROM pg_depend
WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'signalsmith')
    AND classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_event_trigger'::regclass);
SELECT evtname FROM pg_event_trigger WHERE evtname NOT IN ('signalsmith_watch_changes', 'signalsmith_watch_drops', 'signalsmith_watch_versions');
SELECT t.typname FROM pg_type t JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e' AND typtype <> 'c' AND typelem = 0;
-- nor do our tables have columns that compute, or are of a type that does
SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'signalsmith'::regnamespace AND relkind = 'r')
    AND attnum > 0 AND (attgenerated <> '' OR t.typnamespace <> 'pg_catalog'::regnamespace);
SELECT indexrelid::regclass FROM pg_index
WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'signalsmith'::regnamespace) AND indexprs IS NOT NULL;
DROP EXTENSION signalsmith;

-- and it is so: everything works with a pg_temp full of traps
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_bob LOGIN;
GRANT signalsmith_user TO regress_signalsmith_bob;
SET ROLE regress_signalsmith_bob;
SET search_path = pg_temp, pg_catalog, signalsmith;
CREATE FUNCTION pg_temp.sprung() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'sprung by %', current_user; END $$;
DO $$
DECLARE
    name name;
BEGIN
    FOR name IN SELECT unnest(ARRAY['connector', 'model', 'destination', 'destination_share', 'secret', 'sync', 'run', 'outbox', 'segment', 'row_failure', 'instance', 'pg_roles', 'pg_class', 'pg_extension', 'pg_stat_activity', 'due', 'queued', 'last_run', 'objects']) LOOP
        EXECUTE format('CREATE TEMP VIEW %I AS SELECT pg_temp.sprung() AS id', name);
    END LOOP;
    FOR name IN SELECT unnest(ARRAY['regrole', 'jsonb', 'text', 'bigint', 'interval']) LOOP
        EXECUTE format('CREATE DOMAIN pg_temp.%I AS int CHECK (pg_temp.sprung() = 1)', name);
    END LOOP;
END
$$;
CREATE FUNCTION pg_temp.never(pg_catalog.text, pg_catalog.text) RETURNS boolean LANGUAGE sql AS 'SELECT pg_temp.sprung() = 1';
CREATE OPERATOR pg_temp.= (FUNCTION = pg_temp.never, LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text);
CREATE OPERATOR pg_temp.|| (FUNCTION = pg_temp.never, LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text);
SELECT signalsmith.create_model('m', 'SELECT 1 AS id, 2::int8 AS b', '{id}');
SELECT signalsmith.create_destination('d', 'webhook', '{"url": "https://example.com/hook"}');
SELECT signalsmith.create_sync('s', 'm', 'd', field_mappings => '{"id": "Id", "b": "B"}', schedule => '{"type": "interval", "interval_minutes": 5}');
SELECT signalsmith.update_model('m', '{"query": "SELECT 1 AS id, 3::int8 AS b"}');
SELECT signalsmith.update_destination('d', '{"config": {"url": "https://example.com/other"}}');
SELECT signalsmith.update_sync('s', '{"options": {"batch_size": 5}}');
SELECT signalsmith.share_destination('d', 'signalsmith_user');
SELECT signalsmith.unshare_destination('d', 'signalsmith_user');
SELECT signalsmith.pause_sync('s'), signalsmith.resume_sync('s'), signalsmith.reset_sync('s'), signalsmith.archive_sync('s'), signalsmith.restore_sync('s');
SELECT data FROM signalsmith.preview_sync('s');
SELECT pg_catalog.count(*) FROM signalsmith.preview_counts('s');
SELECT pg_catalog.count(*) FROM signalsmith.preview_requests('s');
SELECT pg_catalog.count(*) FROM signalsmith.list_syncs(), signalsmith.list_models(), signalsmith.list_destinations(), signalsmith.check_installation();
SELECT pg_catalog.count(*) FROM signalsmith.syncs, signalsmith.sync_health;
SELECT signalsmith.delete_sync('s'), signalsmith.delete_model('m'), signalsmith.delete_destination('d');
RESET search_path;
RESET ROLE;
DISCARD TEMP;
DROP EXTENSION signalsmith;
DROP ROLE regress_signalsmith_bob;
