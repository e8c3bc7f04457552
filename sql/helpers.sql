-- Private functions that the others share: names, ids, rights, hints, and
-- reading what callers pass as jsonb.

CREATE FUNCTION signalsmith._caller_search_path() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'signalsmith_caller_search_path';
COMMENT ON FUNCTION signalsmith._caller_search_path() IS
    'search_path of the session that called a function of signalsmith';

CREATE FUNCTION signalsmith._closest(word text, choices text[]) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'signalsmith_closest';
COMMENT ON FUNCTION signalsmith._closest(text, text[]) IS
    'the choice that was probably meant, or NULL when none is near';

CREATE FUNCTION signalsmith._quoted_list(items text[]) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT string_agg('"' || item || '"', ', ' ORDER BY position)
            FROM unnest(items) WITH ORDINALITY AS e (item, position));
COMMENT ON FUNCTION signalsmith._quoted_list(text[]) IS 'the items in double quotes, for messages';

-- A long list helps nobody: it is left out, or cut where nothing is near.
CREATE FUNCTION signalsmith._hint_for_choice(word text, choices text[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN concat_ws(' ',
        'Did you mean "' || signalsmith._closest(word, choices) || '"?',
        CASE WHEN cardinality(choices) BETWEEN 1 AND 12
             THEN 'Choices: ' || signalsmith._quoted_list(choices) || '.'
             WHEN cardinality(choices) > 12 AND signalsmith._closest(word, choices) IS NULL
             THEN 'Choices: ' || signalsmith._quoted_list(choices[1:12]) || ' and '
                  || cardinality(choices) - 12 || ' more.'
        END);
COMMENT ON FUNCTION signalsmith._hint_for_choice(text, text[]) IS
    'a hint that names the nearest choice, and what there is';

-- Ids ------------------------------------------------------------------------

CREATE FUNCTION signalsmith._id_prefix(kind text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE kind WHEN 'source' THEN 'src' WHEN 'model' THEN 'mod'
                     WHEN 'destination' THEN 'dst' WHEN 'sync' THEN 'sync'
                     WHEN 'run' THEN 'run' WHEN 'alert' THEN 'alert' END;
COMMENT ON FUNCTION signalsmith._id_prefix(text) IS 'what ids of this kind begin with';

CREATE FUNCTION signalsmith._id_kind(ref text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE substring(ref, '^(src|mod|dst|sync|run|alert)_[0-9]+$')
           WHEN 'src' THEN 'source' WHEN 'mod' THEN 'model' WHEN 'dst' THEN 'destination'
           WHEN 'sync' THEN 'sync' WHEN 'run' THEN 'run' WHEN 'alert' THEN 'alert' END;
COMMENT ON FUNCTION signalsmith._id_kind(text) IS 'the kind whose ids look like this, or NULL: it is a name';

CREATE FUNCTION signalsmith._id_number(ref text) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN ref ~ '_[0-9]{1,18}$'
           THEN substring(ref, '[0-9]+$')::bigint END;
COMMENT ON FUNCTION signalsmith._id_number(text) IS 'the number in an id; NULL when no id has that many digits';

-- Rights ---------------------------------------------------------------------

CREATE FUNCTION signalsmith._may_see(caller regrole, owner regrole) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    RETURN pg_has_role(caller, owner, 'USAGE')
        OR pg_has_role(caller, 'signalsmith_viewer', 'USAGE')
        OR pg_has_role(caller, 'signalsmith_admin', 'USAGE');
COMMENT ON FUNCTION signalsmith._may_see(regrole, regrole) IS
    'may the caller see what this owner has?';

CREATE FUNCTION signalsmith._is_superuser(role regrole) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    RETURN (SELECT rolsuper FROM pg_catalog.pg_roles WHERE oid = role);
COMMENT ON FUNCTION signalsmith._is_superuser(regrole) IS 'is the role a superuser? NULL when there is no such role';

-- SET ROLE takes a member of a superuser's role, or of one that may run programs or
-- reach files on the server, as far as the superuser himself.
CREATE FUNCTION signalsmith._can_become_superuser(role regrole) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    RETURN EXISTS (SELECT FROM pg_catalog.pg_roles r
                   WHERE (r.rolsuper OR r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))
                       AND pg_has_role(role, r.oid, 'MEMBER'));
COMMENT ON FUNCTION signalsmith._can_become_superuser(regrole) IS
    'may the role do what only superusers may, itself or through SET ROLE?';

-- Whoever may change an object decides what runs with its owner's rights, so an
-- admin who is no superuser keeps off a superuser's.
CREATE FUNCTION signalsmith._may_manage(caller regrole, owner regrole) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    RETURN pg_has_role(caller, owner, 'USAGE')
        OR pg_has_role(caller, 'signalsmith_admin', 'USAGE')
           AND NOT signalsmith._can_become_superuser(owner);
COMMENT ON FUNCTION signalsmith._may_manage(regrole, regrole) IS
    'may the caller change what this owner has?';

-- Finding --------------------------------------------------------------------

-- A sync has no owner of its own: it runs its model's SQL with the rights of the
-- role that the model belongs to, and whoever may change the model decides what
-- runs with them.

CREATE FUNCTION signalsmith._owner_of(kind text, object_id bigint) RETURNS regrole
    LANGUAGE sql STABLE STRICT
    RETURN CASE kind
        WHEN 'model' THEN (SELECT owner FROM signalsmith.model WHERE id = object_id)
        WHEN 'destination' THEN (SELECT owner FROM signalsmith.destination WHERE id = object_id)
        WHEN 'sync' THEN (SELECT m.owner FROM signalsmith.sync s JOIN signalsmith.model m ON m.id = s.model_id
                          WHERE s.id = object_id)
        WHEN 'run' THEN (SELECT m.owner FROM signalsmith.run r JOIN signalsmith.sync s ON s.id = r.sync_id
                             JOIN signalsmith.model m ON m.id = s.model_id
                         WHERE r.id = object_id)
        WHEN 'alert' THEN (SELECT owner FROM signalsmith.alert WHERE id = object_id)
    END;
COMMENT ON FUNCTION signalsmith._owner_of(text, bigint) IS
    'owner of an object, which for a sync and its runs is the owner of the model; NULL when there is none';

CREATE FUNCTION signalsmith._id_of(kind text, object_name text) RETURNS bigint
    LANGUAGE sql STABLE STRICT
    RETURN CASE kind
        WHEN 'model' THEN (SELECT id FROM signalsmith.model WHERE name = object_name)
        WHEN 'destination' THEN (SELECT id FROM signalsmith.destination WHERE name = object_name)
        WHEN 'sync' THEN (SELECT id FROM signalsmith.sync WHERE name = object_name)
        WHEN 'alert' THEN (SELECT id FROM signalsmith.alert WHERE name = object_name)
    END;
COMMENT ON FUNCTION signalsmith._id_of(text, text) IS 'the object with this name; NULL when there is none';

CREATE FUNCTION signalsmith._is_shared(shared_destination bigint, with_role regrole) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    RETURN EXISTS (SELECT FROM signalsmith.destination_share
                   WHERE destination_id = shared_destination AND pg_has_role(with_role, role, 'USAGE'));
COMMENT ON FUNCTION signalsmith._is_shared(bigint, regrole) IS
    'is a destination shared with this role, or one that it is a member of?';

CREATE FUNCTION signalsmith._may_use(user_role regrole, used_destination bigint) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    RETURN signalsmith._may_manage(user_role, signalsmith._owner_of('destination', used_destination))
        OR signalsmith._is_shared(used_destination, user_role);
COMMENT ON FUNCTION signalsmith._may_use(regrole, bigint) IS
    'may syncs of this role send to the destination?';

CREATE FUNCTION signalsmith._is_visible(caller regrole, kind text, object_id bigint) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    RETURN signalsmith._may_see(caller, signalsmith._owner_of(kind, object_id))
        OR kind = 'destination' AND signalsmith._is_shared(object_id, caller);
COMMENT ON FUNCTION signalsmith._is_visible(regrole, text, bigint) IS
    'may the caller see this object? NULL when there is none';

CREATE FUNCTION signalsmith._visible_names(caller regrole, kind text) RETURNS text[]
    LANGUAGE sql STABLE STRICT
    RETURN (SELECT array_agg(name ORDER BY name) FROM (
        SELECT id, name FROM signalsmith.model WHERE kind = 'model'
        UNION ALL
        SELECT id, name FROM signalsmith.destination WHERE kind = 'destination'
        UNION ALL
        SELECT id, name FROM signalsmith.sync WHERE kind = 'sync'
        UNION ALL
        SELECT id, name FROM signalsmith.alert WHERE kind = 'alert') AS objects
        WHERE signalsmith._is_visible(caller, kind, id));
COMMENT ON FUNCTION signalsmith._visible_names(regrole, text) IS 'names of one kind that the caller may see';

-- What does not exist and what the caller may not see are one error, down to
-- the hint.
CREATE FUNCTION signalsmith._raise_unknown(caller regrole, kind text, ref text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    other_kind text := nullif(signalsmith._id_kind(ref), kind);
    nearest text := signalsmith._closest(ref, signalsmith._visible_names(caller, kind));
BEGIN
    RAISE EXCEPTION '% "%" does not exist', kind, ref
        USING ERRCODE = 'undefined_object',
        HINT = CASE
            WHEN other_kind IS NOT NULL THEN
                format('This looks like the id of a %s; ids of a %s look like "%s_1".',
                       other_kind, kind, signalsmith._id_prefix(kind))
            WHEN nearest IS NOT NULL THEN format('Did you mean "%s"?', nearest)
            WHEN kind = 'run' AND signalsmith._is_visible(caller, 'sync', signalsmith._id_of('sync', ref)) THEN
                format('This is a sync. Its runs: SELECT * FROM signalsmith.runs WHERE sync = %L.', ref)
            WHEN kind IN ('sync', 'run', 'alert') THEN
                format('Those that you may see are in the view signalsmith.%ss.', kind)
            ELSE format('Those that you may see are listed by signalsmith.list_%ss().', kind)
        END;
END
$$;
COMMENT ON FUNCTION signalsmith._raise_unknown(regrole, text, text) IS
    'raises the one error for what does not exist or is not the caller''s to see';

CREATE FUNCTION signalsmith._find(caller regrole, kind text, ref text, manage boolean DEFAULT false)
    RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_id bigint;
    owner regrole;
BEGIN
    IF ref IS NULL THEN
        RAISE EXCEPTION 'no % given', kind
            USING ERRCODE = 'null_value_not_allowed',
            HINT = format('Give the %s''s name or id.', kind);
    END IF;

    found_id := CASE WHEN signalsmith._id_kind(ref) = kind THEN signalsmith._id_number(ref)
                     ELSE signalsmith._id_of(kind, ref) END;
    IF signalsmith._is_visible(caller, kind, found_id) IS NOT TRUE THEN
        PERFORM signalsmith._raise_unknown(caller, kind, ref);
    END IF;

    owner := signalsmith._owner_of(kind, found_id);
    IF manage AND NOT signalsmith._may_manage(caller, owner) THEN
        RAISE EXCEPTION 'permission denied for % "%"', kind, ref
            USING ERRCODE = 'insufficient_privilege',
            DETAIL = format('It belongs to role "%s".', pg_get_userbyid(owner)),
            HINT = format('Its owner can do this%s.',
                CASE WHEN NOT signalsmith._can_become_superuser(owner) THEN ', and so can a member of signalsmith_admin' ELSE '' END);
    END IF;
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION signalsmith._find(regrole, text, text, boolean) IS
    'number of the model, destination, sync or run that a name or id refers to; an error when the caller may not see it, or not manage it';

-- Names ----------------------------------------------------------------------

CREATE FUNCTION signalsmith._check_name(kind text, name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL OR name ~ '^\s*$' THEN
        RAISE EXCEPTION 'a % needs a name', kind
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF length(name) > 200 THEN
        RAISE EXCEPTION 'name of % is too long: % characters', kind, length(name)
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'A name may have up to 200 characters.';
    ELSIF name ~ '[[:cntrl:]]' OR name ~ '^\s|\s$' THEN
        RAISE EXCEPTION 'name of % contains a control character, or begins or ends with a space', kind
            USING ERRCODE = 'invalid_parameter_value',
            HINT = format('Leave that out; the rest may stay: %L.', btrim(regexp_replace(name, '[[:cntrl:]]', '', 'g')));
    ELSIF signalsmith._id_kind(name) IS NOT NULL THEN
        RAISE EXCEPTION 'name "%" looks like an id', name
            USING ERRCODE = 'reserved_name',
            DETAIL = format('"%s" could mean this %s or the %s with that id.',
                            name, kind, signalsmith._id_kind(name)),
            HINT = 'Choose a name that is not one of src, mod, dst, sync, run, alert followed by "_" and a number.';
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._check_name(text, text) IS 'refuses a name that cannot be one';

CREATE FUNCTION signalsmith._raise_name_taken(kind text, name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'a % named "%" already exists', kind, name
        USING ERRCODE = 'duplicate_object',
        HINT = format('Choose another name, or change the existing one with signalsmith.update_%s().', kind);
END
$$;
COMMENT ON FUNCTION signalsmith._raise_name_taken(text, text) IS 'raises the error for a name in use';

-- Reading jsonb --------------------------------------------------------------

CREATE FUNCTION signalsmith._check_keys(what text, value jsonb, keys text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unknown text;
BEGIN
    IF value IS NULL OR jsonb_typeof(value) <> 'object' THEN
        RAISE EXCEPTION '% must be a JSON object', what
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = CASE WHEN value IS NULL THEN 'It is NULL.'
                          ELSE format('It is of JSON type %s.', jsonb_typeof(value)) END;
    END IF;
    SELECT key INTO unknown FROM jsonb_object_keys(value) AS e (key)
    WHERE key <> ALL (keys) ORDER BY key LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'unknown key "%" in %', unknown, what
            USING ERRCODE = 'invalid_parameter_value',
            HINT = signalsmith._hint_for_choice(unknown, keys);
    END IF;
END
$$;
COMMENT ON FUNCTION signalsmith._check_keys(text, jsonb, text[]) IS
    'refuses what is no object, or has other keys than these';

-- "mode" may be spelled "sync_mode": afterwards there is only the first.
CREATE FUNCTION signalsmith._unify_key(what text, value jsonb, key text, synonym text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT value ? synonym THEN
        RETURN value;
    ELSIF value ? key THEN
        RAISE EXCEPTION '% has both "%" and "%"', what, key, synonym
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'They are two names of the same thing.',
            HINT = format('Give "%s" only.', key);
    END IF;
    RETURN (value - synonym) || jsonb_build_object(key, value->synonym);
END
$$;
COMMENT ON FUNCTION signalsmith._unify_key(text, jsonb, text, text) IS
    'puts a key in place of its synonym';

-- The text of a key, or NULL when it is absent or null.
CREATE FUNCTION signalsmith._text_of(what text, value jsonb, key text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(value->key) NOT IN ('string', 'null') THEN
        RAISE EXCEPTION '"%" in % must be a string', key, what
            USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('It is of JSON type %s.', jsonb_typeof(value->key));
    END IF;
    RETURN value->>key;
END
$$;
COMMENT ON FUNCTION signalsmith._text_of(text, jsonb, text) IS
    'value of a key that must be a string; NULL when absent or null';

CREATE FUNCTION signalsmith._texts_of(what text, value jsonb, key text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb := value->key;
BEGIN
    IF list IS NULL OR jsonb_typeof(list) = 'null' THEN
        RETURN NULL;
    ELSIF jsonb_typeof(list) <> 'array' OR jsonb_path_exists(list, '$[*] ? (@.type() != "string")') THEN
        RAISE EXCEPTION '"%" in % must be a list of strings', key, what
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Write it as in ["id"].';
    END IF;
    RETURN ARRAY(SELECT item FROM jsonb_array_elements_text(list) WITH ORDINALITY AS e (item, position)
                 ORDER BY position);
END
$$;
COMMENT ON FUNCTION signalsmith._texts_of(text, jsonb, text) IS
    'value of a key that must be a list of strings; NULL when absent or null';

CREATE FUNCTION signalsmith._column_names(columns jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT array_agg(e.value->>'name' ORDER BY e.ordinality)
            FROM jsonb_array_elements(columns) WITH ORDINALITY AS e);
COMMENT ON FUNCTION signalsmith._column_names(jsonb) IS 'names of a model''s recorded columns, in order';
