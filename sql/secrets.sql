-- Secrets of destinations: written, never read back.

CREATE FUNCTION signalsmith._settable_secret(caller regrole, destination text, name text)
    RETURNS signalsmith.destination
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found signalsmith.destination;
BEGIN
    SELECT * INTO found FROM signalsmith.destination d
    WHERE d.id = signalsmith._find(caller, 'destination', destination, true);
    IF name IS NULL OR name !~ '^[A-Za-z_][A-Za-z0-9_]{0,62}$' THEN
        RAISE EXCEPTION 'invalid name of a secret'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Use letters, digits and underscores, such as api_key.';
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION signalsmith._settable_secret(regrole, text, text) IS
    'the destination, if the caller may set a secret of this name there';

-- In C, so that the value is never in a statement: auto_explain and debug_print_plan
-- put the parameters of statements into the server's log.
CREATE FUNCTION signalsmith._set_secret(caller regrole, destination text, name text, value text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_set_secret';
COMMENT ON FUNCTION signalsmith._set_secret(regrole, text, text, text) IS 'private part of set_secret';

CREATE FUNCTION signalsmith.set_secret(destination text, name text, value text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.set_secret(text, text, text) IS
    'stores a secret of a destination, encrypted; nothing shows it again';

CREATE FUNCTION signalsmith._rotate_secrets() RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_rotate_secrets';
COMMENT ON FUNCTION signalsmith._rotate_secrets() IS 'encrypts all secrets with the current key; returns how many had another';

CREATE FUNCTION signalsmith._rotate_key(caller regrole) RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT signalsmith._rotate_secrets();
END;
COMMENT ON FUNCTION signalsmith._rotate_key(regrole) IS 'private part of rotate_key';

CREATE FUNCTION signalsmith.rotate_key() RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_call';
COMMENT ON FUNCTION signalsmith.rotate_key() IS
    'encrypts all secrets with the first key of signalsmith.key_file; the further ones can be removed afterwards';

CREATE FUNCTION signalsmith._key_problem() RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_key_problem';
COMMENT ON FUNCTION signalsmith._key_problem() IS 'what is wrong with signalsmith.key_file; NULL: nothing';
