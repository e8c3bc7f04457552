-- What no connector that comes with signalsmith takes for a success: an answer of a
-- shape that its vendor's documentation does not know.
CREATE EXTENSION signalsmith;

CREATE TEMP VIEW operation AS
SELECT c.name AS connector, c.manifest, coalesce(nullif(o.name, '*'), 'things') AS object, k.operation
FROM signalsmith.connector c
    CROSS JOIN LATERAL signalsmith._objects_of(c.manifest) AS o
    CROSS JOIN LATERAL (
        SELECT DISTINCT unnest(CASE key WHEN 'upsert' THEN ARRAY['create', 'update'] ELSE ARRAY[key] END)
        FROM jsonb_object_keys(o.operations) AS key) AS k (operation)
WHERE c.name NOT IN ('http', 'webhook', 'postgresql');

CREATE TEMP VIEW answer (status, body) AS VALUES
    (200, '{"surprise": true}'), (200, '{}'), (200, '[]'), (200, '[{"surprise": true}]'), (200, 'null'), (200, '"fine"'), (200, 'fine'),
    (200, '<html><body>Welcome to the hotel''s network</body></html>'), (202, '{"accepted": "perhaps"}');

CREATE TEMP TABLE interpreted AS
SELECT connector, object, operation, status, body, i.outcome, i.message
FROM operation, answer, LATERAL signalsmith._interpret(connector, manifest, signalsmith._example_config(manifest) || CASE connector WHEN 'mixpanel' THEN '{"project_id": "1"}' ELSE '{}' END::jsonb, nullif(object, ''), operation,
    '{"key": {"id": 1}, "id": {"channel": "C1", "ts": "1.2"}, "version": "1-a", "data": {"email": "ann@example.com", "channel": "C1", "text": "hello"}}',
    status, '{}', body) AS i;

-- how many there are
SELECT count(DISTINCT connector) > 20 AS connectors, count(*) > 500 AS answers FROM interpreted;
-- taken for a success: {} by those that document it as what a good answer is
SELECT connector, object, operation, string_agg(body, '   ' ORDER BY body) FROM interpreted
WHERE outcome IN ('ok', 'gone_ok') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
-- unknown or tried again, and with an excerpt of what came: none without
SELECT * FROM interpreted WHERE body LIKE '%surprise%' AND outcome = 'unknown' AND message NOT LIKE '%surprise%' ORDER BY 1, 2, 3, 5;
-- other outcomes
SELECT connector, object, operation, outcome, string_agg(body, '   ' ORDER BY body) FROM interpreted
WHERE outcome NOT IN ('ok', 'gone_ok', 'unknown', 'retry') GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;
-- nor does such an answer to a lookup say that a record is not there: none where it could
SELECT c.name, o.lookup FROM signalsmith.connector c
    CROSS JOIN LATERAL jsonb_path_query(c.manifest, 'strict $.**.lookup') AS o (lookup)
WHERE lookup #>> '{respond,rows,mode}' IS DISTINCT FROM 'positional'
    AND NOT coalesce(lookup @> '{"classify": [{"status": "2xx", "is": "unknown"}]}', false);
DROP EXTENSION signalsmith CASCADE;
