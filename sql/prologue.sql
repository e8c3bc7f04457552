\echo Use "CREATE EXTENSION signalsmith" to load this file. \quit

-- Everything below is created, never replaced: an object that somebody planted
-- in the schema beforehand makes CREATE EXTENSION fail instead of being taken
-- over.  Names are schema-qualified and every function pins its search_path.
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
BEGIN
    IF NOT (SELECT pg_has_role(current_user, nspowner, 'MEMBER')
            FROM pg_namespace WHERE nspname = 'signalsmith') THEN
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
