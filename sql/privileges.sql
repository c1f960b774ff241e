--
-- Who may do what: nobody anything, monitoring roles may read.
--
SELECT count(*) AS open_to_public
  FROM pg_proc p
 WHERE p.pronamespace = 'patroni'::regnamespace
   AND has_function_privilege('public', p.oid, 'EXECUTE');
SELECT count(*) AS open_to_public
  FROM pg_class c
 WHERE c.relnamespace = 'patroni'::regnamespace
   AND has_table_privilege('public', c.oid, 'SELECT');
SELECT has_schema_privilege('public', 'patroni', 'USAGE') AS open_to_public;

-- what monitoring may call and read
SELECT p.oid::regprocedure AS function
  FROM pg_proc p
 WHERE p.pronamespace = 'patroni'::regnamespace
   AND has_function_privilege('pg_monitor', p.oid, 'EXECUTE')
 ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.oid::regclass AS view
  FROM pg_class c
 WHERE c.relnamespace = 'patroni'::regnamespace
   AND has_table_privilege('pg_monitor', c.oid, 'SELECT')
 ORDER BY c.oid::regclass::text COLLATE "C";

CREATE ROLE regress_patroni_nobody NOLOGIN;
CREATE ROLE regress_patroni_monitor NOLOGIN IN ROLE pg_monitor;

SET ROLE regress_patroni_nobody;
SELECT patroni.status();
SELECT is_open FROM patroni.lease;

SET ROLE regress_patroni_monitor;
SELECT is_open FROM patroni.lease;
SELECT count(*) > 0 AS has_rules FROM patroni.rules();
SELECT patroni.switchover();
SELECT patroni.edit_config('{}');

RESET ROLE;
DROP ROLE regress_patroni_nobody;
DROP ROLE regress_patroni_monitor;
