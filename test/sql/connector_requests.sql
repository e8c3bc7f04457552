-- What a manifest makes of records, and of answers: nothing is sent here.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_ann LOGIN;
GRANT signalsmith_user TO regress_signalsmith_ann;
SET ROLE regress_signalsmith_ann;
\set SHOW_CONTEXT never

-- A destination of the http connector with this config; shows its request.
CREATE FUNCTION pg_temp.request(config jsonb, records json, operation text DEFAULT 'create') RETURNS TABLE (part text, value text)
    LANGUAGE plpgsql AS $$
DECLARE
    request jsonb;
BEGIN
    PERFORM signalsmith.create_destination('try', 'http', '{"base_url": "https://api.example.com"}' || config);
    request := signalsmith.render_request('try', operation, records);
    PERFORM signalsmith.delete_destination('try');
    RETURN QUERY SELECT * FROM (VALUES ('url', (request->>'method') || ' ' || (request->>'url')),
        ('body', coalesce(request->>'body', request->>'body_base64'))) AS v WHERE column2 IS NOT NULL;
    RETURN QUERY SELECT h.key, h.value FROM jsonb_each_text(request->'headers') AS h
        WHERE h.key NOT IN ('Accept', 'User-Agent') ORDER BY 1;
END
$$;
CREATE FUNCTION pg_temp.answer(config jsonb, records json, operation text, status integer, body text DEFAULT NULL, headers jsonb DEFAULT '{}')
    RETURNS TABLE (key jsonb, outcome text, code text, message text, id jsonb, version jsonb)
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM signalsmith.create_destination('try', 'http', '{"base_url": "https://api.example.com"}' || config);
    RETURN QUERY SELECT * FROM signalsmith.interpret_answer('try', operation, records, status, body, headers);
    PERFORM signalsmith.delete_destination('try');
END
$$;
\set two '[{"key": {"id": 1}, "data": {"email": "Ann@Example.com", "age": 30, "tags": ["a", "b c"], "note": null}}, {"key": {"id": 2}, "data": {"email": "bob@example.com", "age": 31.50, "tags": [], "note": "say \\"hi\\", now"}}]'
\set one '{"key": {"id": 1}, "data": {"email": "Ann@Example.com", "age": 30, "address": {"city": "Ulm", "lines": ["a", "b"]}, "note": null, "at": "2024-02-29T12:34:56.75+02:00"}, "id": "v1", "version": 7}'

-- authentication
SELECT * FROM pg_temp.request('{"auth": {"header": {"Authorization": "Bearer {{secret.token}}"}, "query": {"key": "{{secret.key}}"}, "body": {"api_key": "{{secret.key}}"}},
    "operations": {"upsert": {"request": {"method": "POST", "path": "/p", "body": {"email": "{{row.email}}"}}}}}', :'one');
SELECT * FROM pg_temp.request('{"auth": {"basic": {"user": "{{secret.site}}"}}, "operations": {"upsert": {"request": {"method": "PUT", "path": "/p/{{key}}"}}}}', '{"key": {"id": 1}, "data": {}}');
SELECT * FROM pg_temp.request('{"auth": {"body": {"api_key": "{{secret.key}}"}}, "operations": {"upsert": {"request": {"method": "PUT", "path": "/p/{{key}}"}}}}', '{"key": {"id": 1}, "data": {}}');
SELECT * FROM pg_temp.request('{"auth": {"body": {"api_key": "{{secret.key}}"}}, "operations": {"upsert": {"request": {"method": "POST", "path": "/p", "envelope": "{{rows}}"}}}}', :'two');
-- faults in it
SELECT * FROM pg_temp.request('{"auth": {"heeder": {}}, "operations": {"upsert": {"request": {"method": "POST"}}}}', :'one');
SELECT * FROM pg_temp.request('{"secrets": {"token": {"description": "from the settings page"}}, "auth": {"header": {"Authorization": "Bearer {{secret.tokn}}"}}, "operations": {"upsert": {"request": {"method": "POST"}}}}', :'one');
SELECT * FROM pg_temp.request('{"auth": {"hmac": {"secret": "k", "sign": "{{body}}"}}, "operations": {"upsert": {"request": {"method": "POST"}}}}', :'one');
SELECT * FROM pg_temp.request('{"auth": {"query": {"k": "{{key}}"}}, "operations": {"upsert": {"request": {"method": "POST"}}}}', :'one');

-- encodings
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "path": "/bulk", "encode": "ndjson", "lines": [{"index": {"_id": "{{key}}"}}, "{{fields}}"]}}}}', :'two');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "path": "/bulk", "encode": "ndjson"}}}}', :'two');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "path": "/c", "encode": "form", "body": {"email": "{{row.email | lower}}", "address": "{{row.address}}", "metadata": {"row": "{{key}}", "no": "{{row.none}}"}, "note": "{{row.note}}"}}}}}', :'one');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "path": "/c", "encode": "form", "envelope": {"identification": "{{rows | json}}", "payload": {"$json": {"schema": ["EMAIL"], "data": "{{rows}}"}}}, "row": ["{{row.email | lower | sha256 | substr(1, 8)}}", "{{row.none}}"]}}}}', :'two');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "path": "/v", "envelope": {"values": "{{rows}}"}, "row": "{{fields | values}}"}}}}', :'two');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "PUT", "path": "/csv", "encode": "csv"}}}}', :'two');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "PUT", "path": "/csv", "encode": "csv", "csv": {"columns": [{"name": "Id", "value": "{{key}}"}, {"name": "E-Mail", "value": "{{row.email | lower}}"}, {"name": "Note", "value": "{{row.note}}"}], "delimiter": ";", "null": "#N/A", "line_end": "crlf"}}}}}', :'two');
SELECT * FROM pg_temp.request('{"operations": {"delete": {"request": {"method": "DELETE", "path": "/s", "query": {"ids": {"each": "{{key}}", "join": ","}, "allOrNone": "false"}}}}}', '[{"key": {"id": "a/b"}}, {"key": {"id": 2}}]', 'delete');
SELECT * FROM pg_temp.request('{"operations": {"delete": {"request": {"method": "DELETE", "path": "/s", "query": {"records[]": {"each": "{{key}}"}}}}}}', '[{"key": {"id": "a/b"}}, {"key": {"id": 2}}]', 'delete');
-- the rows in a query, of a request whose body is one record
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "path": "/s", "query": {"list": "{{rows | json}}"}, "body": {"id": "{{key}}"}}}}}', '{"key": {"id": 1}, "data": {"a": 1}}');
SELECT * FROM pg_temp.request('{"operations": {"delete": {"request": {"method": "DELETE", "path": "/s", "envelope": {"data": "{{rows}}"}, "row": {"id": "{{key}}"}}}}}', '[{"key": {"id": "a/b"}}, {"key": {"id": 2}}]', 'delete');
SELECT part, CASE part WHEN 'body' THEN left(value, 16) ELSE value END AS value
FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "path": "/z", "compress": "gzip", "envelope": "{{rows}}"}}}}', :'two');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "encode": "ndjson", "envelope": "{{rows}}"}}}}', :'two');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "envelope": "{{rows}}"}, "batch": {"max_records": 10, "max_record_bytes": 20}}}}', :'two');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "envelope": "{{rows}}"}, "batch": {"max_records": 1}}}}', :'two');

-- functions
SELECT f AS function, trim(both '"' from value) AS result FROM unnest(ARRAY[
    'row.at | epoch', 'row.at | epoch_ms', 'row.at | iso', 'row.at | date', 'row.age | iso',
    'key | uuid5(''dns'')', 'row.email | uuid5(''6ba7b811-9dad-11d1-80b4-00c04fd430c8'', key)',
    'row.email | hmac(''key'')', 'row.email | hmac(''key'', ''base64'')', 'row.email | sha1', 'row.email | md5(''base64'')', 'row.email | sha512 | substr(1, 16)',
    'row.address.lines | join', 'row.address.lines | join(''; '')', 'row.address | stringify', 'row.address | values | json',
    'row.none | join', 'id', 'version', '''/v1/jobs/17?x=1'' | segment(-1)', '''https://h/v1/jobs/17'' | segment(1)', '''/a'' | segment(2) | default(''none'')']) AS f,
    LATERAL pg_temp.request(jsonb_build_object('operations', jsonb_build_object('upsert', jsonb_build_object('request',
        '{"method": "POST"}' || jsonb_build_object('body', '{{' || f || '}}'),
        'respond', '{"rows": {"id": "$.id", "version": "$.v"}}'::jsonb))), :'one')
WHERE part = 'body';
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "body": "{{row.email | epoch}}"}}}}', :'one');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "body": "{{row.email | uuid5(''mine'')}}"}}}}', :'one');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "body": "{{row.address | join}}"}}}}', :'one');
SELECT * FROM pg_temp.request('{"operations": {"upsert": {"request": {"method": "POST", "body": "{{row.email | sha265}}"}}}}', :'one');

-- rules that look into the body need no "respond"
SELECT * FROM pg_temp.answer('{"operations": {"create": {"request": {"method": "POST"}, "classify": [{"if": "$.ok == true", "is": "ok"}, {"status": "2xx", "is": "unknown"}]}}}', :'one', 'create', 200, '{"ok": true}');
SELECT * FROM pg_temp.answer('{"classify": [{"if": "$.ok == true", "is": "ok"}, {"status": "2xx", "is": "unknown"}], "operations": {"create": {"request": {"method": "POST"}}}}', :'one', 'create', 200, '{"ok": false}');
-- one object alone need not be named
SELECT * FROM pg_temp.request('{"objects": {"people": {}}, "operations": {"upsert": {"request": {"method": "POST", "path": "/{{object}}"}}}}', :'one');

-- ids and versions in answers
SELECT * FROM pg_temp.answer('{"operations": {"upsert": {"request": {"method": "POST"}, "respond": {"rows": {"id": "$.id", "version": "$.meta.rev"}}}}}', :'one', 'create', 201, '{"id": 17, "meta": {"rev": "1-a"}}');
SELECT * FROM pg_temp.answer('{"operations": {"upsert": {"request": {"method": "POST"}, "respond": {"rows": {"id": {"header": "Location", "segment": -1}}}}}}', :'one', 'create', 201, '', '{"Location": "https://api.example.com/users/u-9?x=1"}');
SELECT * FROM pg_temp.answer('{"operations": {"upsert": {"request": {"method": "POST"}, "respond": {"rows": {"id": {"parts": {"channel": "$.channel", "ts": "$.ts"}}}}}}}', :'one', 'create', 200, '{"channel": "C1", "ts": "12.50"}');
SELECT * FROM pg_temp.answer('{"operations": {"upsert": {"request": {"method": "POST", "envelope": "{{rows}}"}, "respond": {"rows": {"mode": "positional", "items": "$[*]", "id": {"path": "$.name", "segment": 2}, "class": [{"if": "$.ok == true", "is": "ok"}, {"is": "rejected"}], "error": "$.reason"}}}}}',
    :'two', 'create', 200, '[{"ok": true, "name": "jobs/17"}, {"ok": false, "reason": "no \u0000 such thing"}]');
SELECT * FROM pg_temp.answer('{"operations": {"upsert": {"request": {"method": "POST", "envelope": {"in": "{{rows}}"}, "row": {"trace": "{{record.idempotency_key}}"}},
    "respond": {"rows": {"mode": "correlation", "results": [{"items": "$.results[*]", "get": "$.trace", "id": "$.id"}, {"items": "$.errors[*]", "get": "$.trace[*]", "class": "rejected", "error": "$.message"}]}}}}}',
    :'two', 'create', 207, '{"results": [{"id": "h2", "trace": "00000000-0000-0000-0000-000000000002"}], "errors": [{"message": "bad", "trace": ["00000000-0000-0000-0000-000000000001"]}]}');
SELECT * FROM pg_temp.answer('{"operations": {"create": {"request": {"method": "POST"}, "respond": {"existing_id": "$.errors[0].meta.duplicate"}}}}', :'one', 'create', 409, '{"errors": [{"title": "exists", "meta": {"duplicate": "k1"}}]}');
SELECT * FROM pg_temp.answer('{"operations": {"update": {"request": {"method": "PUT", "path": "/{{key}}", "headers": {"If-Match": "{{version}}"}}, "respond": {"rows": {"version": {"header": "ETag"}}}}}}', :'one', 'update', 412);
-- faults in that
SELECT * FROM pg_temp.answer('{"operations": {"update": {"request": {"method": "PUT", "path": "/{{id}}"}}}}', :'one', 'update', 200);
SELECT * FROM pg_temp.answer('{"operations": {"upsert": {"request": {"method": "POST", "envelope": "{{rows}}"}, "respond": {"rows": {"id": "$.id"}}}}}', :'one', 'update', 200);
SELECT * FROM pg_temp.answer('{"operations": {"upsert": {"request": {"method": "POST"}, "respond": {"rows": {"id": {"header": "Location", "segment": 0}}}}}}', :'one', 'update', 200);
SELECT * FROM pg_temp.answer('{"operations": {"upsert": {"request": {"method": "PUT"}}}, "lookup": {"when": "allways", "request": {"method": "GET"}, "respond": {"rows": {"id": "$.id"}}}}', :'one', 'update', 200);
SELECT * FROM pg_temp.answer('{"operations": {"upsert": {"request": {"method": "PUT"}}}, "lookup": {"request": {"method": "GET"}}}', :'one', 'update', 200);
SELECT signalsmith.render_request('try', 'create', '{}');
SELECT signalsmith.create_destination('try', 'webhook', '{"url": "https://example.com/"}');
SELECT signalsmith.render_request('try', 'replace', '{}');
SELECT signalsmith.render_request('try', 'create', '{}');
SELECT signalsmith.render_request('try', 'create', '[]');
SELECT signalsmith.interpret_answer('try', 'create', '{"key": {"id": 1}}', 200, headers => '{"a": 1}');

RESET ROLE;
DROP EXTENSION signalsmith CASCADE;
DROP OWNED BY regress_signalsmith_ann;
DROP ROLE regress_signalsmith_ann;
