-- Commands that drop or change what models read tell so, or are refused.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
CREATE ROLE regress_signalsmith_bob LOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann, regress_signalsmith_bob;
CREATE SCHEMA shop AUTHORIZATION regress_signalsmith_ann;
GRANT USAGE ON SCHEMA shop TO regress_signalsmith_bob;
SET ROLE regress_signalsmith_ann;
SET search_path = shop;
\set quiet '\\g /dev/null'
CREATE TABLE people (id int PRIMARY KEY, email text, note varchar(10), age int, country text DEFAULT 'at');
CREATE TABLE orders (id int, person int, total numeric) PARTITION BY RANGE (id);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (100);
CREATE VIEW adults AS SELECT id, email FROM people WHERE age > 17;
CREATE MATERIALIZED VIEW totals AS SELECT id, age AS total FROM people;
GRANT SELECT ON ALL TABLES IN SCHEMA shop TO regress_signalsmith_bob;

SELECT signalsmith.create_model('people', 'SELECT id, email, note FROM people WHERE country = ''at''', '{id}') :quiet
SELECT signalsmith.create_model('adults', 'SELECT * FROM adults', '{id}') :quiet
SELECT signalsmith.create_model('totals', 'WITH t AS (SELECT total, id FROM totals) SELECT p.id, (SELECT max(total) FROM t WHERE t.id = p.id) AS total FROM people p', '{id}') :quiet
SELECT signalsmith.create_model('rows', 'SELECT o.id, o AS whole FROM orders_1 o', '{id}') :quiet
SELECT signalsmith.create_model('constant', 'SELECT 1 AS id', '{id}') :quiet
SELECT signalsmith.create_destination('hook', 'webhook', '{"url": "https://example.com/hook"}') :quiet
SELECT signalsmith.create_sync('people to crm', 'people', 'hook') :quiet
SELECT signalsmith.create_sync('people to ads', 'people', 'hook') :quiet
SELECT signalsmith.create_sync('adults', 'adults', 'hook') :quiet
RESET ROLE;
SELECT name, relation_name, i.columns FROM signalsmith.model_input i JOIN signalsmith.model m ON m.id = model_id ORDER BY m.id, relation_name;
SET ROLE regress_signalsmith_ann;

-- dropped: a column, a table, a view, with what depends on it
BEGIN;
ALTER TABLE people DROP COLUMN note;
ROLLBACK;
BEGIN;
ALTER TABLE people DROP COLUMN country, DROP COLUMN email CASCADE;
ROLLBACK;
BEGIN;
DROP MATERIALIZED VIEW totals;
ROLLBACK;
BEGIN;
DROP TABLE orders CASCADE;
ROLLBACK;
BEGIN;
DROP SCHEMA shop CASCADE;
ROLLBACK;

-- renamed
BEGIN;
ALTER TABLE people RENAME COLUMN email TO mail;
ROLLBACK;
BEGIN;
ALTER TABLE people RENAME TO persons;
-- not again
ALTER TABLE persons RENAME TO folks;
-- and back is no harm
ALTER TABLE folks RENAME TO people;
ROLLBACK;
BEGIN;
ALTER VIEW adults RENAME TO grown;
ROLLBACK;
RESET ROLE;
BEGIN;
ALTER TABLE shop.people SET SCHEMA public;
ROLLBACK;
BEGIN;
ALTER SCHEMA shop RENAME TO store;
ROLLBACK;
SET ROLE regress_signalsmith_ann;

-- of another type; in a partition too
BEGIN;
ALTER TABLE people ALTER COLUMN note TYPE char(5), ALTER COLUMN country TYPE name;
ROLLBACK;
BEGIN;
ALTER TABLE orders ALTER COLUMN total TYPE float8;
ROLLBACK;

-- innocent commands: none of these says anything
BEGIN;
ALTER TABLE people ALTER COLUMN note TYPE varchar(20), ALTER COLUMN country DROP DEFAULT, ADD COLUMN more int;
ALTER TABLE people RENAME COLUMN more TO less;
ALTER TABLE people DROP COLUMN less;
ALTER TABLE people RENAME CONSTRAINT people_pkey TO pk;
ALTER TABLE people OWNER TO regress_signalsmith_ann;
CREATE OR REPLACE VIEW adults AS SELECT id, email, age FROM people WHERE age > 18;
CREATE TABLE other (id int);
ALTER TABLE other RENAME TO another;
DROP TABLE another;
CREATE TEMP TABLE people (id int);
DROP TABLE pg_temp.people;
CREATE INDEX ON people (email);
DROP INDEX people_email_idx;
ALTER TABLE IF EXISTS nothing DROP COLUMN email;
ROLLBACK;

-- a model with another query is hit no more; one that is gone neither
BEGIN;
SELECT signalsmith.update_model('people', '{"query": "SELECT id, email, ''none'' AS note FROM people"}') :quiet
ALTER TABLE people DROP COLUMN note;
SELECT signalsmith.delete_model('rows') :quiet
DROP TABLE orders CASCADE;
ROLLBACK;

-- of others' models no names
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.create_model('secret plan', 'SELECT id, age FROM people', '{id}') :quiet
SET ROLE regress_signalsmith_ann;
BEGIN;
ALTER TABLE people DROP COLUMN age CASCADE;
ROLLBACK;

-- refused
SET signalsmith.protect_models = on;
RESET ROLE;
SET signalsmith.protect_models = on;
SET ROLE regress_signalsmith_ann;
ALTER TABLE people DROP COLUMN note;
ALTER TABLE people RENAME COLUMN email TO mail;
ALTER TABLE people RENAME TO persons;
DROP VIEW adults;
ALTER TABLE people ALTER COLUMN note TYPE text;
ALTER TABLE people ADD COLUMN more int;
ALTER TABLE people DROP COLUMN more;
RESET ROLE;

-- while somebody upgrades the extension, commands do not wait for us
SET signalsmith.protect_models = off;
BEGIN;
LOCK TABLE signalsmith.model_input IN ACCESS EXCLUSIVE MODE;
\setenv PGDATABASE :DBNAME
\! psql -X -q -c "SET lock_timeout = '1s'; ALTER TABLE shop.people DROP COLUMN note" 2>&1
ROLLBACK;

-- and nothing of it outlives the extension
DROP EXTENSION signalsmith;
SELECT evtname FROM pg_event_trigger;
DROP SCHEMA shop CASCADE;
RESET search_path;
DROP ROLE regress_signalsmith_ann, regress_signalsmith_bob;
