-- What the owner of a model may try against others who define, preview or manage.
-- A run, which has a process of its own, is in test/t/070_hostile_model.pl.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
CREATE ROLE regress_signalsmith_bob LOGIN;
CREATE ROLE regress_signalsmith_adm LOGIN;
CREATE ROLE regress_signalsmith_boss NOLOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann, regress_signalsmith_bob;
GRANT signalsmith_admin TO regress_signalsmith_adm;
GRANT regress_signalsmith_boss TO regress_signalsmith_bob;
CREATE TABLE canary (touched_by text);
ALTER TABLE canary OWNER TO regress_signalsmith_bob;
CREATE SCHEMA regress_signalsmith_bob AUTHORIZATION regress_signalsmith_bob;
CREATE FUNCTION pg_temp.answer(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'SELECT ' || call;
    RETURN 'works';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END
$$;

-- texts that are not exactly one SELECT, as model and as mapping expression
SET ROLE regress_signalsmith_bob;
SELECT text, pg_temp.answer(format('signalsmith.create_model(''bad %s'', %L, ''{a}'')', number, text))
FROM unnest(ARRAY['SELECT 1 AS a; COMMIT', 'COMMIT', 'BEGIN', 'SELECT 1 AS a) q; DROP TABLE canary; --', 'CREATE TABLE t AS SELECT 1 AS a',
    'SELECT 1 AS a INTO t', 'SELECT 1 AS a INTO TEMP t', 'SELECT 2 AS a UNION SELECT 1 INTO t', 'DO $$ BEGIN END $$', 'COPY (SELECT 1 AS a) TO PROGRAM ''true''', 'CALL p()', 'EXPLAIN ANALYZE SELECT 1 AS a',
    'SET ROLE postgres', 'SET search_path = x', 'RESET ROLE', 'PREPARE p AS SELECT 1 AS a', 'EXECUTE p', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1 AS a', 'LISTEN x', 'NOTIFY x', 'LOAD ''plpgsql''', 'VACUUM', 'LOCK canary',
    'INSERT INTO canary VALUES (''x'') RETURNING 1 AS a', 'WITH w AS (INSERT INTO canary VALUES (''x'') RETURNING 1 AS a) SELECT a FROM w',
    'SELECT 1 AS a WHERE EXISTS (WITH w AS (DELETE FROM canary RETURNING 1) SELECT FROM w)', 'WITH w AS (MERGE INTO canary USING canary c ON false WHEN NOT MATCHED THEN DO NOTHING) SELECT 1 AS a',
    'SELECT 1 AS a FROM (SELECT FROM canary FOR UPDATE) c', 'SELECT 1 AS a /* ; DROP TABLE canary', 'SELECT 1 AS a --', 'SELECT /* /* */ ; */ 1 AS a', 'SELECT $x$;$x$::text AS a', '', ';', ';;SELECT 1 AS a;;']) WITH ORDINALITY AS e (text, number);
SELECT left(pg_temp.answer(format('signalsmith.create_model(''large'', %L, ''{a}'')', 'SELECT 1 AS a WHERE ' || string_agg('1=1', ' AND '))), 100) AS megabyte FROM generate_series(1, 130000);
SELECT left(pg_temp.answer(format('signalsmith.create_model(''deep'', %L, ''{a}'')', 'SELECT ' || repeat('(', 100000) || '1' || repeat(')', 100000) || ' AS a')), 30) AS deep;
SELECT signalsmith.create_model('plain', 'SELECT 1 AS a', '{a}');
SELECT signalsmith.create_destination('d', 'webhook', '{"url": "https://example.com/hook"}');
SELECT text, pg_temp.answer(format('signalsmith.create_sync(''bad'', ''plain'', ''d'', field_mappings => %L)', jsonb_build_array(jsonb_build_object('expression', text, 'destination', 'x'))))
FROM unnest(ARRAY['a; DROP TABLE canary', 'a FROM canary', 'a, a', 'a) FROM (SELECT 1', 'a INTO t', 'a FOR UPDATE', '(WITH w AS (DELETE FROM canary RETURNING 1) SELECT 1 FROM w)',
    '(SELECT 1 FROM canary FOR UPDATE)', 'DISTINCT a', 'a AS b', '*', 'model.*', 'a UNION SELECT 2', 'a LIMIT 1', 'count(*)', '$1', 'a --']) AS text;

-- what a function tries while a model is previewed by its own role, by an admin,
-- by a superuser: it is the owner, may not climb, not write, and leaves nothing
CREATE FUNCTION regress_signalsmith_bob.attempt(what text, command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN format('done, as %s', current_user);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE TABLE regress_signalsmith_bob.attempt (what text PRIMARY KEY, command text);
INSERT INTO regress_signalsmith_bob.attempt VALUES
    ('reset role', 'RESET ROLE'), ('set role none', 'SET ROLE NONE'), ('set role', 'SET ROLE regress_signalsmith_boss'), ('set_config role', $$SELECT set_config('role', 'regress_signalsmith_adm', false)$$),
    ('session authorization', 'SET SESSION AUTHORIZATION DEFAULT'), ('insert', 'INSERT INTO canary VALUES (current_user)'), ('read write', 'SET TRANSACTION READ WRITE'),
    ('read only off', 'SET transaction_read_only = off'), ('commit', 'COMMIT'), ('temp table', 'CREATE TEMP TABLE t (a int)'), ('table', 'CREATE TABLE regress_signalsmith_bob.t (a int)'),
    ('hold', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'), ('prepare', 'PREPARE p AS SELECT 1'), ('listen', 'LISTEN x'), ('discard', 'DISCARD ALL'), ('copy', $$COPY canary TO PROGRAM 'true'$$),
    ('trigger_sync', $$SELECT signalsmith.trigger_sync('attempts')$$), ('our tables', 'SELECT count(*) FROM signalsmith.secret'), ('egress', 'SET signalsmith.allow_private_networks = on'),
    ('search_path', $$SELECT set_config('search_path', 'regress_signalsmith_bob, pg_catalog', false)$$), ('work_mem', 'SET work_mem = 64'), ('quoting', 'SET standard_conforming_strings = off'),
    ('timeout', $$SET statement_timeout = '1ms'$$), ('own setting', $$SET app.tenant = 'bob'$$);
SELECT signalsmith.create_model('attempts', 'SELECT what, regress_signalsmith_bob.attempt(what, command) AS answer FROM regress_signalsmith_bob.attempt', '{what}');
SELECT signalsmith.create_sync('attempts', 'attempts', 'd');
SELECT data->>'what' AS what, data->>'answer' AS answer FROM signalsmith.preview_sync('attempts') ORDER BY 1;
CREATE FUNCTION pg_temp.leftovers() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', current_user, current_setting('search_path'), current_setting('work_mem'), current_setting('statement_timeout'),
        current_setting('standard_conforming_strings'), current_setting('transaction_read_only'), coalesce(nullif(current_setting('app.tenant', true), ''), '-')) $$;
SELECT pg_temp.leftovers();
SET ROLE regress_signalsmith_adm;
SELECT data->>'what' AS what, data->>'answer' AS answer FROM signalsmith.preview_sync('attempts') WHERE data->>'answer' LIKE 'done%' ORDER BY 1;
SELECT pg_temp.leftovers() LIKE 'regress_signalsmith_adm "$user", public % 0 on off -' AS nothing_left;
RESET ROLE;
SELECT data->>'answer' AS answer, count(*) FROM signalsmith.preview_sync('attempts') GROUP BY 1 ORDER BY 1;
SELECT pg_temp.leftovers() LIKE '%"$user", public % 0 on off -' AS nothing_left;
SELECT * FROM canary;

-- the same while a model is planned, when somebody changes what it depends on:
-- immutable functions of its owner are called then
SET ROLE regress_signalsmith_bob;
CREATE FUNCTION regress_signalsmith_bob.planned() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RAISE NOTICE 'planned as %, %, %, %', current_user, regress_signalsmith_bob.attempt('', 'INSERT INTO canary VALUES (current_user)'),
        regress_signalsmith_bob.attempt('', 'RESET ROLE'), set_config('search_path', 'regress_signalsmith_bob', false);
    RETURN 1;
END
$$;
SELECT signalsmith.create_model('planned', 'SELECT regress_signalsmith_bob.planned() AS id', '{id}');
RESET ROLE;
SELECT signalsmith.update_model('planned', '{"query": "SELECT regress_signalsmith_bob.planned() AS id, 2 AS b"}');
SELECT pg_temp.leftovers() LIKE '%"$user", public % 0 on off -' AS nothing_left;
SELECT * FROM canary;

-- changing a destination runs nothing of those who share it, and they cannot
-- stand in the way once they have lost the right
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.create_destination('shared', 'webhook', '{"url": "https://example.com/hook"}');
SELECT signalsmith.share_destination('shared', 'regress_signalsmith_bob');
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.create_sync('hers', 'planned', 'shared');
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.update_destination('shared', '{"config": {"url": "https://example.com/other"}}');
SELECT signalsmith.update_destination('shared', '{"connector": "http", "config": {"base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST", "path": "/x", "body": "{{fields}}"}, "respond": {"decode": "none"}}}}}');
SELECT signalsmith.unshare_destination('shared', 'regress_signalsmith_bob');
SELECT signalsmith.update_destination('shared', '{"connector": "http", "config": {"base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST", "path": "/x", "body": "{{fields}}"}, "respond": {"decode": "none"}}}}}');
RESET ROLE;
-- nor does the name of what one may not see appear
UPDATE signalsmith.sync SET snapshot_key = 'key (id integer)' WHERE name = 'hers';
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.update_destination('shared', '{"connector": "webhook", "config": {"url": "https://example.com/hook"}}');

-- a collation of one's own does not decide what is equal
SET ROLE regress_signalsmith_bob;
CREATE COLLATION regress_signalsmith_bob.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT signalsmith.get_model('PLAIN' COLLATE regress_signalsmith_bob.nocase);
SELECT signalsmith.get_model('plain' COLLATE regress_signalsmith_bob.nocase)->>'name';

-- domains and casts of one's own work as their owner, whoever looks
CREATE FUNCTION regress_signalsmith_bob.tell(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE '% as %', what, current_user; RETURN true; END $$;
CREATE DOMAIN regress_signalsmith_bob.told AS int CHECK (regress_signalsmith_bob.tell('domain'));
CREATE TYPE regress_signalsmith_bob.pair AS (a int, b int);
CREATE FUNCTION regress_signalsmith_bob.pair_json(regress_signalsmith_bob.pair) RETURNS json LANGUAGE sql AS $$ SELECT to_json(regress_signalsmith_bob.tell('cast')) $$;
CREATE CAST (regress_signalsmith_bob.pair AS json) WITH FUNCTION regress_signalsmith_bob.pair_json;
CREATE FUNCTION regress_signalsmith_bob.same(a regress_signalsmith_bob.pair, b regress_signalsmith_bob.pair) RETURNS boolean LANGUAGE sql AS $$ SELECT regress_signalsmith_bob.tell('operator') $$;
CREATE OPERATOR regress_signalsmith_bob.= (FUNCTION = regress_signalsmith_bob.same, LEFTARG = regress_signalsmith_bob.pair, RIGHTARG = regress_signalsmith_bob.pair);
CREATE TABLE regress_signalsmith_bob.odd (id int, pair regress_signalsmith_bob.pair);
INSERT INTO regress_signalsmith_bob.odd VALUES (1, (1, 2));
SET search_path = regress_signalsmith_bob;
SELECT signalsmith.create_model('odd', 'SELECT id::told AS id, pair FROM odd WHERE pair = pair', '{id}');
SELECT signalsmith.create_sync('odd', 'odd', 'd');
RESET search_path;
RESET ROLE;
SELECT key, data FROM signalsmith.preview_sync('odd');

-- settings of a session do not change what our functions mean
\c -
SET ROLE regress_signalsmith_bob;
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT signalsmith.update_sync('odd', '{"name": "odds", "field_mappings": {"id": "a.b"}}');
RESET standard_conforming_strings;
-- egress is for superusers
SET signalsmith.allow_private_networks = on;
SET signalsmith.allowed_hosts = '*';
SET signalsmith.ca_file = '/tmp/mine';
SET signalsmith.allow_superuser_syncs = on;
ALTER ROLE regress_signalsmith_bob SET signalsmith.allow_private_networks = on;
SHOW signalsmith.key_file;
SELECT count(*) FROM pg_settings WHERE name = 'signalsmith.key_file';

RESET ROLE;
DROP EXTENSION signalsmith;
SET client_min_messages = warning;
DROP SCHEMA regress_signalsmith_bob CASCADE;
DROP TABLE canary;
DROP OWNED BY regress_signalsmith_ann, regress_signalsmith_bob, regress_signalsmith_adm;
DROP ROLE regress_signalsmith_ann, regress_signalsmith_bob, regress_signalsmith_adm, regress_signalsmith_boss;
