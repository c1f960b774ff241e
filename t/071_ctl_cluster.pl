# patroni_ctl on a real cluster: shows the same as Patroni's patronictl, and each of its commands does its work.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $secret = 'ctl secret';
my $cluster = PatroniCluster->new('ctl', node => {
	node2 => { tags => { clonefrom => JSON::PP::true, zone => 'a: b' } },
}, config => sub {
	my ($node, $config) = @_;

	$config->{restapi}{authentication} = { username => 'operator', password => $secret };
});
$cluster->start;
my $scope = $cluster->{scope};
my $leader = $cluster->leader;
my ($status, $out, $err);

sub ctl
{
	my ($what, $pattern, @words) = @_;

	($status, $out, $err) = $cluster->patroni_ctl(@words);
	shift @words if ref $words[0];
	ok($status == 0 && $out =~ $pattern, "$words[0]: $what") or diag("status $status\n$out\n$err");
}

# --- the same output ---

SKIP:
{
	skip 'patronictl is not installed', 1 if system('patronictl version > /dev/null 2>&1') != 0;
	$leader->sql(q{SELECT patroni.edit_config('{"postgresql": {"parameters": {"max_connections": 120, "work_mem": "5MB"}}}')});
	$cluster->wait_for('a restart is pending everywhere', sub {
		3 == grep { ($cluster->key_json("members/$_->{name}") // {})->{pending_restart} } $cluster->nodes;
	});
	for my $format (qw(pretty tsv json yaml))
	{
		$cluster->is_shown_alike('list', '-f', $format);
		$cluster->is_shown_alike('history', '-f', $format);
	}
	$cluster->is_shown_alike('topology', $scope);
	$cluster->is_shown_alike('show-config');
	$cluster->is_shown_alike('dsn', $scope, '-r', 'replica');
	$cluster->is_shown_alike('dsn', '-m', 'node3');
}

# --- a switchover, whose history and events are seen ---

my ($candidate) = grep { $_->{name} eq 'node2' } $cluster->standbys;

ctl('to a member', qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{5} Successfully switched over to "node2"$/m,
	'switchover', $scope, '--leader', $leader->{name}, '--candidate', 'node2', '--force');
$cluster->wait_for_leader(is => $candidate);
$cluster->wait_until_streaming;
ctl('shows the end of timeline 1', qr/^\|  1 \|\s+\d+ \| no recovery target specified \|/m, 'history');
$cluster->wait_for('all could lead', sub {
	my ($status, $out) = $cluster->patroni_ctl('explain');

	return $status == 0 && $out =~ /node1.*node3/s && $out !~ /\| no /;
}, every_ms => 200);
ctl('says who could lead', qr/^\| node[13]\s+\| yes\s+\| for\s+\|/m, 'explain');
ctl('the same as JSON', qr/^\[\{"member": "node\d", "is_eligible": (true|false), "verdict": "(for|against)", "reason": "/,
	'explain', '-f', 'json', '-m', 'node3');
$cluster->wait_for('events', sub { ($cluster->patroni_ctl('events', '-n', 200, '-m', 'node2'))[1] =~ /promote/ });
ctl('as many as asked for', qr/\A[^\n]*\bRule\b[^\n]*\n[^\n]+\z/, 'events', '-n', 1, '-f', 'tsv');
my $port = $candidate->{port};
ctl('of the new leader', qr/^host=127.0.0.1 port=$port$/, 'dsn');
ctl('of each member', qr/^node1: Patroni \S+ PostgreSQL 15\.\d+\n(.*\n)*node3: Patroni /m, 'version', $scope);

# --- queries ---

my %as = (environment => { PGUSER => 'postgres', PGPASSWORD => $candidate->{passwords}{superuser} });
my $sql = q{SELECT 1 AS one, true AS b, 'x' AS "T", NULL AS n, 0.5::float8 AS f};

ctl('values', qr/\Aone\tb\tT\tn\tf\n1\tTrue\tx\tNone\t0.5\z/, \%as, 'query', '-c', $sql, '-d', 'postgres');
ctl('JSON', qr/\A\[\{"one": 1, "b": true, "T": "x", "n": null, "f": 0.5\}\]\z/, \%as, 'query', '--format', 'json',
	'-c', $sql, '-d', 'postgres');
ctl('a standby', qr/\Apg_is_in_recovery\nTrue\z/, { %as, input => 'SELECT pg_is_in_recovery()' }, 'query', '-r', 'replica',
	'-f', '-', '-d', 'postgres');
ctl('an error', qr/\A\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\tERROR, SQLSTATE: 42P01\z/, \%as, 'query', '-c', 'SELECT * FROM nothing',
	'-d', 'postgres');
ctl('nobody', qr/\tNo connection to member nobody is available\z/, \%as, 'query', '-c', 'SELECT 1', '-m', 'nobody');
ctl('a password that is asked for', qr/^1$/m, { input => "$candidate->{passwords}{superuser}\n" }, 'query', '--password',
	'-U', 'postgres', '-d', 'postgres', '-c', 'SELECT 1');
unlike($out . $err, qr/\Q$candidate->{passwords}{superuser}\E/, 'and is not shown');

# --- settings ---

ctl('shows what changes', qr/^-    work_mem: 5MB\n\+    work_mem: 7MB\n(.*\n)*Configuration changed$/m,
	'edit-config', '-p', 'work_mem=7MB', '--force');
$_->wait_for_sql("SELECT setting = '7168' FROM pg_settings WHERE name = 'work_mem'") for $cluster->nodes;
ok(1, 'every member takes it over');
ctl('asks', qr/Apply these changes\? \[y\/N\]: Configuration changed$/, { input => "y\n" }, 'edit-config', '-s', 'check_timeline=on');
is(JSON::PP::encode_json([ $cluster->key_json('config')->{check_timeline} ]), '[true]', 'and writes');
ctl('by an editor', qr/^\+check_timeline: false$/m,
	{ input => "y\n", environment => { EDITOR => 'sed -i s/check_timeline.*/check_timeline:\ false/' } }, 'edit-config');
($status, $out, $err) = $cluster->patroni_ctl({ input => "n\n" }, 'edit-config', '-s', 'ttl=soon');
like($err, qr/WARNING - ttl: /, 'edit-config: warns of what no node takes');
ctl('members', qr/^Reload request received for member node1 and will be processed within 1 seconds$/m, 'reload', $scope,
	'node1', '--force');

# --- pause, a scheduled switchover ---

ctl('waits', qr/^'pause' request sent, waiting until it is recognized by all nodes\nSuccess: cluster management is paused$/,
	'pause', '--wait');
is(($cluster->patroni_ctl('pause'))[2], 'Error: Cluster is already paused', 'pause: once is enough');
ctl('is shown', qr/^ Maintenance mode: on$/m, 'list');
ctl('waits', qr/Success: cluster management is resumed$/, 'resume', '--wait');
ctl('scheduled', qr/ Switchover scheduled$/m, 'switchover', '--force', '--scheduled', '2030-01-02T03:04:05Z');
ctl('shows it', qr/^ Switchover scheduled at: 2030-01-02T03:04:05\+00:00\n +from: node2$/m, 'topology');
ctl('forgets it', qr/^Success: scheduled switchover deleted$/, 'flush', $scope, 'switchover');
ctl('says that there is none', qr/^No pending scheduled switchover$/, 'flush', $scope, 'switchover');
ctl('a wrong password', qr/^Failed: pause cluster management status code=401, \(not authenticated\)$/,
	{ environment => { PATRONI_CTL_USERNAME => 'operator', PATRONI_CTL_PASSWORD => 'guessed' } }, 'pause');

# --- other tables, and other ways to be told where ---

ctl('columns of newer versions', qr/^\+ Cluster: $scope \(\d{19}\) .*\n.* Receive LSN \| Lag \| Replay LSN \| Lag \|/, '--layout', '4.1', 'list');
like($out, qr/^\| node1 +\| \S+ +\| Replica +\| streaming +\|  2 \| +\d+\/[0-9A-F]+ \| +0 \| +\d+\/[0-9A-F]+ \| +0 \|/m, 'with positions');
ctl('a store from the command line', qr/Cluster: $scope /, { config => undef },
	'-d', "etcd3://127.0.0.1:$cluster->{etcd_port}/service", 'list', $scope);
ctl('environment only', qr/Cluster: $scope /, { config => undef, environment => { PATRONI_SCOPE => $scope,
			PATRONI_ETCD3_HOSTS => "127.0.0.1:$cluster->{etcd_port}" } }, 'list');
($status, $out, $err) = $cluster->patroni_ctl({ config => undef }, '-d', 'floppy://x', 'list', $scope);
is("$status $err", '1 Error: Unknown dcs scheme: floppy', 'an unknown store');

ctl('shows no options of old versions', qr/\A(?!.*--leader)(?!.*^ +TEXT)/ms, 'failover', '--help');

# --- without a leader: by name, through the store if nobody answers ---

$_->stop for $cluster->nodes;
$cluster->wait_for('no leader', sub { !defined $cluster->key('leader') });
is(($cluster->patroni_ctl('switchover', $scope, '--force'))[2], 'Error: This cluster has no leader', 'switchover: without a leader');
$cluster->put_key('members/node3', '{"conn_url":"postgres://127.0.0.1:1/postgres","api_url":"http://127.0.0.1:1/patroni"}');
ctl('falls back to the store', qr/ Could not failover using Patroni api, falling back to DCS$/m, 'failover', $scope,
	'--candidate', 'node3', '--force');
is_deeply($cluster->key_json('failover'), { member => 'node3' }, 'which has the request');

# --- the end ---

ctl('asks twice', qr/please type: "Yes I am aware": $/m, { input => "$scope\nYes I am aware\n" }, 'remove', $scope);
$cluster->put_key('leader', 'node1');
ctl('asks three times', qr/This cluster currently is healthy\. Please specify the leader name to continue: $/m,
	{ input => "$scope\nYes I am aware\nnode1\n" }, 'remove', $scope);
is($cluster->key($_), undef, "$_ is gone") for qw(config initialize history status members/node3 leader);

done_testing();
