-- What a sync to a table must be, said when it is saved.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_writer LOGIN IN ROLE signalsmith_user;
CREATE SCHEMA crm AUTHORIZATION regress_signalsmith_writer;
CREATE SCHEMA theirs;
GRANT CREATE ON SCHEMA public TO regress_signalsmith_writer;
CREATE TABLE theirs.vault (id int PRIMARY KEY, email text);
SET SESSION AUTHORIZATION regress_signalsmith_writer;
CREATE TABLE people (id int PRIMARY KEY, region int, email text, plan text);
CREATE TABLE crm.contacts (id int PRIMARY KEY, email text NOT NULL, plan text DEFAULT 'free', address jsonb,
    size int GENERATED ALWAYS AS (length(email)) STORED, serial int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE crm."Odd Name" ("The Id" int, email text, doc json, UNIQUE ("The Id") DEFERRABLE);
CREATE VIEW crm.updatable AS SELECT id, email FROM crm.contacts;
CREATE VIEW crm.counted AS SELECT id, max(email) AS email FROM crm.contacts GROUP BY id;
CREATE SEQUENCE crm.numbers;
CREATE TEMP TABLE passing (id int PRIMARY KEY, email text);
SELECT signalsmith.create_model('people', 'SELECT id, region, email, plan FROM people', ARRAY['id']);
SELECT signalsmith.create_model('regions', 'SELECT id, region, email FROM people', ARRAY['region', 'id']);

-- The destination
SELECT signalsmith.create_destination('bad', 'postgresql', '{"shema": "crm"}');
SELECT signalsmith.create_destination('bad', 'postgresql', '{"base_url": "https://example.com"}');
SELECT signalsmith.create_destination('bad', 'http', '{"table": {"schema": "crm"}}');
SELECT signalsmith.create_destination('crm', 'postgresql', '{"schema": "crm"}');
SELECT * FROM signalsmith.test_destination('crm');

-- A connector of one's own
SELECT signalsmith.create_connector('bad', '{"table": {"schema": "crm"}}');
SELECT signalsmith.create_connector('bad', '{"table": {"schema": "{{secret.x}}"}, "operations": {"upsert": {}}}');
SELECT signalsmith.create_connector('bad', '{"table": {"schema": "crm"}, "operations": {"upsert": {"request": {}}}}');
SELECT signalsmith.create_connector('bad', '{"table": {"schema": "crm"}, "operations": {"upsert": {}}, "auth": {}}');
SELECT signalsmith.create_connector('careful', '{"description": "never deletes", "table": {"schema": "crm"}, "operations": {"upsert": {"batch": {"max_records": 10}}}}');
SELECT modes FROM signalsmith.list_connectors() WHERE connector = 'careful';
SELECT signalsmith.create_destination('careful', 'careful');
SELECT signalsmith.create_sync('s', 'people', 'careful', 'mirror', '{"id": "id", "email": "email"}', object => 'contacts');

-- The table
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'contact');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'nowhere.contacts');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'a.b.c');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'contacts; DROP TABLE people');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'counted');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'numbers');
SELECT pg_my_temp_schema()::regnamespace::text || '.passing' AS passing \gset
\set VERBOSITY sqlstate
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => :'passing');
\set VERBOSITY default
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'signalsmith.secret');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'pg_catalog.pg_class');

-- Its columns
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "emial"}', object => 'contacts');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "size"}', object => 'contacts');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email", "region": "serial"}', object => 'contacts');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email.work"}', object => 'contacts');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "plan": "plan"}', object => 'contacts');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'update', '{"id": "id"}', object => 'contacts');

-- Which row a record is
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"email": "email"}', object => 'contacts');
SELECT signalsmith.create_sync('s', 'regions', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'contacts');
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert',
    '[{"source": "id", "destination": "The Id"}, {"source": "email", "destination": "doc", "identifier": true}]', object => '"Odd Name"');

-- Rights, of the sync's owner
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'theirs.vault');
RESET SESSION AUTHORIZATION;
GRANT USAGE ON SCHEMA theirs TO regress_signalsmith_writer;
GRANT SELECT (id), INSERT, UPDATE (id) ON theirs.vault TO regress_signalsmith_writer;
SET SESSION AUTHORIZATION regress_signalsmith_writer;
SELECT signalsmith.create_sync('s', 'people', 'crm', 'upsert', '{"id": "id", "email": "email"}', object => 'theirs.vault');
SELECT signalsmith.create_sync('vault', 'people', 'crm', 'append', '{"id": "id", "email": "email"}', object => 'theirs.vault');
RESET SESSION AUTHORIZATION;
GRANT UPDATE ON theirs.vault TO regress_signalsmith_writer;
SET SESSION AUTHORIZATION regress_signalsmith_writer;
SELECT signalsmith.update_sync('vault', '{"mode": "upsert"}');
SELECT signalsmith.update_sync('vault', '{"mode": "mirror"}');

-- What is accepted, and what it does
SELECT signalsmith.create_sync('contacts', 'people', 'crm', 'mirror',
    '{"id": "id", "email": "email", "plan": "address.plan"}', object => 'contacts');
SELECT signalsmith.create_sync('view', 'people', 'crm', 'mirror', '{"id": "id", "email": "email"}', object => 'updatable');
SELECT signalsmith.create_sync('odd', 'people', 'crm', 'append', '{"id": "The Id", "plan": "email"}', object => '"Odd Name"');
SELECT signalsmith.create_sync('update', 'people', 'crm', 'update', '{"id": "id", "plan": "plan"}', object => 'contacts', options => '{"on_null": "omit"}');
SELECT signalsmith.create_sync('omitting', 'people', 'crm', 'upsert', '{"id": "id", "email": "email", "plan": "plan"}', object => 'contacts', options => '{"on_null": "omit"}');
SELECT signalsmith.create_sync('by email', 'people', 'crm', 'upsert',
    '[{"source": "email", "destination": "email", "identifier": true}, {"source": "plan", "destination": "plan"}, {"source": "id", "destination": "id"}]', object => 'contacts');
INSERT INTO people VALUES (1, 10, 'ann@example.com', 'pro'), (2, 10, 'bob@example.com', NULL);
\set show 'SELECT method, url, headers->>''statement'' AS statement, body FROM signalsmith.preview_requests'
\x
:show('contacts');
:show('view');
:show('odd');
:show('update');
:show('omitting');
:show('by email');
\x

-- A record without what identifies it
INSERT INTO people VALUES (3, 10, NULL, 'pro');
SELECT body FROM signalsmith.preview_requests('by email');

-- Records that somebody makes up
SELECT signalsmith.render_request('crm', 'delete', '[{"key": {"id": 1}}, {"key": {"id": 2}}]', 'contacts')->>'statement' AS statement;
SELECT signalsmith.render_request('crm', 'delete', '{"key": {"id": 1, "email": "a"}}', 'contacts');
SELECT signalsmith.render_request('crm', 'create', '{"key": {"id": 1}, "data": {"id": 1, "nmae": "Ann"}}', 'contacts');
SELECT signalsmith.render_request('crm', 'create', '{"key": {"id": 1}}');
SELECT * FROM signalsmith.interpret_answer('crm', 'create', '{"key": {"id": 1}}', 200, object => 'contacts');

-- The table goes away, or its rights do
SELECT * FROM signalsmith.test_destination('crm') WHERE detail ~ 'contacts"|vault';
ALTER TABLE crm.contacts RENAME TO contacts_of_old;
RESET SESSION AUTHORIZATION;
REVOKE ALL ON theirs.vault FROM regress_signalsmith_writer;
SET SESSION AUTHORIZATION regress_signalsmith_writer;
SELECT * FROM signalsmith.test_destination('crm') WHERE detail ~ 'contacts"|vault';
SELECT signalsmith.update_destination('crm', '{"config": {"schema": "public"}}');
RESET SESSION AUTHORIZATION;
DROP EXTENSION signalsmith CASCADE;
DROP SCHEMA crm, theirs CASCADE;
DROP OWNED BY regress_signalsmith_writer;
DROP ROLE regress_signalsmith_writer;
