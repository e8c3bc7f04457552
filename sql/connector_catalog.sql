-- What connectors there are and what each can do, for people: tables that psql shows
-- in 120 columns.

CREATE FUNCTION signalsmith._modes_of(operations jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT string_agg(mode, ', ' ORDER BY position)
            FROM (SELECT operations ?| ARRAY['create', 'upsert'], operations ?| ARRAY['update', 'upsert'], operations ? 'delete')
                    AS able (creates, updates, deletes)
                CROSS JOIN LATERAL (VALUES (1, 'upsert', creates AND updates), (2, 'mirror', creates AND updates AND deletes),
                    (3, 'append', creates), (4, 'update', updates)) AS modes (position, mode, possible)
            WHERE possible);
COMMENT ON FUNCTION signalsmith._modes_of(jsonb) IS 'the modes that these operations can do, for people';

-- "*" is any object without an entry of its own, and comes last.
CREATE FUNCTION signalsmith._objects_of(manifest jsonb)
    RETURNS TABLE (name text, definition jsonb, operations jsonb)
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT key, value, coalesce(value->'operations', manifest->'operations')
    FROM jsonb_each(CASE WHEN manifest ? 'manifest_in_config' THEN '{}'
                         ELSE coalesce(manifest->'objects', '{"": {}}') END) AS e (key, value)
    ORDER BY key = '*', key;
END;
COMMENT ON FUNCTION signalsmith._objects_of(jsonb) IS 'the kinds of object in a manifest, each with its operations; one without a name where there is only one kind';

-- What is meant for people to read is broken into lines that fit beside each other.
CREATE FUNCTION signalsmith._wrapped(long_text text, width integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN rtrim(regexp_replace(long_text, format('(.{1,%s})(\s+|$)', width), E'\\1\n', 'g'), E'\n');
COMMENT ON FUNCTION signalsmith._wrapped(text, integer) IS 'the text in lines of this width, where it has blanks';

CREATE FUNCTION signalsmith._list_connectors(caller regrole)
    RETURNS TABLE (connector text, objects text, modes text, description text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.name,
        (SELECT signalsmith._wrapped(string_agg(CASE
            WHEN o.name <> '*' THEN o.name
            WHEN c.manifest->'objects' = jsonb_build_object('*', o.definition) THEN 'any, by name'
            ELSE 'any other' END, ', '), 26)
         FROM signalsmith._objects_of(c.manifest) AS o),
        (SELECT signalsmith._modes_of(jsonb_object_agg(k.key, true))
         FROM signalsmith._objects_of(c.manifest) AS o, jsonb_object_keys(o.operations) AS k (key)),
        signalsmith._wrapped(c.manifest->>'description', 38)
    FROM signalsmith.connector c WHERE signalsmith._may_use_connector(caller, c) ORDER BY c.name;
END;
COMMENT ON FUNCTION signalsmith._list_connectors(regrole) IS 'private part of list_connectors';

CREATE FUNCTION signalsmith.list_connectors()
    RETURNS TABLE (connector text, objects text, modes text, description text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.list_connectors() IS
    'the kinds of destination that there are, what they can write, and in which modes; describe_connector() tells more';

-- For people: "1,000 records, 4 MB".
CREATE FUNCTION signalsmith._limits_of(operations jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT concat_ws(', ',
                CASE WHEN bool_or(jsonb_typeof(records) = 'string') THEN 'as many records as its config says'
                     ELSE coalesce(max(CASE jsonb_typeof(records) WHEN 'number' THEN records::text::bigint END), CASE WHEN bool_or(value->'request' ? 'envelope') THEN NULL ELSE 1 END)
                          || CASE WHEN max(CASE jsonb_typeof(records) WHEN 'number' THEN records::text::bigint ELSE 1 END) = 1 THEN ' record' ELSE ' records' END END,
                round(max((value->'batch'->>'max_bytes')::numeric) / 1000000, 1)::double precision || ' MB')
            FROM jsonb_each(operations) AS e (key, value), LATERAL (SELECT value->'batch'->'max_records') AS b (records));
COMMENT ON FUNCTION signalsmith._limits_of(jsonb) IS 'what one request carries at most, for people';

-- What a property of the config is, with its choices and its default.
CREATE FUNCTION signalsmith._about_property(property jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN concat_ws('; ', property->>'description',
        'one of ' || (SELECT string_agg(choice, ', ' ORDER BY position)
                      FROM jsonb_array_elements_text(property->'enum') WITH ORDINALITY AS c (choice, position)),
        nullif(property->>'default', '{}') || ' if not given');
COMMENT ON FUNCTION signalsmith._about_property(jsonb) IS 'what a property of a config is, for people';

CREATE FUNCTION signalsmith._config_parts(manifest jsonb)
    RETURNS TABLE (part text, name text, type text, required boolean, about text)
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE WHEN value->'secret' = 'true' THEN 'secret' ELSE 'config' END, key, value->>'type',
        CASE WHEN value->'secret' = 'true' THEN NULL ELSE coalesce((value->>'required')::boolean, false) END,
        signalsmith._about_property(value)
    FROM jsonb_each(manifest->'config') AS e (key, value)
    UNION ALL
    SELECT 'config', 'base_url', 'string', false, 'another URL to send to, such as a sandbox''s'
    WHERE manifest->>'base_url' NOT LIKE '{{%' OR manifest->>'base_url' LIKE '{{token.%'
    UNION ALL
    SELECT 'config', 'rate', 'object', false, 'limits of your own, in place of the connector''s'
    UNION ALL
    SELECT 'secret', key, 'string', NULL, value->>'description' FROM jsonb_each(manifest->'secrets') AS e (key, value)
    ORDER BY 1, 4 DESC, 2;
END;
COMMENT ON FUNCTION signalsmith._config_parts(jsonb) IS 'what describe_connector says of the config and the secrets';

CREATE FUNCTION signalsmith._rate_parts(rate jsonb)
    RETURNS TABLE (part text, name text, type text, required boolean, about text)
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT 'rate', NULL, NULL, NULL::boolean,
        concat_ws(' ', 'at most', coalesce(l.value->>'requests' || ' requests', l.value->>'rows' || ' rows'),
            'per', l.value->>'per', 'for operation ' || (l.value->>'op'), 'for each ' || (l.value->>'by'))
    FROM jsonb_array_elements(rate->'limits') AS l (value)
    UNION ALL
    SELECT 'rate', NULL, NULL, NULL, concat('at most ', rate->>'max_in_flight', ' requests of a run under way at once')
    WHERE rate ? 'max_in_flight';
END;
COMMENT ON FUNCTION signalsmith._rate_parts(jsonb) IS 'what describe_connector says of the limits';

CREATE FUNCTION signalsmith._object_parts(object_name text, definition jsonb, operations jsonb)
    RETURNS TABLE (part text, name text, type text, required boolean, about text)
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT 'object', object_name, NULL, NULL::boolean, definition->>'description' WHERE object_name <> ''
    UNION ALL
    SELECT 'modes', NULL, NULL, NULL, signalsmith._modes_of(operations)
    UNION ALL
    SELECT 'request', NULL, NULL, NULL, 'at most ' || nullif(signalsmith._limits_of(operations), '')
    UNION ALL
    SELECT 'identifier', string_agg(CASE field WHEN '*' THEN 'another field' ELSE field END, E' or\n' ORDER BY position),
        NULL, NULL, 'map it, as the mapping with "identifier": true'
    FROM jsonb_array_elements_text(definition->'identifier') WITH ORDINALITY AS i (field, position) HAVING count(*) > 0
    UNION ALL
    (SELECT 'field', key, value->>'type', coalesce((value->>'required')::boolean, false), value->>'description'
     FROM jsonb_each(definition->'fields') AS e (key, value)
     ORDER BY coalesce((value->>'required')::boolean, false) DESC, key)
    UNION ALL
    SELECT 'field', '*', NULL, NULL,
        CASE WHEN definition->'other_fields' = 'false' THEN 'there is no other field' ELSE 'any other field' END
    WHERE definition ? 'fields';
END;
COMMENT ON FUNCTION signalsmith._object_parts(text, jsonb, jsonb) IS 'what describe_connector says of a kind of object';

CREATE FUNCTION signalsmith._describe_connector(caller regrole, connector text)
    RETURNS TABLE (part text, name text, type text, required boolean, about text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    manifest CONSTANT jsonb := (signalsmith._find_connector(caller, connector)).manifest;
BEGIN
    RETURN QUERY SELECT 'connector', connector, NULL, NULL::boolean, signalsmith._wrapped(manifest->>'description', 60);
    RETURN QUERY SELECT p.part, p.name, p.type, p.required, signalsmith._wrapped(p.about, 60)
        FROM signalsmith._config_parts(manifest) AS p WHERE NOT manifest ? 'manifest_in_config';
    RETURN QUERY SELECT * FROM signalsmith._rate_parts(manifest->'rate');
    RETURN QUERY SELECT p.part, p.name, p.type, p.required, signalsmith._wrapped(p.about, 60)
        FROM signalsmith._objects_of(manifest) AS o, signalsmith._object_parts(o.name, o.definition, o.operations) AS p;
END
$$;
COMMENT ON FUNCTION signalsmith._describe_connector(regrole, text) IS 'private part of describe_connector';

CREATE FUNCTION signalsmith.describe_connector(connector text)
    RETURNS TABLE (part text, name text, type text, required boolean, about text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.describe_connector(text) IS
    'what destinations of a connector configure, which secrets they need, and what can be written to them';
