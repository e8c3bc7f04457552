-- What a connector's objects require of a sync.
CREATE EXTENSION signalsmith;
CREATE TABLE people (id int PRIMARY KEY, email text, plan text);
SELECT signalsmith.create_model('people', 'SELECT id, email, plan FROM people', ARRAY['id']);

-- The destination's config
SELECT signalsmith.create_destination('bad', 'braze', '{}');
SELECT signalsmith.create_destination('bad', 'braze', '{"instance": 1}');
SELECT signalsmith.create_destination('bad', 'braze', '{"instance": "iad-01", "api_key": "x"}');
SELECT signalsmith.create_destination('bad', 'braze', '{"instance": "iad-01", "base_url": "ftp://example.com"}');
SELECT signalsmith.create_destination('bad', 'customerio', '{"region": "uk"}');
SELECT signalsmith.create_destination('bad', 'clavio');
SELECT signalsmith.create_destination('segment', 'segment');
SELECT signalsmith.create_destination('klaviyo', 'klaviyo');
SELECT signalsmith.create_destination('attio', 'attio', '{"base_url": "https://proxy.example.com/attio"}');
SELECT signalsmith.create_destination('mixpanel', 'mixpanel');

-- Which object, and which mode
SELECT signalsmith.create_sync('s', 'people', 'segment');
SELECT signalsmith.create_sync('s', 'people', 'segment', object => 'identfy');
SELECT signalsmith.create_sync('s', 'people', 'segment', 'mirror', object => 'identify');
SELECT signalsmith.create_sync('s', 'people', 'segment', 'upsert', '{"email": "user_id", "plan": "event"}', object => 'track');
SELECT signalsmith.create_sync('s', 'people', 'attio');

-- Required fields: all of them, but not of what is only updated
SELECT signalsmith.create_sync('s', 'people', 'segment', 'append', '{"plan": "event"}', object => 'track');
SELECT signalsmith.create_sync('s', 'people', 'segment', 'append', '{"plan": "event", "email": "user_id"}', object => 'track');
SELECT signalsmith.create_sync('group', 'people', 'segment', 'update', '{"plan": "plan"}', object => 'group');

-- Fields that there are not
SELECT signalsmith.create_sync('k', 'people', 'klaviyo', 'upsert', '{"id": "external_id", "email": "emial"}');
SELECT signalsmith.create_sync('k', 'people', 'klaviyo', 'upsert', '{"id": "external_id", "plan": "properties.plan"}');

-- The field that identifies a record
SELECT signalsmith.create_sync('k2', 'people', 'klaviyo', 'upsert', '{"plan": "properties.plan"}');
SELECT signalsmith.create_sync('k2', 'people', 'klaviyo', 'upsert', '{"id": "title", "email": "email"}');
SELECT signalsmith.create_sync('k2', 'people', 'klaviyo', 'upsert',
    '[{"source": "email", "destination": "email", "identifier": true}]');
SELECT signalsmith.create_sync('deals', 'people', 'attio', 'upsert', '{"plan": "plan"}', object => 'deals');

-- What a sync of one object needs, another may do without
SELECT signalsmith.create_sync('profiles', 'people', 'mixpanel', 'mirror', object => 'profiles');
SELECT signalsmith.create_sync('events', 'people', 'mixpanel', 'append', '{"plan": "event", "id": "time"}', object => 'events');

-- A change that would break a sync is refused
SELECT signalsmith.update_sync('s', '{"field_mappings": {"plan": "event"}}');
SELECT signalsmith.update_sync('s', '{"object": "identify", "mode": "upsert"}');
DROP EXTENSION signalsmith CASCADE;
DROP TABLE people;
