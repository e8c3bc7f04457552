-- What a manifest, and a destination's config, may say of limits.
CREATE EXTENSION signalsmith;
\set VERBOSITY default

CREATE FUNCTION pg_temp.try(rate jsonb, batch jsonb DEFAULT '{"max_records": 1}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    PERFORM signalsmith.create_destination('try', 'http', jsonb_build_object('base_url', 'https://example.com', 'rate', rate,
        'operations', jsonb_build_object('upsert', jsonb_build_object('batch', batch,
            'request', '{"method": "POST", "path": "/p", "body": "{{fields}}", "envelope": "{{rows}}"}'::jsonb))));
    PERFORM signalsmith.delete_destination('try');
    RETURN 'fine';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n', SQLERRM, detail, nullif(hint, ''));
END
$$;

SELECT pg_temp.try('{"max_in_flight": 4, "remaining": "X-Left", "wait": ["X-Reset-In", {"header": "X-Ms", "unit": "ms"}, {"body": "$.after"},
    {"if": "$.policy == \"DAILY\"", "fixed": "1h"}, {"fixed": "30s"}],
    "limits": [{"requests": 5, "per": "1s", "burst": 2}, {"rows": 1800, "per": "1m", "by": "{{row.user}}"}, {"requests": 100, "per": "10s", "op": ["lookup", "delete"]}]}');
SELECT pg_temp.try('{"limit": []}');
SELECT pg_temp.try('{"limits": {"requests": 5}}');
SELECT pg_temp.try('{"limits": [{"requests": 5}]}');
SELECT pg_temp.try('{"limits": [{"requests": 5, "per": "second"}]}');
SELECT pg_temp.try('{"limits": [{"requests": 5, "per": "0s"}]}');
SELECT pg_temp.try('{"limits": [{"requests": 0, "per": "1s"}]}');
SELECT pg_temp.try('{"limits": [{"requests": 5, "rows": 5, "per": "1s"}]}');
SELECT pg_temp.try('{"limits": [{"per": "1s"}]}');
SELECT pg_temp.try('{"limits": [{"requests": 5, "per": "1s", "burst": 3}]}');
SELECT pg_temp.try('{"limits": [{"requests": 5, "per": "1s", "op": "creat"}]}');
SELECT pg_temp.try('{"limits": [{"requests": 5, "per": "1s", "by": "{{raw.user}}"}]}');
SELECT pg_temp.try((SELECT jsonb_build_object('limits', jsonb_agg('{"requests": 5, "per": "1s"}'::jsonb)) FROM generate_series(1, 9)));
SELECT pg_temp.try('{"wait": "Retry-In"}');
SELECT pg_temp.try('{"wait": [{"header": "Retry-In", "fixed": "30s"}]}');
SELECT pg_temp.try('{"wait": [{"header": "Retry-In", "unit": "minutes"}]}');
SELECT pg_temp.try('{"wait": [{"body": "after"}]}');

-- What is limited by a value of the record is sent one by one.
SELECT pg_temp.try('{"limits": [{"requests": 1, "per": "1s", "by": "{{row.channel}}"}]}', '{"max_records": 10}');
SELECT pg_temp.try('{"limits": [{"requests": 1, "per": "1s", "by": "{{row.channel}}", "op": "delete"}]}', '{"max_records": 10}');

-- A request has no more rows than its limit.
SELECT signalsmith.create_destination('bulk', 'http', '{"base_url": "https://example.com", "rate": {"limits": [{"rows": 2, "per": "1s"}]},
    "operations": {"upsert": {"request": {"method": "POST", "path": "/p", "envelope": "{{rows}}"}}}}');
SELECT signalsmith.render_request('bulk', 'create', '[{"key": {"id": 1}, "data": {}}, {"key": {"id": 2}, "data": {}}, {"key": {"id": 3}, "data": {}}]');

-- A destination's config: the limits, and how many at once
SELECT signalsmith.create_destination('small', 'braze', '{"instance": "iad-01", "rate": {"max_in_flight": 1, "limits": [{"requests": 5, "per": "1s"}]}}');
SELECT signalsmith.create_destination('bad', 'braze', '{"instance": "iad-01", "rate": 5}');
SELECT signalsmith.create_destination('bad', 'braze', '{"instance": "iad-01", "rate": {"wait": []}}');
SELECT signalsmith.create_destination('bad', 'braze', '{"instance": "iad-01", "rate": {"limits": [{"requests": 5, "pre": "1s"}]}}');
SELECT signalsmith.create_destination('bad', 'webhook', '{"url": "https://example.com", "rate": {"limits": [{"requests": 5}]}}');
DROP EXTENSION signalsmith;
