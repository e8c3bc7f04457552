-- Syncs and destinations: what is accepted, what is refused and how that is said.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann;
SET ROLE regress_signalsmith_ann;

SELECT signalsmith.create_model('customers',
    $$SELECT 1::bigint AS id, 'a@example.com' AS email, 'Ann' AS first_name, 12.50 AS lifetime_value$$,
    '{id}', '{email}');
SELECT signalsmith.create_destination('crm', 'webhook', '{"url": "https://example.com/hook"}', 'the CRM');

-- destinations
SELECT jsonb_pretty(signalsmith.get_destination('crm') - '{created_at,updated_at}'::text[]);
SELECT signalsmith.create_destination('bad', 'webhok', '{"url": "https://example.com/hook"}');
SELECT signalsmith.create_destination('bad', NULL);
SELECT signalsmith.create_destination('bad', 'webhook', '[]');
SELECT signalsmith.create_destination('crm', 'webhook', '{"url": "https://example.com/hook"}');
SELECT signalsmith.create_destination('dst_1', 'webhook', '{"url": "https://example.com/hook"}');
SELECT signalsmith.update_destination('crm', '{"conifg": {}}');
SELECT signalsmith.update_destination('crm', '{"config": {"url": "https://example.com/other"}, "description": null}');
SELECT signalsmith.get_destination('dst_1')->'config', signalsmith.get_destination('dst_1')->'description';
SELECT signalsmith.get_destination('crn');
SELECT signalsmith.set_secret('crm', 'signing_secert', 'hush');
SELECT signalsmith.set_secret('crm', 'signing_secret', 'hush!');
SELECT signalsmith.set_secret('crm', 'signing_secret', 'whsec_aHVzaCBodXNo');

-- the body of the product's own documentation
SELECT signalsmith.create_sync('{"name":"Active Customers to CRM","model_id":"mod_1","destination_id":"dst_1","mode":"upsert","schedule":{"type":"interval","interval_minutes":60},
"field_mappings":[{"source":"email","destination":"Email"},{"source":"first_name","destination":"FirstName"},{"source":"lifetime_value","destination":"LTV__c"}]}');
-- its other spelling
SELECT signalsmith.create_sync('{"name":"other spelling","model":"customers","destination":"crm","sync_mode":"mirror","config":{"batch_size":50},"object":null,
"field_mapping":[{"source_column":"email","destination_field":"Email"}]}');
-- and arguments
SELECT signalsmith.create_sync('plain', 'customers', 'crm');
SELECT signalsmith.create_sync('short', model => 'mod_1', destination => 'dst_1', mode => 'insert',
    field_mappings => '{"email": "Email", "id": "Id"}', schedule => '{"type":"interval","interval_seconds":90}',
    options => '{"max_attempts": 3, "timeout_seconds": 2.50, "on_null": "omit", "error_after": null}');
SELECT signalsmith.create_sync('all kinds', 'customers', 'crm', 'update', field_mappings => '[
    {"source": "id", "destination": "Id", "identifier": true},
    {"constant": null, "destination": "Nothing", "identifier": false},
    {"constant": {"a": [1, 2.50]}, "destination": "Fixed"},
    {"expression": "upper(first_name)", "destination": "name.upper"},
    {"source": "first_name", "destination": "name.first"}]', description => 'every kind');
SELECT sync->>'id' AS id, sync->>'name' AS name, sync->>'mode' AS mode, sync->>'status' AS status,
    sync->'schedule' AS schedule, sync->'options' AS options, sync->'field_mappings' AS field_mappings
FROM signalsmith.list_syncs() AS sync \gx
SELECT jsonb_pretty(signalsmith.get_sync('all kinds') - '{created_at,updated_at}'::text[]);
-- an interval is due one interval after it was defined
SELECT sync->>'name' AS name, (sync->>'next_run_at')::timestamptz - (sync->>'created_at')::timestamptz AS due_after
FROM signalsmith.list_syncs() AS sync WHERE sync->>'next_run_at' IS NOT NULL;
SELECT id, name, model, destination, mode, status, schedule, rows_in_snapshot, owner FROM signalsmith.syncs;

-- keys
SELECT signalsmith.create_sync('{"name":"bad","model":"customers","destinaton":"crm"}');
SELECT signalsmith.create_sync('{"name":"bad","model":"customers","model_id":"mod_1","destination":"crm"}');
SELECT signalsmith.create_sync('{"model":"customers","destination":"crm"}');
SELECT signalsmith.create_sync('{"name":"bad","destination":"crm"}');
SELECT signalsmith.create_sync('{"name":"bad","model":"customers","destination":null}');
SELECT signalsmith.create_sync('{"name":["bad"],"model":"customers","destination":"crm"}');
SELECT signalsmith.create_sync('"bad"'::jsonb);
SELECT signalsmith.create_sync(NULL::jsonb);

-- names
SELECT signalsmith.create_sync('plain', 'customers', 'crm');
SELECT signalsmith.create_sync('run_1', 'customers', 'crm');
SELECT signalsmith.create_sync(' ', 'customers', 'crm');
SELECT signalsmith.create_sync('bad', 'customer', 'crm');
SELECT signalsmith.create_sync('bad', 'customers', 'cmr');
SELECT signalsmith.create_sync('bad', 'dst_1', 'crm');

-- mode, schedule, options
SELECT signalsmith.create_sync('bad', 'customers', 'crm', 'upsret');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', 'replicate');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"intervall"}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '5');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"interval"}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"interval","interval_minutes":1,"interval_seconds":1}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"interval","interval_hours":1}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"interval","interval_minutes":0}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"interval","interval_minutes":1.5}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"interval","interval_minutes":"60"}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"interval","interval_minutes":1e300}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"manual","interval_minutes":5}');
-- (the hint names a package of the server's version)
\set VERBOSITY terse
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"cron","expression":"0 9 * * 1-5"}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '"0 */6 * * *"');
\set VERBOSITY default
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '"0 25 * * *"');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"cron"}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', schedule => '{"type":"cron","expression":"0 9 * * *","tz":"UTC"}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', options => '{"batchsize": 5}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', options => '{"timeout": 5}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', options => '{"batch_size": 0}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', options => '{"batch_size": "5"}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', options => '{"max_in_flight": 2.5}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', options => '{"max_delete_percent": 101}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', options => '{"on_null": "skip"}');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', options => '[]');

-- field mappings
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":"emial","destination":"Email"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":"id","destination":"X"},{"source":"email","destination":"X"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":"id","destination":"a"},{"source":"email","destination":"a.b"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":"id","destination":"a..b"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":"id"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"destination":"X"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":"id","constant":1,"destination":"X"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":"id","destination":"X","indentifier":true}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":"id","destination":"X","identifier":"yes"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"constant":1,"destination":"X","identifier":true}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":"id","destination":"X","identifier":true},{"source":"email","destination":"Y","identifier":true}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"source":5,"destination":"X"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '["email"]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '"email"');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '{"email": 1}');
-- expressions are checked against the model
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"expression":"upper(first_nam)","destination":"X"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"expression":"upper(id)","destination":"X"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"expression":"1 FROM pg_class; SELECT 1","destination":"X"}]');
SELECT signalsmith.create_sync('bad', 'customers', 'crm', field_mappings => '[{"expression":"","destination":"X"}]');

-- nothing of all that was stored
SELECT count(*) FROM signalsmith.list_syncs();

-- changes
SELECT signalsmith.update_sync('plain', '{"name": "renamed", "sync_mode": "append", "schedule": {"type":"interval","interval_minutes":1}, "object": "contact", "options": {"batch_size": 10}}');
SELECT signalsmith.get_sync('renamed') - '{created_at,updated_at,next_run_at}'::text[];
SELECT signalsmith.update_sync('sync_3', '{"schedule": {"type":"manual"}, "object": null, "options": null, "field_mappings": [{"source": "id", "destination": "id"}]}');
SELECT signalsmith.get_sync('renamed') - '{created_at,updated_at}'::text[];
SELECT signalsmith.update_sync('renamed', '{"field_mappings": null, "name": "plain"}');
SELECT signalsmith.update_sync('plain', '{"model": null}');
SELECT signalsmith.update_sync('plain', '{"mode": null}');
SELECT signalsmith.update_sync('plain', '{"schedule": null}');
SELECT signalsmith.update_sync('plain', '{"modus": "append"}');
SELECT signalsmith.update_sync('plain', '{"name": "short"}');
SELECT signalsmith.update_sync('palin', '{}');

-- a model that loses a column takes no sync with it
SELECT signalsmith.update_model('customers', '{"query": "SELECT 1::bigint AS id, ''x'' AS email"}');
SELECT signalsmith.get_model('customers')->'columns';

-- what is in use stays
SELECT signalsmith.delete_model('customers');
SELECT signalsmith.delete_destination('crm');
SELECT signalsmith.delete_sync(sync->>'name') FROM signalsmith.list_syncs() AS sync;
SELECT signalsmith.delete_sync('plain');
SELECT signalsmith.delete_destination('crm'), signalsmith.delete_model('customers');

RESET ROLE;
DROP EXTENSION signalsmith;
DROP ROLE regress_signalsmith_ann;
