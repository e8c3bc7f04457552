-- Connectors that are not built in: create_connector, update_connector, delete_connector, get_connector.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
CREATE ROLE regress_signalsmith_bob LOGIN;
CREATE ROLE regress_signalsmith_adm LOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann, regress_signalsmith_bob;
GRANT signalsmith_user, signalsmith_admin TO regress_signalsmith_adm;
\set SHOW_CONTEXT never

SET ROLE regress_signalsmith_ann;
SELECT signalsmith.create_connector('shelf', '{
    "description": "books on a shelf",
    "config": {"shelf": {"type": "string", "required": true}, "region": {"type": "string", "enum": ["eu", "us"], "required": true},
               "depth": {"type": "integer", "minimum": 3, "required": true}},
    "secrets": {"key": {"description": "from the settings page"}},
    "base_url": "https://{{config.region}}.shelf.example.com",
    "auth": {"header": {"X-Key": "{{secret.key}}"}},
    "operations": {
        "create": {"request": {"method": "POST", "path": "/{{config.shelf}}/books", "body": {"title": "{{row.title}}", "depth": "{{config.depth}}"}},
                   "respond": {"rows": {"id": "$.id"}}},
        "update": {"request": {"method": "PUT", "path": "/{{config.shelf}}/books/{{id}}"}}}}');

-- faults are named by their path, whatever the config may be
SELECT signalsmith.create_connector('bad', '{"base_url": "https://example.com"}');
SELECT signalsmith.create_connector('bad', '{"base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST", "pth": "/"}}}}');
SELECT signalsmith.create_connector('bad', '{"config": {"a": {"typ": "string"}}, "base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST"}}}}');
SELECT signalsmith.create_connector('bad', '{"config": [], "base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST"}}}}');
SELECT signalsmith.create_connector('bad', '{"base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST", "body": "{{config.b}}"}}}}');
SELECT signalsmith.create_connector('bad', '{"manifest_in_config": true}');
SELECT signalsmith.create_connector('bad', '[]');
SELECT signalsmith.create_connector('bad', NULL);
SELECT signalsmith.create_connector(NULL, '{}');
SELECT signalsmith.create_connector('shelf', '{"base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST"}}}}');
SELECT signalsmith.create_connector('webhook', '{"base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST"}}}}');

-- it is used as any other
SELECT signalsmith.create_destination('books', 'shelf', '{"region": "asia", "shelf": "a", "depth": 5}');
SELECT signalsmith.create_destination('books', 'shelf', '{"region": "eu", "shelf": "a", "depth": 5}');
SELECT signalsmith.set_secret('books', 'kee', 'hush');
SELECT signalsmith.create_model('titles', $$SELECT 1 AS id, 'Emma' AS title$$, '{id}');
SELECT signalsmith.create_sync('books', 'titles', 'books', 'mirror');
SELECT signalsmith.create_sync('books', 'titles', 'books');
SELECT signalsmith.render_request('books', 'create', '{"key": {"id": 1}, "data": {"title": "Emma"}}');
SELECT signalsmith.get_connector('shelf') - '{created_at,updated_at,manifest}'::text[];
SELECT signalsmith.get_connector('shelf')->'manifest'->'secrets';

-- nobody else's: it would say where his secrets go
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.create_destination('books of bob', 'shelf', '{"region": "eu", "shelf": "b", "depth": 5}');
SELECT signalsmith.get_connector('shelf');
SELECT signalsmith.update_connector('shelf', '{}');
SELECT signalsmith.delete_connector('shelf');
SELECT signalsmith.create_connector('shelf', '{"base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST"}}}}');
SELECT * FROM signalsmith.import_config('{"connectors": [{"name": "shelf", "manifest": {}}], "models": [], "destinations": [], "syncs": []}');

-- a change that a destination or a sync would not survive is refused
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.update_connector('shelf', jsonb_set(signalsmith.get_connector('shelf')->'manifest', '{config,city}', '{"type": "string", "required": true}'));
SELECT signalsmith.update_connector('shelf', (signalsmith.get_connector('shelf')->'manifest') #- '{operations,update}');
SELECT signalsmith.update_connector('shelf', jsonb_set(signalsmith.get_connector('shelf')->'manifest', '{operations,delete}', '"remove"'));
SELECT signalsmith.update_connector('shelf', jsonb_set(signalsmith.get_connector('shelf')->'manifest', '{operations,delete}',
    '{"request": {"method": "DELETE", "path": "/{{config.shelf}}/books/{{id}}"}}'));
SELECT signalsmith.update_sync('books', '{"mode": "mirror"}');
SELECT signalsmith.delete_connector('shelf');
SELECT signalsmith.update_connector('webhook', '{}');
SELECT signalsmith.delete_connector('http');
SELECT signalsmith.delete_connector('shelv');
SELECT signalsmith.delete_connector(NULL);

-- what an admin offers is for everybody but superusers, as long as he is one
SET ROLE regress_signalsmith_adm;
SELECT signalsmith.create_connector('office', '{"base_url": "https://office.example.com", "operations": {"create": {"request": {"method": "POST"}}}}');
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.create_destination('office', 'office');
SELECT signalsmith.create_model('people', 'SELECT 1 AS id', '{id}');
SELECT signalsmith.create_sync('people', 'people', 'office', 'append');
SELECT signalsmith.update_connector('office', '{}');
SET ROLE regress_signalsmith_adm;
SELECT signalsmith.delete_connector('office');
SELECT signalsmith.update_connector('office', '{"config": {"room": {"type": "string", "required": true}}, "base_url": "https://office.example.com", "operations": {"create": {"request": {"method": "POST"}}}}');
RESET ROLE;
SELECT signalsmith.create_destination('office of root', 'office');
REVOKE signalsmith_admin FROM regress_signalsmith_adm;
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.trigger_sync('people');
SELECT signalsmith.create_destination('office 2', 'office');

-- gone
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.delete_sync('books'), signalsmith.delete_destination('books'), signalsmith.delete_connector('shelf');
SELECT signalsmith.get_connector('shelf');

RESET ROLE;
DROP EXTENSION signalsmith CASCADE;
DROP ROLE regress_signalsmith_ann, regress_signalsmith_bob, regress_signalsmith_adm;
