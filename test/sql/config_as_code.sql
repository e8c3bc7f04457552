-- Configuration as code: export_config, import_config.
CREATE EXTENSION signalsmith;
SET client_min_messages = warning;
CREATE ROLE regress_signalsmith_ann LOGIN;
CREATE ROLE regress_signalsmith_bob LOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann, regress_signalsmith_bob;
CREATE TABLE people (id int PRIMARY KEY, email text, city text);
CREATE SCHEMA other CREATE TABLE people (id text PRIMARY KEY, email text);
GRANT USAGE ON SCHEMA other TO regress_signalsmith_ann;
GRANT SELECT ON people, other.people TO regress_signalsmith_ann, regress_signalsmith_bob;
RESET client_min_messages;

-- nothing is defined
SELECT signalsmith.export_config();
SELECT * FROM signalsmith.import_config(signalsmith.export_config());

-- what ann manages, and no more
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.create_model('of bob', 'SELECT id FROM people', '{id}');
SET ROLE regress_signalsmith_ann;
SET search_path = other, public;
SELECT signalsmith.create_model('people', 'SELECT * FROM people', '{id}', '{email}');
RESET search_path;
SELECT signalsmith.create_destination('crm', 'webhook', '{"url": "https://example.com/hook", "headers": {"Authorization": "Bearer {{secret.token}}"}}', 'the CRM');
SELECT signalsmith.create_sync('people to crm', 'people', 'crm', 'mirror', '{"email": "Email"}', '{"type": "interval", "interval_minutes": 5}');
SELECT signalsmith.share_destination('crm', 'regress_signalsmith_bob');
SELECT signalsmith.create_alert('people to crm', 'slow', 'crm', '{"seconds": 60}');
SELECT jsonb_pretty(signalsmith.export_config()) AS exported \gset
\echo :exported
-- all of it is there already, and left as it is
SELECT updated_at AS before FROM jsonb_to_record(signalsmith.get_sync('people to crm')) AS s (updated_at text) \gset
SELECT * FROM signalsmith.import_config(:'exported', false);
SELECT updated_at = :'before' AS untouched FROM jsonb_to_record(signalsmith.get_sync('people to crm')) AS s (updated_at text);
-- in other words, too
SELECT * FROM signalsmith.import_config('{"syncs": [{"name": "people to crm", "model_id": "people", "sync_mode": "mirror",
    "field_mapping": [{"source_column": "email", "destination_field": "Email"}]}]}', false);

-- into an empty installation, whatever the search_path is
SELECT signalsmith.delete_sync('people to crm');
SELECT signalsmith.delete_model('people'), signalsmith.delete_destination('crm');
SELECT * FROM signalsmith.import_config(:'exported');
SELECT * FROM signalsmith.list_models();
SELECT * FROM signalsmith.import_config(:'exported', dry_run => false);
SELECT signalsmith.export_config() = :'exported' AS same;
SELECT signalsmith.get_model('people')->'columns' AS columns, signalsmith.get_model('people')->'owner' AS owner;
SELECT * FROM signalsmith.import_config(:'exported', false);

-- changes, one key at a time, in whatever order they are possible
SELECT * FROM signalsmith.import_config('{"destinations": [{"name": "crm", "description": null}], "syncs": [{"name": "people to crm", "schedule": {"type": "manual"}}]}');
SELECT * FROM signalsmith.import_config('{"models": [{"name": "people", "search_path": "public"}],
    "syncs": [{"name": "people to crm", "field_mappings": {"email": "Email", "city": "City"}}]}', false);
SELECT signalsmith.get_model('people')->'columns' AS columns;
SELECT * FROM signalsmith.import_config('{"models": [{"name": "people", "query": "SELECT id, email FROM people"}],
    "syncs": [{"name": "people to crm", "field_mappings": {"email": "Email"}}]}', false);
SELECT jsonb_path_query(signalsmith.export_config(), '$.models[*].search_path') AS search_path;

-- alerts and shares; what delivers alerts is nobody's to configure
SELECT * FROM signalsmith.import_config('{"destinations": [{"name": "crm", "shared_with": []}],
    "alerts": [{"name": "slow: people to crm to crm", "options": {"seconds": 90}}, {"name": "ours", "sync": "*", "condition": "failed", "destination": "crm"}]}', false);
SELECT signalsmith.get_destination('crm')->'shared_with' AS shared_with;
SELECT name, sync, condition, options, destination FROM signalsmith.alerts;
SELECT * FROM signalsmith.import_config(signalsmith.export_config(), false);
SELECT * FROM signalsmith.import_config('{"alerts": [{"name": "ours", "condition": "late"}]}');

-- all or nothing, and a dry run ends with the same error
SELECT * FROM signalsmith.import_config('{"models": [{"name": "new", "query": "SELECT id FROM people", "primary_key": ["id"]}, {"name": "people", "query": "SELECT id FROM people"}]}');
SELECT * FROM signalsmith.import_config('{"models": [{"name": "new", "query": "SELECT id FROM people", "primary_key": ["id"]}, {"name": "people", "query": "SELECT id FROM people"}]}', false);
SELECT signalsmith.get_model('new');
SELECT * FROM signalsmith.import_config('{"syncs": [{"name": "s", "model": "people", "destination": "cmr"}]}');
SELECT * FROM signalsmith.import_config('{"models": [{"name": "m"}]}');
SELECT * FROM signalsmith.import_config('{"destinations": [{"name": "d", "connecter": "webhook"}]}');

-- what is not ann's
SELECT * FROM signalsmith.import_config('{"models": [{"name": "of bob", "query": "SELECT 1 AS id", "primary_key": ["id"]}]}');
SELECT * FROM signalsmith.import_config('{"connectors": [{"name": "mine", "manifest": {}}]}');
RESET ROLE;
GRANT signalsmith_viewer TO regress_signalsmith_ann;
SET ROLE regress_signalsmith_ann;
SELECT * FROM signalsmith.import_config('{"models": [{"name": "of bob", "query": "SELECT 1 AS id"}]}');
SELECT jsonb_path_query(signalsmith.export_config(), '$.models[*].name');
RESET ROLE;

-- connectors
SELECT * FROM signalsmith.import_config('{"connectors": [{"name": "webhook", "manifest": {}}]}');
SELECT * FROM signalsmith.import_config('{"connectors": [{"name": "ours", "manifest": []}]}');
SELECT * FROM signalsmith.import_config('{"connectors": [{"name": "ours", "manifest": {"base_url": "https://example.com",
        "operations": {"upsert": {"request": {"method": "POST", "path": "/records"}}}}}],
    "destinations": [{"name": "ours", "connector": "ours"}]}', false);
SELECT * FROM signalsmith.import_config('{"connectors": [{"name": "ours", "manifest": {"base_url": "example.com"}}]}', false);
SELECT signalsmith.export_config()->'connectors';
SELECT * FROM signalsmith.import_config(signalsmith.export_config(), false);

-- what is no configuration
SELECT * FROM signalsmith.import_config(NULL);
SELECT * FROM signalsmith.import_config('[]');
SELECT * FROM signalsmith.import_config('{"sync": []}');
SELECT * FROM signalsmith.import_config('{"format": 2}');
SELECT * FROM signalsmith.import_config('{"syncs": {}}');
SELECT * FROM signalsmith.import_config('{"syncs": [{"model": "people"}]}');
SELECT * FROM signalsmith.import_config('{"models": [{"name": "a"}, {"name": "a"}]}');

SET client_min_messages = warning;
DROP EXTENSION signalsmith;
DROP TABLE people;
DROP SCHEMA other CASCADE;
DROP OWNED BY regress_signalsmith_ann, regress_signalsmith_bob;
DROP ROLE regress_signalsmith_ann, regress_signalsmith_bob;
