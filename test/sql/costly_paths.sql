-- Paths of manifests that would take hours, or all memory, of an answer that is
-- no longer than others.
CREATE EXTENSION signalsmith;
CREATE FUNCTION pg_temp.create_with(path text) RETURNS text LANGUAGE sql AS $$
    SELECT signalsmith.create_destination('d', 'http', jsonb_build_object('base_url', 'https://example.com', 'operations', jsonb_build_object('create',
        jsonb_build_object('request', '{"method": "POST", "path": "/", "body": "{{fields}}"}'::jsonb, 'respond', '{"decode": "json"}'::jsonb, 'classify', jsonb_build_array(jsonb_build_object('if', path, 'is', 'rejected')))))) $$;
CREATE FUNCTION pg_temp.answer(path text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; hint text;
BEGIN
    PERFORM pg_temp.create_with(path), signalsmith.delete_destination('d');
    RETURN 'works';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || ': ' || message;
END
$$;

-- two lists are not compared with each other, since that cannot be cancelled
SELECT path, pg_temp.answer(path) FROM unnest(ARRAY['$.failed == 1', '1 < $.a.b[*].c', '$.a[*] ? (@.id == "x" && @.n > 2)', '$.list.size() > 3', '$.a + $.b == $.c', '$.a starts with "x"',
    'strict $.failed == $.total', '$.failed == $.total', 'strict $.a[*] == $.b[*]', 'strict $.a[*] ? (@.id == 1) == $.b', '$[*] ? (@.id == $.last)', '$[*] ? (exists (@ ? (@.* != @.*)))', '$[$.a == $.b to last]',
    '!($.a == $.b)', '-$.a > +$.b', '$.** == $.**', '($.a ? (@ like_regex "x" && $.a == $.b)).c', '$.a.double() == $.b.double()', '$.a.size() == $.b.size()', '($.a == $.b) is unknown', '$.a ==']) AS path;
\set VERBOSITY default
SELECT pg_temp.create_with('$.failed == $.total');

-- what still multiplies with itself is given up
SELECT path, pg_temp.create_with(path) FROM (VALUES ('$.a' || repeat('[0,0,0,0,0,0,0,0,0,0]', 30))) AS costly (path) \g (format=unaligned tuples_only=on) /dev/null
SELECT * FROM signalsmith.interpret_answer('d', 'create', '{"key": {"id": 1}, "data": {"id": 1}}', 400, body => '{"a": 1}');
SELECT signalsmith.update_destination('d', '{"config": {"base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST", "path": "/", "body": "{{fields}}"}, "respond": {"decode": "json"}, "classify": [{"if": "$[*] ? (exists ($[*] ? (exists ($[*] ? (@ == 2)))))", "is": "rejected"}]}}}}');
SELECT * FROM signalsmith.interpret_answer('d', 'create', '{"key": {"id": 1}, "data": {"id": 1}}', 400, body => (SELECT json_agg(1)::text FROM generate_series(1, 20000)));
-- and nothing of that is left in the session
SELECT pg_sleep(0.05), outcome FROM signalsmith.interpret_answer('d', 'create', '{"key": {"id": 1}, "data": {"id": 1}}', 400, body => '{}');
SET statement_timeout = '100ms';
SELECT pg_sleep(10);
RESET statement_timeout;
DROP EXTENSION signalsmith;
