-- Previews: what a run would do, and what it would send, without sending it.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
CREATE ROLE regress_signalsmith_bob LOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann, regress_signalsmith_bob;
CREATE TABLE people (id int, email text);
GRANT ALL ON people TO regress_signalsmith_ann, regress_signalsmith_bob;
INSERT INTO people SELECT i, 'p' || i || '@example.com' FROM generate_series(1, 5) AS i;

SET ROLE regress_signalsmith_ann;
\set quiet '\\g /dev/null'
SELECT signalsmith.create_model('people', 'SELECT id, email FROM people ORDER BY id', '{id}') :quiet
SELECT signalsmith.create_destination('hook', 'webhook',
    '{"url": "https://example.com/hook?team=1", "batch_size": 2, "headers": {"Authorization": "Bearer hush", "X-Team": "growth"}}') :quiet
SELECT signalsmith.create_sync('people', 'people', 'hook') :quiet

-- changes, in full or not; counted when not all are shown
SELECT * FROM signalsmith.preview_sync('people');
SELECT * FROM signalsmith.preview_sync('people', 2);
SELECT * FROM signalsmith.preview_sync('people', max_rows => 0);
SELECT * FROM signalsmith.preview_counts('people');

-- what the caller has not committed is seen; rows without a key of their own are not sent
BEGIN;
INSERT INTO people VALUES (1, 'twin'), (NULL, 'nobody'), (6, 'p6@example.com');
SELECT * FROM signalsmith.preview_counts('people');
SELECT * FROM signalsmith.preview_sync('people', 2);
ROLLBACK;

-- the very requests
\x
SELECT method, url, headers - 'User-Agent' AS headers, body FROM signalsmith.preview_requests('people');
\x
SELECT p.operation, p.key, p.data = to_jsonb(r) AS same FROM signalsmith.preview_sync('people', 1, render => true) AS p, signalsmith.preview_requests('people', 1) AS r;
SELECT count(*) FROM signalsmith.preview_requests('people', 2);
SELECT count(*) FROM signalsmith.preview_requests('people', 0);

-- a row that no request can carry is told, as a run would
SELECT signalsmith.create_destination('rest', 'http', '{
    "base_url": "https://api.example.com/v1",
    "operations": {
        "create": {"request": {"method": "PUT", "path": "/people/{{row.email}}", "body": "{{fields}}"}},
        "update": {"request": {"method": "PUT", "path": "/people/{{row.email}}", "body": "{{fields}}"}}}}') :quiet
SELECT signalsmith.create_sync('to rest', 'people', 'rest') :quiet
BEGIN;
DELETE FROM people WHERE id > 3;
UPDATE people SET email = '..' WHERE id = 2;
SELECT method, url, body FROM signalsmith.preview_requests('to rest');
ROLLBACK;
-- a secret that is not set is an error, as in a run
SELECT signalsmith.update_destination('rest', '{"config": {
    "base_url": "https://api.example.com/v1",
    "headers": {"Authorization": "Bearer {{secret.token}}"},
    "operations": {
        "create": {"request": {"method": "PUT", "path": "/people/{{row.email}}", "body": "{{fields}}"}},
        "update": {"request": {"method": "PUT", "path": "/people/{{row.email}}", "body": "{{fields}}"}}}}}') :quiet
SELECT * FROM signalsmith.preview_requests('to rest');

-- who may use a destination without managing it sees of its config what get_destination shows him
SELECT signalsmith.share_destination('hook', 'regress_signalsmith_bob') :quiet
SET ROLE regress_signalsmith_bob;
SELECT signalsmith.get_destination('hook')->'config' AS config;
SELECT signalsmith.create_model('bobs', 'SELECT id, email FROM people', '{id}') :quiet
SELECT signalsmith.create_sync('bobs', 'bobs', 'hook') :quiet
SELECT url, headers->'X-Team' AS team, headers->'Authorization' AS authorization FROM signalsmith.preview_requests('bobs', 1);

SELECT r->'url' AS url, r->'headers'->'Authorization' AS authorization
FROM signalsmith.render_request('hook', 'create', '{"key": {"id": 1}, "data": {"id": 1}}') AS r;

-- and nobody previews what is not his
SELECT * FROM signalsmith.preview_sync('people');
SELECT * FROM signalsmith.preview_counts('people');
SELECT * FROM signalsmith.preview_requests('people');
SELECT * FROM signalsmith.preview_counts(NULL);
SELECT * FROM signalsmith.preview_requests('bobs', NULL);
RESET ROLE;

DROP EXTENSION signalsmith;
DROP TABLE people;
DROP ROLE regress_signalsmith_ann, regress_signalsmith_bob;
