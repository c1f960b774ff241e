--
-- The settings: what they are, and that they keep what does not belong out.
--
SELECT name, setting, vartype, context, boot_val
  FROM pg_settings WHERE name LIKE 'patroni.%' ORDER BY name COLLATE "C";
SELECT name, short_desc, extra_desc
  FROM pg_settings WHERE name LIKE 'patroni.%' ORDER BY name COLLATE "C";

-- only the configuration file sets them
SET patroni.fence = off;
SET patroni.lease_page = '/x';

-- values are checked
ALTER SYSTEM SET patroni.lease_page = 'no_slash';
ALTER SYSTEM SET patroni.lease_page = '/two/slashes';
ALTER SYSTEM SET patroni.lease_page = '/';
ALTER SYSTEM SET patroni.lease_page = '/patroni.0123456789012345678901234567890123456789012345678901234567890123456789';
ALTER SYSTEM SET patroni.socket = 'relative.sock';
ALTER SYSTEM SET patroni.trace_file = 'relative';
ALTER SYSTEM SET patroni.fence = 'perhaps';
ALTER SYSTEM SET patroni.commit_wait_timeout = -1;
ALTER SYSTEM SET patroni.isolation_hold_after = 10;
ALTER SYSTEM SET patroni.isolation_hold_after = -2;
ALTER SYSTEM SET patroni.wal_send_wait = -1;
ALTER SYSTEM SET patroni.socket = '/dev/shm/regress_patroni.sock';
ALTER SYSTEM RESET patroni.socket;

-- the prefix is reserved from PostgreSQL 15 on
SET patroni.fnece = off;
