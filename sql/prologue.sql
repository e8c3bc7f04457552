\echo Use "CREATE EXTENSION signalsmith" to load this file. \quit

-- Everything below is created, never replaced: an object that somebody planted
-- in the schema beforehand makes CREATE EXTENSION fail instead of being taken
-- over.  Names are schema-qualified and every function pins its search_path.
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
BEGIN
    -- Whose schema it is, he may replace what is in it.
    IF NOT (SELECT rolsuper OR rolname = current_user
            FROM pg_namespace JOIN pg_roles r ON r.oid = nspowner
            WHERE nspname = 'signalsmith') THEN
        RAISE EXCEPTION 'schema "signalsmith" belongs to another role'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Drop the schema, or make it yours with ALTER SCHEMA signalsmith OWNER TO.';
    END IF;
    IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'signalsmith')
        OR EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'signalsmith') THEN
        RAISE EXCEPTION 'schema "signalsmith" is not empty'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Drop or move what is in it, then run CREATE EXTENSION again.';
    END IF;
END
$$;
