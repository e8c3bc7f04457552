-- The "token" block of a manifest, and "check": what is refused, and what a request
-- looks like before there is a token.
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION signalsmith;

-- A destination with this token block; the rest is right.
CREATE FUNCTION pg_temp.try(token json, header text DEFAULT 'Bearer {{token}}', base_url text DEFAULT 'https://api.example.com',
        more jsonb DEFAULT '{}') RETURNS text
    LANGUAGE sql AS $$
    SELECT signalsmith.create_destination('tried', 'http', jsonb_build_object(
        'base_url', base_url, 'auth', jsonb_build_object('token', token, 'header', jsonb_build_object('Authorization', header)),
        'operations', '{"upsert": {"request": {"method": "PUT", "path": "/{{key}}"}}}'::jsonb) || more)
$$;

SELECT pg_temp.try('{"grant": "client_credentials"}');
SELECT pg_temp.try('{"grant": "client_credential", "url": "https://example.com/token"}');
SELECT pg_temp.try('{"grant": "client_credentials", "url": "ftp://example.com/token"}');
SELECT pg_temp.try('{"grant": "client_credentials", "url": "https://example.com/token", "clint": {}}');
SELECT pg_temp.try('{"grant": "client_credentials", "url": "https://example.com/token", "client": {"secret": "x"}}');
SELECT pg_temp.try('{"grant": "client_credentials", "url": "https://example.com/token", "client": {"id": "x", "send": "header"}}');
SELECT pg_temp.try('{"grant": "client_credentials", "url": "https://example.com/token", "client": {"id": "x", "secret": "hush"}}');
SELECT pg_temp.try('{"grant": "client_credentials", "url": "https://example.com/token", "body": {"scope": "{{row.id}}"}}');
SELECT pg_temp.try('{"grant": "jwt_bearer", "url": "https://example.com/token"}');
SELECT pg_temp.try('{"grant": "jwt_bearer", "url": "https://example.com/token", "jwt": {"secret": "k"}}');
SELECT pg_temp.try('{"grant": "jwt_bearer", "url": "https://example.com/token", "jwt": {"secret": "k", "claims": {}, "algorithm": "ES256"}}');
SELECT pg_temp.try('{"grant": "jwt_bearer", "url": "https://example.com/token", "jwt": {"secret": "k", "claims": {}, "key": "hex"}}');
SELECT pg_temp.try('{"url": "/token", "respond": {"token": "$.a["}}');
SELECT pg_temp.try('{"url": "/token", "ttl": 0}');

-- Grants to choose from.
SELECT pg_temp.try('{"url": "/token", "grants": {"client_credentials": {}}}');
SELECT pg_temp.try('{"url": "/token", "grant": "password", "grants": {"client_credentials": {}, "refresh_token": {}}}');
SELECT pg_temp.try('{"url": "/token", "grant": "refresh_token", "grants": {"client_credentials": {}, "refresh_token": {"grant": "x"}}}');
SELECT pg_temp.try('{"url": "/token", "grant": "client_credentials", "grants": {"client_credentials": {}, "jwt_bearer": {}}}');

-- Where the token is used.
SELECT pg_temp.try('{"url": "/token"}', header => 'Bearer x');
SELECT pg_temp.try('{"url": "/token"}', header => 'Bearer {{token.value}}');
SELECT pg_temp.try('{"url": "/token", "capture": {"instance": "$.i"}}', header => 'Bearer {{token.instanc}}');
SELECT pg_temp.try('{"url": "/token", "capture": {"instance": "$.i"}}', base_url => '{{token.instance}}/v1');
SELECT pg_temp.try('{"url": "https://example.com/token", "capture": {"instance": "$.i"}}', base_url => '{{token.instanz}}/v1');
SELECT pg_temp.try('{"url": "/token"}', more => '{"operations": {"upsert": {"request": {"method": "PUT", "body": {"t": "{{token}}"}}}}}');
SELECT signalsmith.create_destination('tried', 'http', '{"base_url": "https://example.com", "headers": {"A": "{{token}}"},
    "operations": {"upsert": {"request": {"method": "PUT"}}}}');

-- A check.
SELECT pg_temp.try('{"url": "/token"}', more => '{"check": {}}');
SELECT pg_temp.try('{"url": "/token"}', more => '{"check": {"request": {"method": "GET", "path": "/{{key}}"}}}');
SELECT pg_temp.try('{"url": "/token"}', more => '{"check": {"request": {"method": "POST", "envelope": ["{{rows}}"]}}}');
SELECT pg_temp.try('{"url": "/token"}', more => '{"check": {"request": {"method": "POST", "encode": "ndjson"}}}');

-- What would be sent: nobody is asked for a token to show it.
SELECT pg_temp.try('{"url": "https://login.example.com/token", "grant": "refresh_token", "capture": {"instance": "$.instance_url"},
        "client": {"id": "me", "secret": "{{secret.client_secret}}"}}', base_url => '{{token.instance}}/v1',
    more => '{"check": {"request": {"method": "GET", "path": "/me"}}}');
SELECT jsonb_pretty(signalsmith.render_request('tried', 'create', '{"key": {"id": 1}, "data": {"id": 1}}'));

-- Secrets are those that the block names.
SELECT signalsmith.set_secret('tried', 'refresh', 'x');
SELECT * FROM signalsmith.test_destination('tried');
DROP EXTENSION signalsmith CASCADE;
