-- What must be true of every object of the extension.  Each query that ends
-- with "none" returns no row.
CREATE EXTENSION signalsmith;

CREATE TEMP VIEW member AS
    SELECT classid, objid FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
        AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'signalsmith');
CREATE TEMP VIEW member_function AS
    SELECT p.* FROM pg_proc p JOIN member ON classid = 'pg_proc'::regclass AND objid = p.oid;
CREATE TEMP VIEW member_relation AS
    SELECT c.* FROM pg_class c JOIN member ON classid = 'pg_class'::regclass AND objid = c.oid;

-- everything has a comment: none
SELECT pg_describe_object(classid, objid, 0) FROM member
WHERE classid IN ('pg_proc'::regclass, 'pg_class'::regclass)
    AND objid NOT IN (SELECT oid FROM pg_class WHERE relkind IN ('S', 'c'))
    AND obj_description(objid, classid::regclass::text) IS NULL;
SELECT rolname FROM pg_roles
WHERE rolname LIKE 'signalsmith%' AND shobj_description(oid, 'pg_authid') IS NULL;

-- every function is in C, parsed when it was created, or pins its search_path: none
SELECT oid::regprocedure FROM member_function
WHERE prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')
    AND prosqlbody IS NULL
    AND (proconfig IS NULL OR NOT 'search_path=pg_catalog, pg_temp' = ANY (proconfig));

-- what was parsed when it was created refers to nothing but ours and the server's own: none
SELECT pg_describe_object(d.classid, d.objid, 0), pg_describe_object(d.refclassid, d.refobjid, 0) FROM pg_depend d
WHERE (d.classid, d.objid) IN (SELECT classid, objid FROM member UNION ALL SELECT 'pg_rewrite'::regclass, oid FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM member_relation))
    AND d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass, 'pg_collation'::regclass)
    AND d.refobjid >= 16384 AND (pg_identify_object(d.refclassid, d.refobjid, 0)).schema <> 'signalsmith';

-- no function runs with its owner's rights: none
SELECT oid::regprocedure FROM member_function WHERE prosecdef;

-- PUBLIC may do nothing: none
SELECT oid::regprocedure, privilege_type
FROM member_function, aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0;
SELECT oid::regclass, privilege_type
FROM member_relation, aclexplode(coalesce(relacl, acldefault('r', relowner))) WHERE grantee = 0;
SELECT nspname, privilege_type
FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
WHERE nspname = 'signalsmith' AND grantee = 0;

-- what each role may call
SELECT p.oid::regprocedure AS function,
    has_function_privilege('signalsmith_user', p.oid, 'EXECUTE') AS "user",
    has_function_privilege('signalsmith_viewer', p.oid, 'EXECUTE') AS viewer,
    has_function_privilege('signalsmith_admin', p.oid, 'EXECUTE') AS admin
FROM member_function p WHERE proname NOT LIKE '\_%' ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT oid::regprocedure AS private_function, grantee::regrole
FROM member_function, aclexplode(coalesce(proacl, acldefault('f', proowner)))
WHERE proname LIKE '\_%' AND grantee <> proowner ORDER BY 1, grantee::regrole::text;

-- what each role may do with tables and views
SELECT oid::regclass AS relation, grantee::regrole, string_agg(privilege_type, ', ')
FROM member_relation, aclexplode(relacl) WHERE grantee <> relowner
GROUP BY 1, 2 ORDER BY 1, grantee::regrole::text;
SELECT grantee::regrole, privilege_type FROM pg_namespace, aclexplode(nspacl)
WHERE nspname = 'signalsmith' AND grantee <> nspowner ORDER BY grantee::regrole::text;

-- views that anybody else may read filter before anything else does: none
SELECT oid::regclass FROM member_relation
WHERE relkind = 'v' AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee <> relowner) AND NOT coalesce('security_barrier=true' = ANY (reloptions), false);

-- tables are logged, have primary keys, and go into dumps: none
SELECT oid::regclass FROM member_relation c
WHERE relkind = 'r' AND (relpersistence <> 'p'
    OR NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary));
SELECT oid::regclass FROM member_relation
WHERE relkind IN ('r', 'S')
    AND oid <> ALL (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'signalsmith');

-- nothing of users' can hang on our tables: no rule, trigger, policy; none
SELECT tgname FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM member_relation) AND NOT tgisinternal;
SELECT polname FROM pg_policy WHERE polrelid IN (SELECT oid FROM member_relation);

-- every public function that enters through signalsmith_call has its private part: none
SELECT p.oid::regprocedure FROM member_function p
WHERE prosrc = 'signalsmith_call' AND NOT EXISTS (
    SELECT FROM member_function q WHERE q.proname = '_' || p.proname
        AND q.pronargs = p.pronargs + 1 AND q.proargtypes[0] = 'regrole'::regtype
        AND q.prorettype = p.prorettype AND q.proretset = p.proretset
        AND q.provolatile = p.provolatile);

-- the contract: results, and columns of the views
\pset format unaligned
SELECT proname || '(' || pg_get_function_arguments(p.oid) || ')' AS function,
    pg_get_function_result(p.oid) AS result
FROM member_function p WHERE proname NOT LIKE '\_%' ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT attrelid::regclass AS view, string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_attribute JOIN member_relation c ON c.oid = attrelid
WHERE relkind = 'v' AND relname NOT LIKE '\_%' GROUP BY 1 ORDER BY 1;

\pset format aligned

DROP EXTENSION signalsmith;
