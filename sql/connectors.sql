-- Connectors: kinds of destination API, as manifests.

CREATE FUNCTION signalsmith._render(connector text, manifest jsonb, config jsonb, object text,
        operation text, records json) RETURNS jsonb
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_render';
COMMENT ON FUNCTION signalsmith._render(text, jsonb, jsonb, text, text, json) IS
    'the request that would carry these records';

CREATE FUNCTION signalsmith._interpret(connector text, manifest jsonb, config jsonb, object text,
        operation text, records json, status integer, headers jsonb, body text,
        OUT key jsonb, OUT outcome text, OUT code text, OUT message text, OUT id jsonb, OUT version jsonb)
    RETURNS SETOF record
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_interpret';
COMMENT ON FUNCTION signalsmith._interpret(text, jsonb, jsonb, text, text, json, integer, jsonb, text) IS
    'what an answer would mean for each of these records';

CREATE FUNCTION signalsmith._check_operation(operation text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    operations CONSTANT text[] := '{create,update,delete}';
BEGIN
    IF operation IS NULL OR operation <> ALL (operations) THEN
        RAISE EXCEPTION 'there is no operation "%"', coalesce(operation, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
            HINT = signalsmith._hint_for_choice(operation, operations);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._check_operation(text) IS 'refuses what is no operation';

CREATE FUNCTION signalsmith._render_request(caller regrole, destination text, operation text, records json,
        object text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found signalsmith.destination;
BEGIN
    SELECT * INTO found FROM signalsmith.destination d
    WHERE d.id = signalsmith._find(caller, 'destination', destination, false);
    PERFORM signalsmith._check_operation(operation);
    RETURN signalsmith._render(found.connector, signalsmith._manifest_of(found.connector),
        CASE WHEN signalsmith._may_manage(caller, found.owner) THEN found.config
             ELSE signalsmith._redacted_config(found.config) END,
        object, operation, coalesce(records, '[]'));
END
$$;
COMMENT ON FUNCTION signalsmith._render_request(regrole, text, text, json, text) IS 'private part of render_request';

CREATE FUNCTION signalsmith.render_request(destination text, operation text, records json,
        object text DEFAULT NULL) RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.render_request(text, text, json, text) IS
    'the request that would carry records such as {"key": {"id": 1}, "data": {...}} to a destination; sends nothing, and shows no secret';

CREATE FUNCTION signalsmith._interpret_answer(caller regrole, destination text, operation text, records json,
        status integer, body text, headers jsonb, object text,
        OUT key jsonb, OUT outcome text, OUT code text, OUT message text, OUT id jsonb, OUT version jsonb)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found signalsmith.destination;
BEGIN
    SELECT * INTO found FROM signalsmith.destination d
    WHERE d.id = signalsmith._find(caller, 'destination', destination, false);
    PERFORM signalsmith._check_operation(operation);
    RETURN QUERY SELECT * FROM signalsmith._interpret(found.connector, signalsmith._manifest_of(found.connector),
        found.config, object, operation, coalesce(records, '[]'), coalesce(status, 200), coalesce(headers, '{}'), body);
END
$$;
COMMENT ON FUNCTION signalsmith._interpret_answer(regrole, text, text, json, integer, text, jsonb, text) IS
    'private part of interpret_answer';

CREATE FUNCTION signalsmith.interpret_answer(destination text, operation text, records json,
        status integer, body text DEFAULT NULL, headers jsonb DEFAULT '{}', object text DEFAULT NULL,
        OUT key jsonb, OUT outcome text, OUT code text, OUT message text, OUT id jsonb, OUT version jsonb)
    RETURNS SETOF record
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.interpret_answer(text, text, json, integer, text, jsonb, text) IS
    'what an answer with this status and body would mean for each of these records';
