-- What somebody planted beforehand is not taken over.
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

-- An empty schema of one's own is fine.
CREATE EXTENSION signalsmith;
DROP EXTENSION signalsmith;
DROP ROLE regress_signalsmith_planter;
