--
-- What CREATE EXTENSION brings: objects, their attributes, their comments.
--
CREATE EXTENSION patroni_bgw;
SELECT extname, extversion, extrelocatable, extnamespace::regnamespace
  FROM pg_extension WHERE extname = 'patroni_bgw';

-- every function with its attributes
SELECT p.oid::regprocedure AS function,
       pg_get_function_result(p.oid) AS result,
       l.lanname AS language, p.provolatile AS volatility,
       p.proisstrict AS strict, p.proparallel AS parallel
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
 WHERE p.pronamespace = 'patroni'::regnamespace
 ORDER BY p.oid::regprocedure::text COLLATE "C";

-- every view with its columns
SELECT a.attrelid::regclass AS view, a.attname AS "column", format_type(a.atttypid, a.atttypmod) AS type
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'patroni'::regnamespace AND a.attnum > 0
 ORDER BY a.attrelid::regclass::text COLLATE "C", a.attnum;

-- objects without a comment: none
SELECT pg_describe_object(o.classid, o.objid, o.objsubid) AS object
  FROM (SELECT 'pg_proc'::regclass AS classid, p.oid AS objid, 0 AS objsubid
          FROM pg_proc p WHERE p.pronamespace = 'patroni'::regnamespace
        UNION ALL
        SELECT 'pg_class'::regclass, c.oid, 0
          FROM pg_class c WHERE c.relnamespace = 'patroni'::regnamespace
        UNION ALL
        SELECT 'pg_class'::regclass, a.attrelid, a.attnum
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'patroni'::regnamespace AND a.attnum > 0
        UNION ALL
        SELECT 'pg_namespace'::regclass, 'patroni'::regnamespace, 0
        UNION ALL
        SELECT 'pg_extension'::regclass, e.oid, 0
          FROM pg_extension e WHERE e.extname = 'patroni_bgw') AS o
 WHERE NOT EXISTS (SELECT FROM pg_description d
                    WHERE d.classoid = o.classid AND d.objoid = o.objid AND d.objsubid = o.objsubid)
 ORDER BY 1;

-- objects in the schema that the extension does not own: none
SELECT pg_describe_object('pg_proc'::regclass, p.oid, 0) AS object
  FROM pg_proc p
 WHERE p.pronamespace = 'patroni'::regnamespace
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e');

-- it takes its objects with it when it goes, and comes again
DROP EXTENSION patroni_bgw;
SELECT count(*) FROM pg_proc WHERE pronamespace = 'patroni'::regnamespace;
CREATE EXTENSION patroni_bgw;
