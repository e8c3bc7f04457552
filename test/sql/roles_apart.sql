-- Who sees what, and who may do what.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
CREATE ROLE regress_signalsmith_bob LOGIN;
CREATE ROLE regress_signalsmith_vic LOGIN;
CREATE ROLE regress_signalsmith_adm LOGIN;
CREATE ROLE regress_signalsmith_out LOGIN;
CREATE ROLE regress_signalsmith_team NOLOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann, regress_signalsmith_bob, regress_signalsmith_team;
GRANT signalsmith_viewer TO regress_signalsmith_vic;
GRANT signalsmith_admin TO regress_signalsmith_adm;
CREATE SCHEMA regress_signalsmith AUTHORIZATION regress_signalsmith_adm;
CREATE SCHEMA regress_signalsmith_plants AUTHORIZATION regress_signalsmith_bob;

SET ROLE regress_signalsmith_ann;
SELECT signalsmith.create_model('m', 'SELECT 1 AS id, 2 AS value', '{id}');
SELECT signalsmith.create_destination('d', 'webhook', '{"url": "https://example.com/hook"}');
SELECT signalsmith.create_sync('s', 'm', 'd');
RESET ROLE;
INSERT INTO signalsmith.run (sync_id, trigger, status, started_at, finished_at) VALUES (1, 'manual', 'completed', now(), now());
INSERT INTO signalsmith.row_failure VALUES (1, 1, 1, 'create', '{"id": 1}', 'rejected', 1, 400, NULL, 'bad email', now());

-- somebody without any of the roles
SET ROLE regress_signalsmith_out;
SELECT * FROM signalsmith.syncs;
SELECT signalsmith.list_syncs();

-- another user sees nothing, and cannot tell what exists from what does not
SET ROLE regress_signalsmith_bob;
SELECT (SELECT count(*) FROM signalsmith.syncs), (SELECT count(*) FROM signalsmith.runs), (SELECT count(*) FROM signalsmith.row_errors),
    (SELECT count(*) FROM signalsmith.list_models()), (SELECT count(*) FROM signalsmith.list_destinations()), (SELECT count(*) FROM signalsmith.list_syncs());
CREATE FUNCTION pg_temp.answer(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    EXECUTE 'SELECT ' || call;
    RETURN 'works';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || ': ' || concat_ws(' | ', message, nullif(detail, ''), nullif(hint, ''));
END
$$;
SELECT signalsmith.create_model('own', 'SELECT 1 AS id', '{id}');
-- every function, with what is there and with what is not
WITH call (format, there, absent) AS (VALUES
    ('signalsmith.get_model(%L)', 'mod_1', 'mod_9'), ('signalsmith.update_model(%L, ''{}'')', 'mod_1', 'mod_9'), ('signalsmith.delete_model(%L)', 'mod_1', 'mod_9'),
    ('signalsmith.get_destination(%L)', 'dst_1', 'dst_9'), ('signalsmith.update_destination(%L, ''{}'')', 'dst_1', 'dst_9'), ('signalsmith.delete_destination(%L)', 'dst_1', 'dst_9'),
    ('signalsmith.set_secret(%L, ''a'', ''b'')', 'dst_1', 'dst_9'), ('signalsmith.test_destination(%L)', 'dst_1', 'dst_9'),
    ('signalsmith.create_sync(''mine'', %L, ''dst_1'')', 'mod_1', 'mod_9'), ('signalsmith.create_sync(''mine'', ''own'', %L)', 'dst_1', 'dst_9'),
    ('signalsmith.get_sync(%L)', 'sync_1', 'sync_9'), ('signalsmith.update_sync(%L, ''{}'')', 'sync_1', 'sync_9'), ('signalsmith.delete_sync(%L)', 'sync_1', 'sync_9'),
    ('signalsmith.trigger_sync(%L)', 'sync_1', 'sync_9'), ('signalsmith.pause_sync(%L)', 'sync_1', 'sync_9'), ('signalsmith.resume_sync(%L)', 'sync_1', 'sync_9'),
    ('signalsmith.archive_sync(%L)', 'sync_1', 'sync_9'), ('signalsmith.restore_sync(%L)', 'sync_1', 'sync_9'), ('signalsmith.reset_sync(%L)', 'sync_1', 'sync_9'),
    ('signalsmith.list_runs(%L)', 'sync_1', 'sync_9'), ('signalsmith.preview_sync(%L)', 'sync_1', 'sync_9'),
    ('signalsmith.get_run(%L)', 'run_1', 'run_9'), ('signalsmith.cancel_run(%L)', 'run_1', 'run_9'), ('signalsmith.wait_for_run(%L)', 'run_1', 'run_9'), ('signalsmith.approve_deletes(%L)', 'run_1', 'run_9'), ('signalsmith.retry_rows(%L)', 'run_1', 'run_9'))
SELECT format(format, absent) AS call, pg_temp.answer(format(format, absent)) AS answer,
    replace(pg_temp.answer(format(format, there)), there, absent) = pg_temp.answer(format(format, absent)) AS same_for_what_is_hidden
FROM call;

-- a viewer reads everything and changes nothing
SET ROLE regress_signalsmith_vic;
SELECT id, sync, status FROM signalsmith.runs;
SELECT run_id, sync, operation, key, outcome, attempts, http_status, code, message FROM signalsmith.row_errors;
SELECT signalsmith.get_sync('s')->>'owner';
SELECT signalsmith.trigger_sync('s');
SELECT signalsmith.create_model('v', 'SELECT 1 AS id', '{id}');

-- a user who is a viewer too still changes nothing of others'
RESET ROLE;
GRANT signalsmith_viewer TO regress_signalsmith_bob;
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.pause_sync('s');
SELECT signalsmith.create_sync('mine', 'm', 'd');
RESET ROLE;
REVOKE signalsmith_viewer FROM regress_signalsmith_bob;

-- an admin manages everyone's, but not a superuser's
SET ROLE regress_signalsmith_adm;
SELECT signalsmith.pause_sync('s');
SELECT signalsmith.resume_sync('s');
SELECT status, owner FROM signalsmith.syncs;
RESET ROLE;
SELECT current_user AS super \gset
SELECT signalsmith.create_model('super', 'SELECT 1 AS id', '{id}');
SET ROLE regress_signalsmith_adm;
SELECT signalsmith.get_model('super')->>'name';
\set VERBOSITY terse
SELECT signalsmith.update_model('super', '{"query": "SELECT 2 AS id"}');
\set VERBOSITY default
-- nor that of a role whose SQL could become a superuser, or run programs
RESET ROLE;
CREATE ROLE regress_signalsmith_near LOGIN IN ROLE signalsmith_user;
SET ROLE regress_signalsmith_near;
SELECT signalsmith.create_model('near', 'SELECT 1 AS id', '{id}');
SET ROLE regress_signalsmith_adm;
SELECT signalsmith.update_model('near', '{"description": "still anybody''s"}');
RESET ROLE;
GRANT pg_execute_server_program TO regress_signalsmith_near;
SET ROLE regress_signalsmith_adm;
SELECT signalsmith.update_model('near', '{"query": "SELECT 2 AS id"}');
RESET ROLE;
REVOKE pg_execute_server_program FROM regress_signalsmith_near;
CREATE ROLE regress_signalsmith_root SUPERUSER NOLOGIN;
GRANT regress_signalsmith_root TO regress_signalsmith_near;
ALTER ROLE regress_signalsmith_near NOINHERIT;
SET ROLE regress_signalsmith_adm;
SELECT signalsmith.delete_model('near');
RESET ROLE;
SELECT signalsmith.delete_model('near');
DROP ROLE regress_signalsmith_near, regress_signalsmith_root;
SET ROLE regress_signalsmith_adm;

-- whose rights a model runs with: its owner's, whoever creates the sync
SELECT signalsmith.create_destination('super', 'webhook', '{"url": "https://example.com/hook"}');
SELECT signalsmith.create_sync('by superuser', 'm', 'd');
SELECT signalsmith.create_sync('by superuser, too far', 'm', 'super');
SET ROLE regress_signalsmith_adm;
SELECT signalsmith.create_sync('by admin', 'm', 'd');
SELECT name, owner FROM signalsmith.syncs;
SELECT signalsmith.create_destination('a', 'webhook', '{"url": "https://example.com/hook"}');
SELECT signalsmith.create_model('a', 'SELECT 1 AS id', '{id}');
SELECT signalsmith.create_sync('by admin, too far', 'm', 'a');
SELECT signalsmith.create_sync('of admin', 'a', 'd');
-- and it stays so
SELECT signalsmith.update_sync('by admin', '{"model": "a"}');
SELECT signalsmith.update_sync('by admin', '{"destination": "a"}');
SELECT signalsmith.delete_sync('of admin'), signalsmith.delete_model('a'), signalsmith.delete_destination('a');
-- so the owner may change the query, and delete the syncs
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.update_model('m', '{"query": "SELECT 1 AS id, 3 AS value"}');
SELECT signalsmith.delete_model('m');
SELECT signalsmith.delete_sync('by superuser'), signalsmith.delete_sync('by admin');
RESET ROLE;

-- superusers, and roles that cannot log in
SET signalsmith.allow_superuser_syncs = off;
SELECT signalsmith.create_sync('of superuser', 'super', 'super');
RESET signalsmith.allow_superuser_syncs;
SET ROLE regress_signalsmith_team;
SELECT signalsmith.create_model('t', 'SELECT 1 AS id', '{id}');
SELECT signalsmith.create_destination('t', 'webhook', '{"url": "https://example.com/hook"}');
SELECT signalsmith.create_sync('t', 't', 't');
-- members of a role have what it has, and the sync is the role's
RESET ROLE;
ALTER ROLE regress_signalsmith_team LOGIN;
GRANT regress_signalsmith_team TO regress_signalsmith_bob;
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.create_sync('t', 't', 't');
SELECT id, name, owner FROM signalsmith.syncs;

-- tables cannot be reached directly, nor anything hung on them
SET ROLE regress_signalsmith_adm;
SELECT * FROM signalsmith.sync;
INSERT INTO signalsmith.run (sync_id, trigger) VALUES (1, 'manual');
UPDATE signalsmith.model SET query = 'SELECT 1';
DELETE FROM signalsmith.segment;
TRUNCATE signalsmith.outbox;
SELECT nextval('signalsmith.run_id_seq');
CREATE TABLE signalsmith.mine (id bigint);
CREATE FUNCTION signalsmith.mine() RETURNS int LANGUAGE sql RETURN 1;
CREATE INDEX ON signalsmith.sync (name);
CREATE TRIGGER mine BEFORE INSERT ON signalsmith.run FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE RULE mine AS ON INSERT TO signalsmith.run DO NOTHING;
CREATE POLICY mine ON signalsmith.run;
CREATE TEMP TABLE child () INHERITS (signalsmith.run);
CREATE TABLE regress_signalsmith.reference (id bigint REFERENCES signalsmith.run);
SELECT signalsmith._find('regress_signalsmith_ann', 'sync', 's');
SELECT signalsmith._create_sync('regress_signalsmith_ann', '{}');
SELECT signalsmith._finish_run(1, 0, 'completed', NULL, false);

-- conditions of the reader's see only what he may see
SET ROLE regress_signalsmith_bob;
CREATE FUNCTION pg_temp.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
SELECT name FROM signalsmith.syncs WHERE pg_temp.tell(name);

-- nothing that a user plants on his path or in pg_temp is used in its stead
CREATE TEMP TABLE sync AS SELECT 1 AS id, 'planted' AS name;
SET search_path = regress_signalsmith_plants, pg_catalog;
CREATE FUNCTION sprung() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted, run by %', current_user; END $$;
CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT sprung(); SELECT pg_catalog.now() $$;
CREATE FUNCTION format(text, text) RETURNS text LANGUAGE sql AS $$ SELECT sprung(); SELECT $1 $$;
CREATE FUNCTION equal(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT sprung() $$;
CREATE FUNCTION equal(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$ SELECT sprung() $$;
CREATE FUNCTION "?"(jsonb, text) RETURNS boolean LANGUAGE sql AS $$ SELECT sprung() $$;
CREATE OPERATOR = (FUNCTION = equal, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR = (FUNCTION = equal, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR ? (FUNCTION = "?", LEFTARG = jsonb, RIGHTARG = text);
SELECT signalsmith.create_sync('{"name": "t2", "model": "t", "destination": "t", "field_mappings": [{"source": "id", "destination": "Id"}]}');
SELECT signalsmith.update_sync('t', '{"description": "still mine"}');
SELECT signalsmith.get_sync('t')->>'description';
SELECT signalsmith.delete_sync('t2');
RESET search_path;

RESET ROLE;
DROP EXTENSION signalsmith;
SET client_min_messages = warning;
DROP SCHEMA regress_signalsmith, regress_signalsmith_plants CASCADE;
DROP OWNED BY regress_signalsmith_ann, regress_signalsmith_bob, regress_signalsmith_vic, regress_signalsmith_adm, regress_signalsmith_out, regress_signalsmith_team;
DROP ROLE regress_signalsmith_ann, regress_signalsmith_bob, regress_signalsmith_vic, regress_signalsmith_adm, regress_signalsmith_out, regress_signalsmith_team;
