# IntendedDifferences: where our REST API answers otherwise than that of
# Debian's Patroni (3.0.2), and why.  The only list of it: the test
# t/087_compatibility.pl fails on any other difference, and on one of these that
# is no longer seen; docs/compatibility.md shows them.
#
# request, column: which answers (all, if absent); difference: the line, as
# Compatibility.pm makes them.  The first that matches counts.  only_with: it is
# seen only when the store is stopped ("outages"), which the test does when it is
# asked to, or only sometimes ("luck").

package IntendedDifferences;

use strict;
use warnings;

our @list = (
	# --- newer Patroni does as we do ---
	{
		difference => qr/^value role master -> primary$/,
		reason => 'The role of a primary is called `primary`, as since Patroni 4.0; members of ours understand `master`, too.',
	},
	{
		difference => qr/^key \+(patroni\.name|replication_state|members\[\w*\]\.(receive|replay)_(lag|lsn)|members\[\w*\]\.lsn|scope|(members\[\w*\]\.)?pending_restart_reason)$/,
		reason => 'Fields of Patroni 4.1: `patroni.name`, `replication_state`, `scope`, `pending_restart_reason`, and positions in `/cluster`.',
	},
	{
		difference => qr/^value members\[\w+\]\.state running -> (streaming|in archive recovery)$/,
		reason => '`/cluster` shows a standby\'s `replication_state` as its state, as since Patroni 3.0.3.',
	},
	{
		request => qr{/read-only-quorum},
		difference => qr/^status 200 -> 503$/,
		reason => '`/quorum` and `/read-only-quorum` are for standbys of a quorum, as since Patroni 4.0; 3.0.2 takes the second one for `/read-only`.',
	},
	{
		request => qr{^GET /readiness},
		column => qr/^SN$/,
		difference => qr/^status 200 -> 503$/,
		reason => '`/readiness` asks for a standby that streams, as Patroni 4.1; for 3.0.2 one that runs is ready.',
	},
	{
		request => qr{^GET /readiness},
		column => qr/^SF$/,
		difference => qr/^status 503 -> 200$/,
		reason => '`/readiness` of a standby that streams stays 200 while failsafe mode lets its primary lead on without the store, as Patroni 4.1; 3.0.2 asks for the store.',
		only_with => 'outages',
	},
	{
		request => qr{/readiness\?},
		difference => qr/^status 200 -> 503$/,
		reason => '`/readiness` looks at how far the standby is behind, as Patroni 4.1; 3.0.2 does not know its parameters `lag` and `mode`.',
	},
	{
		request => qr{replication_state=},
		difference => qr/^status 200 -> 503$/,
		reason => 'The parameter `replication_state` of Patroni after 4.1.4; 3.0.2 ignores it.',
	},
	{
		difference => qr/^(series -patroni_master|type patroni_postgres_timeline counter -> gauge)$/,
		reason => 'As since Patroni 4.0 there is no `patroni_master` (`patroni_primary` is in both), and the timeline is a gauge.',
	},
	{
		difference => qr/^series \+patroni_(quorum_standby|postgres_streaming|postgres_in_archive_recovery|postgres_state|failover_priority|failsafe_member|failsafe_mode_enabled)$/,
		reason => 'Series of Patroni 4.1 and later.',
	},
	{
		difference => qr/^labels \w+ scope -> name,scope$/,
		reason => 'Metrics have the label `name` beside `scope`, as since Patroni 3.2.',
	},
	{
		request => qr{^POST /mpp},
		difference => qr/^status 501 -> \d+$/,
		reason => '`POST /mpp` is the newer name of `/citus` (Patroni 4.0). Ours asks for credentials, which 4.1 forgets.',
	},
	{
		request => qr{^POST /restart .*"role"},
		difference => qr/^(text "PostgreSQL role should be either primary or replica" -> "PostgreSQL role should be either primary, standby_leader, or replica"|status 400 -> 503)$/,
		reason => '`POST /restart` knows the role `standby_leader`, as since Patroni 3.1.',
	},
	{
		request => qr{^POST /(switchover|failover) .*("LEADER", "candidate": "LEADER"|"STANDBY", "candidate": "STANDBY"|"scheduled_at")},
		difference => qr/^(status (412|503) -> 400|text "Scheduled failover is possible only from a specific leader" -> "Failover can't be scheduled")$/,
		reason => 'As since Patroni 3.2 and 4.0: 400 where leader and candidate are the same, and a failover cannot be scheduled.',
	},

	{
		column => qr/^PN$/,
		difference => qr/^value (role master -> replica|patroni_primary 1 -> 0|patroni_replica 0 -> 1)$/,
		reason => 'A former primary whose server is stopped and whose leader key is gone is called a replica: `patroni_primary` is for who holds the key '
		  . '(documentation of Patroni 4.1). Patroni goes on calling it the primary.',
	},

	# --- ours alone ---
	{
		difference => qr/^key \+(patroni_bgw|can_lead)$/,
		reason => 'Beside Patroni\'s fields: `patroni_bgw` with the state of the fence, `can_lead` (false) while this member could not take the lease.',
	},
	{
		difference => qr/^series \+patroni_(bgw_info|fence_\w+|lease_remaining_seconds|last_(switchover|failover)_seconds|synchronous_\w+|slot_\w+|missing_slots|failsafe_(key_members|remaining_seconds|promise_seconds))$/,
		reason => 'Series of our own beside Patroni\'s.',
	},
	{
		difference => qr/^type replication\[\]\.usename string -> null$/,
		reason => '`replication[].usename` is null: the status is read from shared memory, without a query.',
	},
	{
		difference => qr/^key \+failsafe_mode$/,
		reason => 'A new cluster\'s configuration says whether `failsafe_mode` is on, so that it is seen that it is not.',
	},
	{
		request => qr{^PATCH /config .*"loop_wait": "x"},
		difference => qr/^status 200 -> 400$/,
		reason => 'A configuration that is not valid is refused, before any member reads it.',
	},
	{
		difference => qr/^text "restart conditions are not satisfied" -> "restart conditions are not satisfied: .+"$/,
		reason => 'Where a restart is refused the reason is added.',
	},
	{
		request => qr{^POST /failsafe},
		difference => qr/^status 50[02] -> 4(00|11)$/,
		reason => 'The body of `POST /failsafe` is looked at first, and has to have a name.',
	},
	{
		request => qr{^POST /failsafe},
		difference => qr/^status 200 -> 409$/,
		reason => 'A member promises only to the leader that it knows of (failsafe.md).',
		only_with => 'outages',
	},
	{
		request => qr{^POST /failsafe},
		difference => qr/^header \+lsn$/,
		reason => '`POST /failsafe` answers with the header `lsn`, as since Patroni 3.2.',
		only_with => 'outages',
	},
	{
		request => qr{^GET /failsafe},
		difference => qr/^status 200 -> 502$/,
		reason => 'When `failsafe_mode` is switched off the key `failsafe` is removed.',
		only_with => 'outages',
	},
	{
		difference => qr/^status connection closed -> 50[23]$/,
		reason => 'What needs the store while it does not answer gets an error page; Patroni\'s code fails and closes the connection, after it has tried for a while.',
		only_with => 'outages',
	},
	{
		request => qr{^POST /(restart|switchover) .*(16\.1|: 1\})},
		difference => qr/^status (connection closed|412) -> 400$/,
		reason => 'A value of the wrong type is a bad request; Patroni\'s code fails, or takes it for a name.',
	},

	{
		column => qr/^(PD|SD|PF|SF)$/,
		difference => qr/^key [+-]replication$/,
		reason => 'Which standbys are connected while the store is down depends on when the server was restarted.',
		only_with => 'luck',
	},
	{
		column => qr/^SN$/,
		difference => qr/^key -replication$/,
		reason => 'Without a leader each request has Patroni connect to its own server for replication, and it may count that connection.',
		only_with => 'luck',
	},

	{
		request => qr{^POST /restart},
		column => qr/^B$/,
		difference => qr/^text "restarting after failure already in progress" -> "start as standby already in progress"$/,
		reason => 'What is in progress already is called as in our log, `start as standby`; Patroni calls it `restarting after failure`.',
	},
	{
		difference => qr/^key -logger_queue_size$/,
		reason => 'Our log has no queue; Patroni\'s `logger_queue_size` is there while more than two of its lines wait to be written.',
		only_with => 'luck',
	},

	# --- requests that are none ---
	{
		difference => qr/^status (a page without status line|connection closed) -> 400$/,
		reason => 'What is not HTTP/1 is answered by an HTTP page with 400; Python\'s server writes a page without a status line, or nothing.',
	},
	{
		request => qr/^a (path|header) of|^101 headers/,
		difference => qr/^status (503 -> 414|414 -> 431|431 -> 200)$/,
		reason => 'Limits are others: 1 kB for a path (414), 16 kB for line and headers (431), however many headers these are; Python\'s are 64 kB a line (414, 431) and 100 headers (431).',
	},
);

1;
