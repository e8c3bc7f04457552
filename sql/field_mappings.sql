-- Field mappings: what is stored is canonical, whatever spelling it came in.

-- One of {"source"|"constant"|"expression", "destination", "identifier"}.
CREATE FUNCTION signalsmith._check_mapping(mapping jsonb, number bigint, columns jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what text := format('field mapping %s', number);
    source text;
    destination text;
    origin jsonb;
BEGIN
    PERFORM signalsmith._check_keys(what, mapping, ARRAY['source', 'constant', 'expression',
        'destination', 'identifier', 'source_column', 'destination_field']);
    mapping := signalsmith._unify_key(what, mapping, 'source', 'source_column');
    mapping := signalsmith._unify_key(what, mapping, 'destination', 'destination_field');

    IF (mapping ? 'source')::integer + (mapping ? 'constant')::integer
        + (mapping ? 'expression')::integer <> 1 THEN
        RAISE EXCEPTION '% needs exactly one of "source", "constant" and "expression"', what
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For example {"source":"email","destination":"Email"}.';
    END IF;
    destination := signalsmith._text_of(what, mapping, 'destination');
    IF destination IS NULL THEN
        RAISE EXCEPTION '% needs a "destination"', what
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Name the field at the destination that gets the value.';
    ELSIF destination ~ '^$|^\.|\.$|\.\.' OR length(destination) > 1000 THEN
        RAISE EXCEPTION '"destination" of % is not the name of a field: "%"', what, left(destination, 100)
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'Dots nest, as in "address.city"; a name stands on both sides of each.';
    END IF;

    IF mapping ? 'source' THEN
        source := coalesce(signalsmith._text_of(what, mapping, 'source'), '');
        IF source <> ALL (signalsmith._column_names(columns)) THEN
            RAISE EXCEPTION '% names column "%", which the model does not have', what, source
                USING ERRCODE = 'undefined_column',
                HINT = signalsmith._hint_for_choice(source, signalsmith._column_names(columns));
        END IF;
        origin := jsonb_build_object('source', source);
    ELSIF mapping ? 'expression' THEN
        IF coalesce(signalsmith._text_of(what, mapping, 'expression'), '') ~ '^\s*$' THEN
            RAISE EXCEPTION '"expression" of % is empty', what
                USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Write SQL over the columns of the model: {"expression": "upper(country)", "destination": "Country"}.';
        END IF;
        origin := jsonb_build_object('expression', mapping->'expression');
    ELSE
        origin := jsonb_build_object('constant', mapping->'constant');
    END IF;

    IF jsonb_typeof(mapping->'identifier') NOT IN ('boolean', 'null') THEN
        RAISE EXCEPTION '"identifier" of % must be true or false', what
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF mapping->'identifier' = 'true' AND mapping ? 'constant' THEN
        RAISE EXCEPTION '% is a constant and cannot be the identifier', what
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'An identifier tells the records apart; a constant is the same in all of them.';
    END IF;
    RETURN origin || jsonb_build_object('destination', destination)
        || CASE WHEN mapping->'identifier' = 'true' THEN '{"identifier": true}' ELSE '{}' END::jsonb;
END
$$;
COMMENT ON FUNCTION signalsmith._check_mapping(jsonb, bigint, jsonb) IS 'canonical form of one field mapping';

CREATE FUNCTION signalsmith._check_destination_fields(mappings jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fault record;
BEGIN
    SELECT a.field AS outer_field, b.field AS inner_field INTO fault
    FROM (SELECT e->>'destination', p FROM jsonb_array_elements(mappings) WITH ORDINALITY AS m (e, p)) AS a (field, position)
    JOIN (SELECT e->>'destination', p FROM jsonb_array_elements(mappings) WITH ORDINALITY AS m (e, p)) AS b (field, position)
        ON a.position <> b.position AND (a.field = b.field OR starts_with(b.field, a.field || '.'))
    ORDER BY b.position, a.position LIMIT 1;
    IF FOUND AND fault.outer_field = fault.inner_field THEN
        RAISE EXCEPTION 'two field mappings have destination "%"', fault.inner_field
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'A field takes one value; remove one of the mappings, or combine them in an "expression".';
    ELSIF FOUND THEN
        RAISE EXCEPTION 'field mappings have both "%" and "%" as destination', fault.outer_field, fault.inner_field
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('"%s" cannot be a value and an object with fields in it.', fault.outer_field);
    END IF;

    IF (SELECT count(*) FROM jsonb_array_elements(mappings) AS m (e) WHERE e ? 'identifier') > 1 THEN
        RAISE EXCEPTION 'more than one field mapping is the identifier'
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'Records are matched at the destination by one field.',
            HINT = 'Leave "identifier":true in one mapping only.';
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._check_destination_fields(jsonb) IS
    'refuses mappings that fill one field twice, or name two identifiers';

CREATE FUNCTION signalsmith._check_field_mappings(mappings jsonb, columns jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    canonical jsonb;
BEGIN
    IF mappings IS NULL OR mappings = 'null' THEN
        RETURN NULL;
    ELSIF jsonb_typeof(mappings) = 'object' THEN
        mappings := (SELECT jsonb_agg(jsonb_build_object('source', key, 'destination', value))
                     FROM jsonb_each(mappings) AS e (key, value));
    END IF;
    IF mappings IS NULL OR mappings = '[]' THEN
        RAISE EXCEPTION 'the list of field mappings is empty'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Leave it out, or give null, to send every column under its own name.';
    ELSIF jsonb_typeof(mappings) <> 'array' THEN
        RAISE EXCEPTION 'field mappings must be a list'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For example [{"source":"email","destination":"Email"}].';
    END IF;

    SELECT jsonb_agg(signalsmith._check_mapping(mapping, number, columns) ORDER BY number) INTO canonical
    FROM jsonb_array_elements(mappings) WITH ORDINALITY AS e (mapping, number);
    PERFORM signalsmith._check_destination_fields(canonical);
    RETURN canonical;
END
$$;
COMMENT ON FUNCTION signalsmith._check_field_mappings(jsonb, jsonb) IS
    'canonical list of field mappings; NULL: every column';
