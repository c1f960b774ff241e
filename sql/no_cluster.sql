--
-- On a server that nobody manages each function says so.
--
\set SHOW_CONTEXT never
SELECT jsonb_pretty(patroni.status());
SELECT * FROM patroni.lease;

SELECT patroni.snapshot();
SELECT patroni.config();
SELECT * FROM patroni.explain();
SELECT * FROM patroni.member;
SELECT * FROM patroni.history;
SELECT * FROM patroni.event;
SELECT * FROM patroni.synchronous;
SELECT * FROM patroni.slot;

SELECT patroni.switchover();
SELECT patroni.switchover('node2', '2030-01-01 12:00+00', wait => false, reason => 'test');
SELECT patroni.failover('node2');
SELECT patroni.pause();
SELECT patroni.resume(wait => false);
SELECT patroni.restart();
SELECT patroni.restart('node2', pending => true);
SELECT patroni.reload();
SELECT patroni.reinitialize('node2', force => true);
SELECT patroni.edit_config('{"ttl": 20}');

-- arguments are checked before anybody is asked
SELECT patroni.failover(NULL);
SELECT patroni.failover('');
SELECT patroni.reinitialize(NULL);
SELECT patroni.switchover(timeout => '-1s');
SELECT patroni.switchover(timeout => '1 year');
SELECT patroni.switchover(scheduled_at => 'infinity');
SELECT patroni.edit_config('[]');
SELECT patroni.edit_config(NULL) IS NULL AS is_null;
\set VERBOSITY terse
SELECT patroni.edit_config(jsonb_build_object('x', repeat('y', 5000)));
\set VERBOSITY default

-- programs can tell these apart
\set VERBOSITY sqlstate
SELECT patroni.snapshot();
SELECT patroni.switchover();
SELECT patroni.failover(NULL);
\set VERBOSITY default

-- writes are not fenced here
CREATE TABLE unfenced (i int);
INSERT INTO unfenced VALUES (1);
DROP TABLE unfenced;
