# Every SQL command ends: with the worker's answer, or with the reason why
# there is none; and the views show what the worker published.

use strict;
use warnings;

use IPC::Run;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TestTools;
use Test::More;

my $tools = PostgreSQL::Test::Utils::tempdir;

chomp(my $server_include = `pg_config --includedir-server`);
build_tool("$tools/patroni_worker.so", 'test/tools/command_worker.c', 'src/worker/shared_worker.c', "-I$server_include");

append_to_file("$tools/snapshot.json", <<'JSON');
{"node": {"name": "node1", "scope": "demo", "role": "primary", "state": "running", "timeline": 3},
 "cluster": {"members": [
   {"name": "node1", "role": "leader", "state": "running", "host": "10.0.0.1", "port": 5432, "timeline": 3,
    "api_url": "http://10.0.0.1:8008/patroni", "conn_url": "postgres://10.0.0.1:5432/postgres", "version": "4.1.4"},
   {"name": "node2", "role": "replica", "state": "streaming", "host": "10.0.0.2", "port": 5433, "timeline": 3,
    "lag": 4096, "tags": {"nofailover": true}, "pending_restart": true},
   {"name": "node3", "role": "replica", "state": "stopped", "lag": "unknown"}]},
 "config": {"ttl": 30, "loop_wait": 10},
 "history": [{"timeline": 1, "lsn": "0/186FD98", "reason": "no recovery target specified", "timestamp": "2026-01-02T03:04:05.000000+00:00", "new_leader": "node2"},
             {"timeline": 2, "lsn": "2/40000000", "reason": "no recovery target specified", "timestamp": null, "new_leader": null}],
 "events": [{"time": "2026-01-02T03:04:05.000000+00:00", "kind": "decision", "rule": "promote",
             "reason": "this member holds the leader lease", "duration_ms": 12}],
 "explain": [{"member": "node1", "is_eligible": true, "is_for": true, "reason": "no reachable member has more WAL"},
             {"member": "node2", "is_eligible": false, "is_for": false, "reason": "this member is tagged nofailover"}],
 "taken_ms": 1}
JSON

my $node = PostgreSQL::Test::Cluster->new('commands');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'patroni_bgw'
dynamic_library_path = '$tools:\$libdir'
patroni.socket = '/nowhere'
command_worker.snapshot = '$tools/snapshot.json'
TimeZone = 'UTC'
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION patroni_bgw');

sub wait_for_worker
{
	$node->poll_query_until('postgres', "SELECT patroni.status() -> 'worker' ->> 'is_running' = 'true'"
		  . " AND patroni.status() ->> 'snapshot_age_ms' IS NOT NULL")
	  or die 'the worker does not run';
}

wait_for_worker();

# --- what was published ---

is($node->safe_psql('postgres', 'TABLE patroni.member'),
	"node1|leader|running|10.0.0.1|5432|3|||f|http://10.0.0.1:8008/patroni|postgres://10.0.0.1:5432/postgres|4.1.4\n"
	  . "node2|replica|streaming|10.0.0.2|5433|3|4096|{\"nofailover\": true}|t|||\n"
	  . "node3|replica|stopped||||||f|||",
	'patroni.member');
is($node->safe_psql('postgres', 'TABLE patroni.history'),
	"1|0/186FD98|no recovery target specified|2026-01-02 03:04:05+00|node2\n"
	  . '2|2/40000000|no recovery target specified||',
	'patroni.history');
is($node->safe_psql('postgres', 'TABLE patroni.event'),
	'2026-01-02 03:04:05+00|decision|promote|this member holds the leader lease|00:00:00.012', 'patroni.event');
is($node->safe_psql('postgres', 'SELECT * FROM patroni.explain()'),
	"node1|t|for|no reachable member has more WAL\nnode2|f|against|this member is tagged nofailover",
	'patroni.explain()');
is($node->safe_psql('postgres', 'SELECT patroni.config()'), '{"ttl": 30, "loop_wait": 10}', 'patroni.config()');
is($node->safe_psql('postgres',
		q{SELECT s #>> '{node,name}', s ? 'events', s ? 'fence' FROM patroni.status() AS s}),
	'node1|f|t', 'patroni.status()');

# --- answers ---

sub answer_of
{
	my ($call) = @_;

	return $node->safe_psql('postgres', "SELECT ($call)::jsonb - 'user'");
}

is(answer_of(q{patroni.switchover('node2', '2030-01-02 03:04:05+02', false, '5s', 'a "quoted" reason')}),
	'{"wait": false, "reason": "a \"quoted\" reason", "candidate": "node2", "timeout_ms": 5000, "scheduled_at": "2030-01-02T01:04:05+00:00"}',
	'switchover gets its arguments');
is(answer_of(q{patroni.switchover()}),
	'{"wait": true, "reason": null, "candidate": null, "timeout_ms": 60000, "scheduled_at": null}',
	'switchover has defaults');
is(answer_of(q{patroni.failover('node2')}),
	'{"wait": true, "reason": null, "candidate": "node2", "timeout_ms": 60000}', 'failover');
is(answer_of(q{patroni.pause(timeout => '1 day')}), '{"wait": true, "timeout_ms": 86400000}', 'pause');
is(answer_of(q{patroni.resume(false)}), '{"wait": false, "timeout_ms": 60000}', 'resume');
is(answer_of(q{patroni.restart('node2', 'replica', true)}),
	'{"role": "replica", "wait": true, "member": "node2", "pending": true, "timeout_ms": 60000}', 'restart');
is(answer_of(q{patroni.reload()}), '{"member": null, "timeout_ms": 60000}', 'reload');
is(answer_of(q{patroni.reinitialize('node2', true)}),
	'{"force": true, "member": "node2", "timeout_ms": 60000, "from_leader": false}', 'reinitialize');
is(answer_of(q{patroni.edit_config('{"ttl": 20, "x": {"y": null}}')}),
	'{"patch": {"x": {"y": null}, "ttl": 20}, "timeout_ms": 60000}', 'edit_config');

# --- no answer, or a bad one ---

sub fails
{
	my ($name, $sql, $pattern) = @_;
	my (undef, undef, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql;");

	like($stderr, $pattern, $name);
}

fails('a refusal is an error with all its parts', q{SELECT patroni.switchover(reason => 'refuse')},
	qr/ERROR:  0A000: refused\nDETAIL:  Because\.\nHINT:  Do not\./);
fails('an answer that is too long', q{SELECT patroni.switchover(reason => 'long')},
	qr/ERROR:  54000: the answer of the patroni worker is too long/);
fails('an answer that is no JSON', q{SELECT patroni.switchover(reason => 'broken')},
	qr/invalid input syntax for type json/);
fails('no answer in time', q{SELECT patroni.switchover(reason => 'never', timeout => '100ms')},
	qr/ERROR:  57014: command "switchover" did not end within 100 ms\nDETAIL:  The patroni worker has begun it\./);
fails('a canceled wait', q{SET statement_timeout = '200ms'; SELECT patroni.switchover(reason => 'never')},
	qr/ERROR:  57014: canceling statement due to statement timeout/);
fails('a worker that ends with the command', q{SELECT patroni.switchover(reason => 'exit')},
	qr/ERROR:  55000: the patroni worker was restarted while it ran the command/);
wait_for_worker();

# --- the queue is bounded, and nothing of it is lost ---

my @clients = map {
	my ($out, $err) = ('', '');

	IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=waits',
			'-c', q{SELECT patroni.switchover(reason => 'never')} ], '>', \$out, '2>', \$err)
} 1 .. 16;
$node->poll_query_until('postgres',
	"SELECT count(*) = 16 FROM pg_stat_activity WHERE application_name = 'waits' AND wait_event = 'Extension'")
  or die 'the sessions do not wait';
fails('one command too many', 'SELECT patroni.pause()',
	qr/ERROR:  53400: too many commands are under way\nDETAIL:  At most 16 /);

$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits'");
$_->finish for @clients;
fails('slots that were left stay with the worker', 'SELECT patroni.pause()', qr/too many commands are under way/);

my $old = $node->safe_psql('postgres', "SELECT patroni.status() -> 'worker' ->> 'pid'");
kill 'TERM', $old;
$node->poll_query_until('postgres', "SELECT patroni.status() -> 'worker' ->> 'pid' <> '$old'") or die 'no new worker';
is(answer_of('patroni.pause()'), '{"wait": true, "timeout_ms": 60000}', 'the next worker begins with free slots');

# --- after a crash of a backend, all shared memory is new ---

$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
my $victim = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=victim',
		'-c', q{SELECT patroni.switchover(reason => 'never')} ], '>', \my $out, '2>', \my $err);
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'victim' AND wait_event = 'Extension'")
  or die 'the victim does not wait';
kill 'KILL', $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'victim'");
$victim->finish;
$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
wait_for_worker();
is(answer_of('patroni.pause()'), '{"wait": true, "timeout_ms": 60000}', 'commands work after a crash');

# --- without the library ---

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
fails('functions of a library that was not preloaded', 'SELECT patroni.status()',
	qr/ERROR:  55000: patroni_bgw is not loaded\nHINT:  Add "patroni_bgw" to "shared_preload_libraries"/);
fails('commands of a library that was not preloaded', 'SELECT patroni.pause()',
	qr/ERROR:  55000: patroni_bgw is not loaded/);
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM patroni.rules()'), 't', 'the rules are there all the same');

$node->stop;
done_testing();
