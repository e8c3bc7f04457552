-- What somebody planted beforehand is not taken over.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS signalsmith;
CREATE ROLE regress_signalsmith_planter;
CREATE SCHEMA signalsmith AUTHORIZATION regress_signalsmith_planter;
CREATE EXTENSION signalsmith;

ALTER SCHEMA signalsmith OWNER TO current_user;
CREATE FUNCTION signalsmith._may_see(regrole, regrole) RETURNS boolean LANGUAGE sql RETURN true;
CREATE EXTENSION signalsmith;
DROP FUNCTION signalsmith._may_see;
CREATE TABLE signalsmith.run (id bigint);
CREATE EXTENSION signalsmith;
DROP TABLE signalsmith.run;

-- An empty schema of one's own is fine; rights that others have in it, or get by
-- default on whatever is created, end with the installation.
GRANT ALL ON SCHEMA signalsmith TO regress_signalsmith_planter WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_signalsmith_planter;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_signalsmith_planter;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_signalsmith_planter;
CREATE EXTENSION signalsmith;
SELECT has_schema_privilege('regress_signalsmith_planter', 'signalsmith', 'USAGE, CREATE') AS schema,
    (SELECT count(*) FROM pg_class WHERE relnamespace = 'signalsmith'::regnamespace AND relkind IN ('r', 'v')
        AND has_table_privilege('regress_signalsmith_planter', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')) AS relations,
    (SELECT count(*) FROM pg_sequences WHERE schemaname = 'signalsmith'
        AND has_sequence_privilege('regress_signalsmith_planter', format('signalsmith.%I', sequencename), 'SELECT, USAGE, UPDATE')) AS sequences,
    (SELECT count(*) FROM pg_proc WHERE pronamespace = 'signalsmith'::regnamespace
        AND has_function_privilege('regress_signalsmith_planter', oid, 'EXECUTE')) AS functions;
DROP EXTENSION signalsmith;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_signalsmith_planter;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM regress_signalsmith_planter;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM regress_signalsmith_planter;
DROP SCHEMA signalsmith;
DROP ROLE regress_signalsmith_planter;
