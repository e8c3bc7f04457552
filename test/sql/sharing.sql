-- Destinations that others may use: share_destination, unshare_destination.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
CREATE ROLE regress_signalsmith_bob LOGIN;
CREATE ROLE regress_signalsmith_vic LOGIN;
CREATE ROLE "regress_signalsmith 'team'" NOLOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann, regress_signalsmith_bob;
GRANT signalsmith_viewer TO regress_signalsmith_vic;

SET ROLE regress_signalsmith_ann;
SELECT signalsmith.create_destination('crm', 'webhook',
    '{"url": "https://example.com:8443/hooks/T0/hush?token=hush", "headers": {"X-Api-Key": "hush", "X-Team": "hush"}, "batch_size": 50}');
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.create_model('m', 'SELECT 1 AS id', '{id}');
SELECT signalsmith.create_sync('s', 'm', 'crm');

-- only who manages it shares it
SELECT signalsmith.share_destination('crm', 'regress_signalsmith_bob');
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.share_destination('crm', 'regress_signalsmith_bop');
SELECT signalsmith.share_destination('crm', 'public');
SELECT signalsmith.share_destination('crm', NULL);
SELECT signalsmith.unshare_destination('crm', 'regress_signalsmith_bob');
SELECT signalsmith.share_destination('crm', $$regress_signalsmith 'team'$$);
SELECT signalsmith.share_destination('crm', $$regress_signalsmith 'team'$$);
SELECT signalsmith.unshare_destination('crm', 'regress_signalsmith_bob');
SELECT signalsmith.get_destination('crm')->'shared_with';

-- members of the role may use it, but neither change nor share it
RESET ROLE;
GRANT "regress_signalsmith 'team'" TO regress_signalsmith_bob;
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.create_sync('s', 'm', 'crm');
SELECT signalsmith.create_sync('t', 'm', 'dst_1');
SELECT signalsmith.update_destination('crm', '{"description": "mine"}');
SELECT signalsmith.set_secret('crm', 'signing_secret', 'mine');
SELECT signalsmith.share_destination('crm', 'regress_signalsmith_vic');
SELECT signalsmith.unshare_destination('crm', $$regress_signalsmith 'team'$$);
SELECT signalsmith.delete_destination('crm');
-- what gives access is not shown to them, nor to viewers
SELECT signalsmith.get_destination('crm') - '{created_at,updated_at}'::text[];
SELECT destination->'config' = signalsmith.get_destination('crm')->'config' AS same FROM signalsmith.list_destinations() AS destination;
SELECT r->>'url' AS url, r#>>'{headers,X-Api-Key}' AS header FROM signalsmith.render_request('crm', 'create', '{"key": {"id": 1}, "data": {"id": 1}}') AS r;
SET ROLE regress_signalsmith_vic;
SELECT r->>'url' AS url, r#>>'{headers,X-Api-Key}' AS header FROM signalsmith.render_request('crm', 'create', '{"key": {"id": 1}, "data": {"id": 1}}') AS r;
SELECT signalsmith.get_destination('crm') - '{created_at,updated_at}'::text[];
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.get_destination('crm')->'config' = '{"url": "https://example.com:8443/hooks/T0/hush?token=hush", "headers": {"X-Api-Key": "hush", "X-Team": "hush"}, "batch_size": 50}' AS whole;
RESET ROLE;
SELECT config, signalsmith._redacted_config(config::jsonb) FROM unnest(ARRAY['{}', '[]', 'null', '"https://example.com"', '"https://example.com/"', '"http://a:b@example.com"',
    '"https://example.com?key=1"', '{"Headers": "X-Key: 1"}', '{"base_url": "https://example.com/v1", "operations": {"create": {"headers": {"A": {"b": 1}}, "query": {"token": "hush", "id": "{{key}}"}, "path": "/contacts/{id}", "codes": [200, 201]}}}']) AS config;

-- the destination's owner sees neither the syncs that use it nor what is in them
SET ROLE regress_signalsmith_ann;
SELECT count(*) FROM signalsmith.syncs;
SELECT signalsmith.delete_destination('crm');

-- the right is asked for before each run
RESET ROLE;
SELECT signalsmith._obstacle_of(1);
REVOKE "regress_signalsmith 'team'" FROM regress_signalsmith_bob;
SELECT signalsmith._obstacle_of(1);
GRANT "regress_signalsmith 'team'" TO regress_signalsmith_bob;
SET ROLE regress_signalsmith_ann;
SELECT signalsmith.unshare_destination('crm', $$regress_signalsmith 'team'$$);
RESET ROLE;
SELECT signalsmith._obstacle_of(1);
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.get_destination('crm');
SELECT count(*) FROM signalsmith.list_destinations();
SELECT signalsmith.update_sync('s', '{"destination": "dst_1"}');
-- the sync stays, and what it does not need the right for works
SELECT signalsmith.update_sync('s', '{"description": "stranded"}');
SELECT destination, status FROM signalsmith.syncs;
SELECT signalsmith.delete_sync('s'), signalsmith.delete_sync('t');

-- a role that is gone shares nothing
RESET ROLE;
SELECT signalsmith.share_destination('crm', $$regress_signalsmith 'team'$$);
DROP ROLE "regress_signalsmith 'team'";
SELECT signalsmith.get_destination('crm')->'shared_with';
SELECT signalsmith.share_destination('crm', 'signalsmith_user');
SELECT role FROM signalsmith.destination_share;
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.create_sync('s', 'm', 'crm');
RESET ROLE;

DROP EXTENSION signalsmith;
DROP ROLE regress_signalsmith_ann, regress_signalsmith_bob, regress_signalsmith_vic;
