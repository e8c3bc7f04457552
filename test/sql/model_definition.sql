-- Models: what is accepted, what is refused and how that is said.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
CREATE ROLE regress_signalsmith_bob LOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann, regress_signalsmith_bob;
CREATE SCHEMA regress_signalsmith_shop AUTHORIZATION regress_signalsmith_ann;
SET ROLE regress_signalsmith_ann;
SET search_path = regress_signalsmith_shop;
CREATE TABLE customer (id bigint PRIMARY KEY, email text, country char(2), lifetime_value numeric(10,2), seen timestamptz, tags text[]);

SELECT signalsmith.create_model('Customers', 'SELECT * FROM customer', '{id}', '{email}', description => 'all of them');
SELECT signalsmith.create_model('Totals', 'SELECT country, sum(lifetime_value) AS total FROM customer GROUP BY 1;', ARRAY['country']);
SELECT signalsmith.create_model('Values', 'VALUES (1, ''one'')', ARRAY['column1']);
SELECT signalsmith.create_model('Table', 'TABLE customer', ARRAY['id', 'country'], '{}');
SELECT signalsmith.create_model('With', 'WITH c AS (SELECT 1 AS a) SELECT a FROM c', '{a}', source => 'src_1');

-- what was recorded; times aside
SELECT jsonb_pretty(signalsmith.get_model('Customers') - '{created_at,updated_at}'::text[]);
SELECT model->>'id', model->>'name', model->'primary_key', model->'identifiers' FROM signalsmith.list_models() AS model;

-- the query is not exactly one SELECT
SELECT signalsmith.create_model('bad', 'SELEKT 1', '{a}');
SELECT signalsmith.create_model('bad', '', '{a}');
SELECT signalsmith.create_model('bad', '-- nothing', '{a}');
SELECT signalsmith.create_model('bad', NULL, '{a}');
SELECT signalsmith.create_model('bad', 'SELECT 1 AS a; SELECT 2 AS a', '{a}');
SELECT signalsmith.create_model('bad', 'SELECT 1 AS a) q; DROP TABLE customer; SELECT (1', '{a}');
SELECT signalsmith.create_model('bad', 'SELECT (1 AS a', '{a}');
SELECT signalsmith.create_model('bad', 'SELECT ''open AS a', '{a}');
SELECT signalsmith.create_model('bad', 'DROP TABLE customer', '{a}');
SELECT signalsmith.create_model('bad', 'UPDATE customer SET email = NULL RETURNING id', '{id}');
SELECT signalsmith.create_model('bad', 'WITH gone AS (DELETE FROM customer RETURNING id) SELECT id FROM gone', '{id}');
SELECT signalsmith.create_model('bad', 'SELECT id INTO copied FROM customer', '{id}');
SELECT signalsmith.create_model('bad', 'SELECT id FROM customer FOR UPDATE', '{id}');
SELECT signalsmith.create_model('bad', 'EXPLAIN ANALYZE SELECT 1', '{a}');
SELECT signalsmith.create_model('bad', 'COPY customer TO STDOUT', '{a}');
SELECT signalsmith.create_model('bad', 'SELECT $1 AS a', '{a}');

-- it cannot be planned, or not be told apart
SELECT signalsmith.create_model('bad', 'SELECT id, emial FROM customer', '{id}');
SELECT signalsmith.create_model('bad', E'SELECT id\nFROM custmer', '{id}');
SELECT signalsmith.create_model('bad', 'SELECT id, 1 FROM customer', '{id}');
SELECT signalsmith.create_model('bad', 'SELECT id, email AS id FROM customer', '{id}');
SELECT signalsmith.create_model('bad', 'SELECT FROM customer', '{id}');

-- keys
SELECT signalsmith.create_model('bad', 'SELECT id, email FROM customer', '{idd}');
SELECT signalsmith.create_model('bad', 'SELECT id, email FROM customer', '{}');
SELECT signalsmith.create_model('bad', 'SELECT id, email FROM customer', NULL);
SELECT signalsmith.create_model('bad', 'SELECT id, email FROM customer', ARRAY['id', 'id']);
SELECT signalsmith.create_model('bad', 'SELECT id, email FROM customer', ARRAY['id', NULL]);
SELECT signalsmith.create_model('bad', 'SELECT id, email FROM customer', '{id}', '{mail}');

-- names and sources
SELECT signalsmith.create_model('Customers', 'SELECT 1 AS a', '{a}');
SELECT signalsmith.create_model('sync_7', 'SELECT 1 AS a', '{a}');
SELECT signalsmith.create_model('', 'SELECT 1 AS a', '{a}');
SELECT signalsmith.create_model(NULL, 'SELECT 1 AS a', '{a}');
SELECT signalsmith.create_model(repeat('x', 201), 'SELECT 1 AS a', '{a}');
SELECT signalsmith.create_model(E'two\nlines', 'SELECT 1 AS a', '{a}');
SELECT signalsmith.create_model('bad', 'SELECT 1 AS a', '{a}', source => 'snowflake');

-- nothing of all that was stored
SELECT count(*) FROM signalsmith.list_models();

-- changes
SELECT signalsmith.update_model('Values', '{"name": "Pairs", "description": "two"}');
SELECT signalsmith.update_model('mod_3', '{"query": "VALUES (1, 2, 3)", "primary_key": ["column2"], "description": null}');
SELECT signalsmith.get_model('Pairs') - '{created_at,updated_at}'::text[];
SELECT signalsmith.update_model('Pairs', '{"primary_kez": ["column1"]}');
SELECT signalsmith.update_model('Pairs', '{"primary_key": "column1"}');
SELECT signalsmith.update_model('Pairs', '{"primary_key": null}');
SELECT signalsmith.update_model('Pairs', '{"query": "SELECT 1 AS other"}');
SELECT signalsmith.update_model('Pairs', '{"query": 5}');
SELECT signalsmith.update_model('Pairs', '{"name": "Totals"}');
SELECT signalsmith.update_model('Pairs', '{"name": "Pairs"}');
SELECT signalsmith.update_model('Pairs', '[]');
SELECT signalsmith.update_model('Pairs', NULL);
SELECT signalsmith.get_model('Pairs') - '{created_at,updated_at}'::text[];

-- unknown, and not one's own: the same
SELECT signalsmith.get_model('Custmers');
SELECT signalsmith.get_model('nothing at all');
SELECT signalsmith.get_model('mod_99');
SELECT signalsmith.get_model('mod_99999999999999999999');
SELECT signalsmith.get_model('sync_1');
SELECT signalsmith.get_model(NULL);
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.get_model('Customers');
SELECT signalsmith.get_model('mod_1');
SELECT signalsmith.update_model('Customers', '{"query": "SELECT 1 AS id"}');
SELECT signalsmith.delete_model('Customers');
SELECT count(*) FROM signalsmith.list_models();
-- a table that he may not read is no model of his
SELECT signalsmith.create_model('stolen', 'SELECT * FROM regress_signalsmith_shop.customer', '{id}');

-- a standby, or a read-only transaction, changes nothing
BEGIN READ ONLY;
SELECT signalsmith.create_model('late', 'SELECT 1 AS a', '{a}');
ROLLBACK;

-- errors carry the lines of the caller's own functions, and none of ours
SET ROLE regress_signalsmith_ann;
DO $$ BEGIN PERFORM signalsmith.delete_model('gone'); END $$;
-- and what was caught is undone
DO $$
BEGIN
    PERFORM signalsmith.create_model('caught', 'SELECT 1 AS a', '{a}');
    PERFORM signalsmith.create_model('caught', 'SELECT 1 AS a', '{a}');
EXCEPTION
    WHEN duplicate_object THEN
        RAISE NOTICE 'caught as %, with path %', current_user, current_setting('search_path');
END
$$;

SELECT signalsmith.delete_model(model->>'id') FROM signalsmith.list_models() AS model;
SELECT count(*) FROM signalsmith.list_models();

RESET ROLE;
RESET search_path;
DROP EXTENSION signalsmith;
DROP SCHEMA regress_signalsmith_shop CASCADE;
DROP OWNED BY regress_signalsmith_ann, regress_signalsmith_bob;
DROP ROLE regress_signalsmith_ann, regress_signalsmith_bob;
