-- The three roles are the cluster's, shared by all its databases, so they may
-- exist already and outlive the extension.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['signalsmith_user', 'signalsmith_viewer', 'signalsmith_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
END
$$;

COMMENT ON ROLE signalsmith_user IS 'signalsmith: may create models, destinations and syncs, and run the own ones';
COMMENT ON ROLE signalsmith_viewer IS 'signalsmith: may read all definitions and runs, but no secrets';
COMMENT ON ROLE signalsmith_admin IS 'signalsmith: may manage the objects of everyone';
