/* extension/patroni_bgw--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION patroni_bgw" to load this file. \quit

COMMENT ON SCHEMA patroni IS
'high availability of this cluster: its members, its decisions, and the commands to change it';

-- Reading: what the worker's latest snapshot says ----------------------------

CREATE FUNCTION patroni.snapshot()
RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE STRICT PARALLEL SAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_snapshot';
COMMENT ON FUNCTION patroni.snapshot() IS
'everything the patroni worker knows, as one document; for the views of this schema';

CREATE FUNCTION patroni.status()
RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE STRICT PARALLEL SAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_status';
COMMENT ON FUNCTION patroni.status() IS
'this node and its cluster, with the leader lease as it is at this moment';

CREATE FUNCTION patroni.config()
RETURNS pg_catalog.jsonb
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE SECURITY INVOKER NOT LEAKPROOF COST 100
SET search_path = pg_catalog, pg_temp
AS $$ SELECT patroni.snapshot() -> 'config' $$;
COMMENT ON FUNCTION patroni.config() IS
'the dynamic configuration of the cluster; change it with patroni.edit_config()';

CREATE FUNCTION patroni.explain(OUT member pg_catalog.text,
                                OUT is_eligible pg_catalog.bool,
                                OUT verdict pg_catalog.text,
                                OUT reason pg_catalog.text)
RETURNS SETOF pg_catalog.record
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE SECURITY INVOKER NOT LEAKPROOF COST 100 ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.value ->> 'member',
           (e.value ->> 'is_eligible')::boolean,
           CASE WHEN (e.value ->> 'is_for')::boolean THEN 'for' ELSE 'against' END,
           e.value ->> 'reason'
      FROM jsonb_array_elements(patroni.snapshot() -> 'explain')
           WITH ORDINALITY AS e (value, number)
     ORDER BY e.number
$$;
COMMENT ON FUNCTION patroni.explain() IS
'which members could lead the cluster now, and what speaks for and against each';

CREATE FUNCTION patroni.rules(OUT rule_table pg_catalog.text,
                              OUT rule pg_catalog.text,
                              OUT when_facts pg_catalog._text,
                              OUT unless_facts pg_catalog._text,
                              OUT action pg_catalog.text,
                              OUT reason pg_catalog.text)
RETURNS SETOF pg_catalog.record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SECURITY INVOKER NOT LEAKPROOF COST 100 ROWS 60
AS 'MODULE_PATHNAME', 'patroni_rules';
COMMENT ON FUNCTION patroni.rules() IS
'how the node decides: in each table the first rule whose facts hold';

CREATE VIEW patroni.member
(name, role, state, host, port, timeline, lag, tags, pending_restart, api_url, conn_url, version)
AS SELECT m.value ->> 'name',
          m.value ->> 'role',
          m.value ->> 'state',
          m.value ->> 'host',
          (m.value ->> 'port')::pg_catalog.int4,
          (m.value ->> 'timeline')::pg_catalog.int8,
          CASE pg_catalog.jsonb_typeof(m.value -> 'lag')
              WHEN 'number' THEN (m.value ->> 'lag')::pg_catalog.int8
          END,
          m.value -> 'tags',
          COALESCE((m.value ->> 'pending_restart')::pg_catalog.bool, false),
          m.value ->> 'api_url',
          m.value ->> 'conn_url',
          m.value ->> 'version'
     FROM pg_catalog.jsonb_array_elements(patroni.snapshot() -> 'cluster' -> 'members') AS m (value);
COMMENT ON VIEW patroni.member IS 'the members of the cluster, one a row';
COMMENT ON COLUMN patroni.member.name IS 'name of the member';
COMMENT ON COLUMN patroni.member.role IS 'leader, standby_leader, sync_standby, quorum_standby or replica';
COMMENT ON COLUMN patroni.member.state IS 'what the member says it is doing: running, streaming, stopped, ...';
COMMENT ON COLUMN patroni.member.host IS 'host of its PostgreSQL';
COMMENT ON COLUMN patroni.member.port IS 'port of its PostgreSQL';
COMMENT ON COLUMN patroni.member.timeline IS 'timeline it is on';
COMMENT ON COLUMN patroni.member.lag IS 'bytes of WAL it is behind the leader; null if that is not known';
COMMENT ON COLUMN patroni.member.tags IS 'its tags, for example nofailover';
COMMENT ON COLUMN patroni.member.pending_restart IS 'whether changed settings wait for a restart';
COMMENT ON COLUMN patroni.member.api_url IS 'address of its REST API';
COMMENT ON COLUMN patroni.member.conn_url IS 'address of its PostgreSQL, without a password';
COMMENT ON COLUMN patroni.member.version IS 'release of the software that runs it';

CREATE VIEW patroni.history (timeline, lsn, reason, "timestamp", new_leader)
AS SELECT (h.value ->> 'timeline')::pg_catalog.int8,
          (h.value ->> 'lsn')::pg_catalog.pg_lsn,
          h.value ->> 'reason',
          NULLIF(h.value ->> 'timestamp', '')::pg_catalog.timestamptz,
          NULLIF(h.value ->> 'new_leader', '')
     FROM pg_catalog.jsonb_array_elements(patroni.snapshot() -> 'history')
          WITH ORDINALITY AS h (value, number)
    ORDER BY h.number;
COMMENT ON VIEW patroni.history IS 'the timelines of the cluster that ended, oldest first';
COMMENT ON COLUMN patroni.history.timeline IS 'the timeline that ended';
COMMENT ON COLUMN patroni.history.lsn IS 'where in the WAL it ended';
COMMENT ON COLUMN patroni.history.reason IS 'why it ended';
COMMENT ON COLUMN patroni.history."timestamp" IS 'when the next timeline began; null if that is not known';
COMMENT ON COLUMN patroni.history.new_leader IS 'the member that was promoted; null if that is not known';

CREATE VIEW patroni.event ("time", kind, rule, reason, duration)
AS SELECT (e.value ->> 'time')::pg_catalog.timestamptz,
          e.value ->> 'kind',
          e.value ->> 'rule',
          e.value ->> 'reason',
          pg_catalog.make_interval(secs => (e.value ->> 'duration_ms')::pg_catalog.float8 / 1000)
     FROM pg_catalog.jsonb_array_elements(patroni.snapshot() -> 'events')
          WITH ORDINALITY AS e (value, number)
    ORDER BY e.number;
COMMENT ON VIEW patroni.event IS 'what this node decided and did lately, and why';
COMMENT ON COLUMN patroni.event."time" IS 'when';
COMMENT ON COLUMN patroni.event.kind IS 'decision, action, store or baton';
COMMENT ON COLUMN patroni.event.rule IS 'name of the rule that decided, as in patroni.rules()';
COMMENT ON COLUMN patroni.event.reason IS 'why, in words';
COMMENT ON COLUMN patroni.event.duration IS 'time since the decision before it; null if that is not known';

CREATE VIEW patroni.lease
(is_managed, is_enabled, is_open, deadline, remaining_ms, refused_commits, withheld_acks, generation, baton,
 is_isolated, is_exposed, refused_lonely)
AS SELECT (f.fence ->> 'is_managed')::pg_catalog.bool,
          (f.fence ->> 'is_enabled')::pg_catalog.bool,
          (f.fence ->> 'is_open')::pg_catalog.bool,
          (f.fence ->> 'deadline')::pg_catalog.timestamptz,
          (f.fence ->> 'remaining_ms')::pg_catalog.int8,
          (f.fence ->> 'refused_commits')::pg_catalog.int8,
          (f.fence ->> 'withheld_acks')::pg_catalog.int8,
          (f.fence ->> 'generation')::pg_catalog.int4,
          f.fence ->> 'baton',
          (f.fence ->> 'is_isolated')::pg_catalog.bool,
          (f.fence ->> 'is_exposed')::pg_catalog.bool,
          (f.fence ->> 'refused_lonely')::pg_catalog.int8
     FROM (SELECT patroni.status() -> 'fence') AS f (fence);
COMMENT ON VIEW patroni.lease IS 'until when this node may acknowledge writes';
COMMENT ON COLUMN patroni.lease.is_managed IS 'whether patroni_supervisor runs this server';
COMMENT ON COLUMN patroni.lease.is_enabled IS 'whether the setting patroni.fence is on';
COMMENT ON COLUMN patroni.lease.is_open IS 'whether writes may be acknowledged now';
COMMENT ON COLUMN patroni.lease.deadline IS 'when that ends; null if never or if it has not begun';
COMMENT ON COLUMN patroni.lease.remaining_ms IS 'milliseconds until then';
COMMENT ON COLUMN patroni.lease.refused_commits IS 'commits that failed because the lease was over';
COMMENT ON COLUMN patroni.lease.withheld_acks IS 'sessions that were ended after a commit because the lease was over or the wait for a synchronous standby was cut off';
COMMENT ON COLUMN patroni.lease.generation IS 'how often the baton went from one process to the other';
COMMENT ON COLUMN patroni.lease.baton IS 'which process drives the node: worker, supervisor or none';
COMMENT ON COLUMN patroni.lease.is_isolated IS 'whether commits are held because neither a standby nor the store answers';
COMMENT ON COLUMN patroni.lease.is_exposed IS 'whether clients wait after a crash until the synchronous standbys have what was recovered';
COMMENT ON COLUMN patroni.lease.refused_lonely IS 'writes refused because synchronous standbys were missing for longer than patroni.commit_wait_timeout';

CREATE VIEW patroni.synchronous
(mode, is_strict, leader, quorum, standbys, names, is_in_force, next_step, next_names, reason)
AS SELECT s.sync ->> 'mode',
          (s.sync ->> 'is_strict')::pg_catalog.bool,
          s.sync ->> 'leader',
          (s.sync ->> 'quorum')::pg_catalog.int4,
          CASE pg_catalog.jsonb_typeof(s.sync -> 'standbys')
              WHEN 'array' THEN ARRAY(SELECT pg_catalog.jsonb_array_elements_text(s.sync -> 'standbys'))
          END,
          s.sync ->> 'names',
          (s.sync ->> 'is_in_force')::pg_catalog.bool,
          s.sync ->> 'next_step',
          s.sync ->> 'next_names',
          s.sync ->> 'reason'
     FROM (SELECT patroni.snapshot() -> 'synchronous') AS s (sync);
COMMENT ON VIEW patroni.synchronous IS 'synchronous replication: what is, what comes next, and why not yet';
COMMENT ON COLUMN patroni.synchronous.mode IS 'synchronous_mode: off, on or quorum';
COMMENT ON COLUMN patroni.synchronous.is_strict IS 'synchronous_mode_strict: commits wait also when no standby is there';
COMMENT ON COLUMN patroni.synchronous.leader IS 'the leader that the sync key names; null without a key';
COMMENT ON COLUMN patroni.synchronous.quorum IS 'how many others of the key must not be ahead of a member that is to lead';
COMMENT ON COLUMN patroni.synchronous.standbys IS 'the standbys that the sync key names: these may become primary';
COMMENT ON COLUMN patroni.synchronous.names IS 'synchronous_standby_names as this server has read it; null if that is not known';
COMMENT ON COLUMN patroni.synchronous.is_in_force IS 'whether all processes that let commits go have read it';
COMMENT ON COLUMN patroni.synchronous.next_step IS 'what the leader does next; null on other members';
COMMENT ON COLUMN patroni.synchronous.next_names IS 'synchronous_standby_names that come next; null if they stay';
COMMENT ON COLUMN patroni.synchronous.reason IS 'why, or what is waited for';

CREATE VIEW patroni.slot
(name, type, kind, member, database, plugin, "exists", active, restart_lsn, confirmed_lsn, leader_lsn, is_safe, reason)
AS SELECT s.value ->> 'name',
          s.value ->> 'type',
          s.value ->> 'kind',
          s.value ->> 'member',
          s.value ->> 'database',
          s.value ->> 'plugin',
          (s.value ->> 'exists')::pg_catalog.bool,
          (s.value ->> 'active')::pg_catalog.bool,
          (s.value ->> 'restart_lsn')::pg_catalog.pg_lsn,
          (s.value ->> 'confirmed_lsn')::pg_catalog.pg_lsn,
          (s.value ->> 'leader_lsn')::pg_catalog.pg_lsn,
          (s.value ->> 'is_safe')::pg_catalog.bool,
          s.value ->> 'reason'
     FROM pg_catalog.jsonb_array_elements(patroni.snapshot() -> 'slots') AS s (value)
    ORDER BY s.value ->> 'name';
COMMENT ON VIEW patroni.slot IS 'the replication slots of this server: what is, what should be, and what is missing';
COMMENT ON COLUMN patroni.slot.name IS 'name of the slot';
COMMENT ON COLUMN patroni.slot.type IS 'physical or logical';
COMMENT ON COLUMN patroni.slot.kind IS 'why it is there: member (of one that is there), retained (of one that was there lately), permanent (slots of the configuration), ignored (ignore_slots), or foreign (it is dropped when nobody uses it)';
COMMENT ON COLUMN patroni.slot.member IS 'the member it is for';
COMMENT ON COLUMN patroni.slot.database IS 'the database of a logical slot; null if that is not known';
COMMENT ON COLUMN patroni.slot.plugin IS 'the output plugin of a logical slot';
COMMENT ON COLUMN patroni.slot."exists" IS 'whether this server has it';
COMMENT ON COLUMN patroni.slot.active IS 'whether somebody is connected to it here';
COMMENT ON COLUMN patroni.slot.restart_lsn IS 'from where on it keeps WAL here';
COMMENT ON COLUMN patroni.slot.confirmed_lsn IS 'up to where the consumer of a logical slot has confirmed, as this server knows';
COMMENT ON COLUMN patroni.slot.leader_lsn IS 'the position that the leader has published';
COMMENT ON COLUMN patroni.slot.is_safe IS 'whether its user could go on here after a failover';
COMMENT ON COLUMN patroni.slot.reason IS 'why, or why not yet';

-- Changing: commands to the worker --------------------------------------------

CREATE FUNCTION patroni.switchover(candidate pg_catalog.text DEFAULT NULL,
                                   scheduled_at pg_catalog.timestamptz DEFAULT NULL,
                                   wait pg_catalog.bool DEFAULT true,
                                   timeout pg_catalog.interval DEFAULT '60s',
                                   reason pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_switchover';
COMMENT ON FUNCTION patroni.switchover(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.bool, pg_catalog.interval, pg_catalog.text) IS
'change the leader as planned, now or at a given time; without a candidate the best member is taken';

CREATE FUNCTION patroni.failover(candidate pg_catalog.text,
                                 wait pg_catalog.bool DEFAULT true,
                                 timeout pg_catalog.interval DEFAULT '60s',
                                 reason pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_failover';
COMMENT ON FUNCTION patroni.failover(pg_catalog.text, pg_catalog.bool, pg_catalog.interval, pg_catalog.text) IS
'make the candidate the leader although the cluster is not healthy; writes may be lost';

CREATE FUNCTION patroni.pause(wait pg_catalog.bool DEFAULT true,
                              timeout pg_catalog.interval DEFAULT '60s')
RETURNS pg_catalog.text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_pause';
COMMENT ON FUNCTION patroni.pause(pg_catalog.bool, pg_catalog.interval) IS
'suspend automatic failover in the whole cluster';

CREATE FUNCTION patroni.resume(wait pg_catalog.bool DEFAULT true,
                               timeout pg_catalog.interval DEFAULT '60s')
RETURNS pg_catalog.text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_resume';
COMMENT ON FUNCTION patroni.resume(pg_catalog.bool, pg_catalog.interval) IS
'take up automatic failover again in the whole cluster';

CREATE FUNCTION patroni.restart(member pg_catalog.text DEFAULT NULL,
                                role pg_catalog.text DEFAULT NULL,
                                pending pg_catalog.bool DEFAULT false,
                                wait pg_catalog.bool DEFAULT true,
                                timeout pg_catalog.interval DEFAULT '60s')
RETURNS pg_catalog.text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_restart';
COMMENT ON FUNCTION patroni.restart(pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.bool, pg_catalog.interval) IS
'restart the PostgreSQL of a member, of this one by default; with pending only if changed settings wait for it';

CREATE FUNCTION patroni.reload(member pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_reload';
COMMENT ON FUNCTION patroni.reload(pg_catalog.text) IS
'have a member, this one by default, read its configuration file again';

CREATE FUNCTION patroni.reinitialize(member pg_catalog.text,
                                     force pg_catalog.bool DEFAULT false,
                                     from_leader pg_catalog.bool DEFAULT false)
RETURNS pg_catalog.text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_reinitialize';
COMMENT ON FUNCTION patroni.reinitialize(pg_catalog.text, pg_catalog.bool, pg_catalog.bool) IS
'have a standby throw its data directory away and copy the cluster anew';

CREATE FUNCTION patroni.edit_config(patch pg_catalog.jsonb)
RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SECURITY INVOKER NOT LEAKPROOF COST 100
AS 'MODULE_PATHNAME', 'patroni_edit_config';
COMMENT ON FUNCTION patroni.edit_config(pg_catalog.jsonb) IS
'change the dynamic configuration of the cluster: keys of the patch replace those of the configuration, null removes';

-- Privileges: reading for monitoring, changing for nobody but the owner -------

REVOKE ALL ON SCHEMA patroni FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA patroni FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA patroni FROM PUBLIC;

GRANT USAGE ON SCHEMA patroni TO pg_monitor;
GRANT SELECT ON TABLE patroni.member, patroni.history, patroni.event, patroni.lease, patroni.synchronous, patroni.slot TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    patroni.snapshot(),
    patroni.status(),
    patroni.config(),
    patroni.explain(),
    patroni.rules()
TO pg_monitor;
