# patroni_ctl on a cluster of Debian's Patroni: every command for members does there what it does with ours.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

plan skip_all => 'patroni is not installed'
  if system('patroni --version > /dev/null 2>&1') != 0;

# their REST API speaks HTTPS
my $certificate;
my $cluster = PatroniCluster->new('debian', members => 2, dcs => { ttl => 20, loop_wait => 2, retry_timeout => 3 },
	config => sub {
		my ($node, $config) = @_;

		$certificate //= PatroniCluster::make_certificate("$node->{cluster}{base}/rest");
		$config->{restapi}{certfile} = "$certificate.crt";
		$config->{restapi}{keyfile} = "$certificate.key";
		$config->{restapi}{authentication} = { username => 'operator', password => 'ctl secret' };
		$config->{ctl}{cacert} = "$certificate.crt";
	});
my ($first, $second) = $cluster->nodes;
my $scope = $cluster->{scope};
my ($status, $out, $err);

$cluster->start_etcd;
$first->start(program => 'patroni');
$cluster->wait_for_leader;
$second->start(program => 'patroni');
$cluster->wait_until_published;

sub ctl
{
	my ($what, $pattern, @words) = @_;

	($status, $out, $err) = $cluster->patroni_ctl(@words);
	shift @words if ref $words[0];
	shift @words if $words[0] =~ /^-/;
	ok($status == 0 && $out =~ $pattern, "$words[0]: $what") or diag("status $status\n$out\n$err");
}

sub started_at { return $_[0]->sql('SELECT pg_postmaster_start_time()'); }

$cluster->is_shown_alike('list', '-f', $_) for qw(pretty tsv json yaml);
$cluster->is_shown_alike('topology');
$cluster->is_shown_alike('show-config');
$cluster->is_shown_alike('dsn', '-r', 'standby');

# --- reload and restart ---

ctl('nothing to do', qr/^(No changes to apply on member node2|Reload request received for member node2 .*)$/m, 'reload',
	$scope, 'node2', '--force');
my $before = started_at($second);
ctl('one member', qr/^Success: restart on member node2$/m, 'restart', $scope, 'node2', '--force');
isnt(started_at($second), $before, 'which has been restarted');
ctl('asks', qr/\[now\]: Are you sure you want to restart members node1\? \[y\/N\]: Restart if the PostgreSQL version is less than provided \(e\.g\. 9\.5\.2\)  \[\]: Failed: restart for member node1, status code=503, \(restart conditions are not satisfied\)$/m,
	{ input => "\ny\n9.6.1\n" }, 'restart', $scope, '-r', 'leader');
ctl('scheduled', qr/^Success: restart scheduled on member node2$/m, 'restart', $scope, 'node2', '--force',
	'--scheduled', '2030-01-02T03:04:05+01:00', '--pg-version', '15.9');
$cluster->wait_for('the schedule is published', sub { ($cluster->key_json('members/node2') // {})->{scheduled_restart} });
$cluster->is_shown_alike('list', '-e', '-f', $_) for qw(pretty tsv json yaml);
ctl('the other schedule wins with --force', qr/^Success: restart scheduled on member node2$/m, 'restart', $scope, 'node2',
	'--scheduled', '2031-01-02T03:04:05+01:00', '--force');
ctl('one at a time', qr/Failed: another restart is already scheduled on member node2$/m,
	{ input => "2032-01-01T00:00Z\ny\n\n" }, 'restart', $scope, 'node2');
ctl('by name', qr/^Success: flush scheduled restart for member node2$/m, 'flush', $scope, 'node2', 'restart', '--force');
ctl('nothing', qr/^No scheduled restart for member node1$/m, 'flush', $scope, 'node1', 'restart', '--force');
ctl('a setting that waits', qr/Configuration changed/, 'edit-config', '-p', 'max_connections=120', '--force');
$cluster->wait_for('a restart is pending', sub {
	2 == grep { ($cluster->key_json("members/$_->{name}") // {})->{pending_restart} } $cluster->nodes;
});
$before = started_at($first);
ctl('only those that wait', qr/^Success: restart on member node1$/m, 'restart', $scope, 'node1', '--pending', '--force');
isnt(started_at($first), $before, 'which has been restarted');
is($first->sql('SHOW max_connections'), 120, 'with the new setting');
$cluster->wait_for_leader(is => $first);

# --- reinit, pause, switchover ---

$cluster->wait_until_streaming;
ctl('waits', qr/^Success: reinitialize for member node2\nWaiting for reinitialize to complete on: node2\nReinitialize is completed on: node2$/m,
	'reinit', $scope, 'node2', '--force', '--wait');
is(($cluster->patroni_ctl('reinit', $scope, 'node1', '--force'))[2], 'Error: No replica among provided members', 'reinit: not the leader');
$cluster->wait_until_streaming;
ctl('waits', qr/Success: cluster management is paused$/, 'pause', '--wait');
is(($cluster->patroni_ctl('switchover', '--force', '--scheduled', '2030-01-01T00:00Z'))[2],
	"Error: Can't schedule switchover in the paused state", 'switchover: not scheduled while paused');
ctl('waits', qr/Success: cluster management is resumed$/, 'resume', '--wait');
ctl('refused', qr/^Switchover failed, details: 4\d\d, /m, 'switchover', '--force', '--scheduled', '2020-01-01T00:00Z');
ctl('with answers', qr/Successfully switched over to "node2"$/m, { input => "node1\nnode2\n\ny\n" }, 'switchover');
$cluster->wait_for_leader(is => $second);
$cluster->wait_until_streaming;
ctl('back', qr/Successfully (switched|failed) over to "node1"$/m, 'failover', '--candidate', 'node1', '--force');
$cluster->wait_for_leader(is => $first);
$cluster->wait_for('history', sub { 2 == @{ $cluster->key_json('history') // [] } });
$cluster->is_shown_alike('history', '-f', $_) for qw(pretty tsv json yaml);
$cluster->wait_until_streaming;
ctl('both', qr/^node1: Patroni 3\.\S+ PostgreSQL 15\.\d+\nnode2: Patroni 3\.\S+ PostgreSQL 15\.\d+$/m, 'version', $scope);


# --- a standby cluster, and back ---

is(($cluster->patroni_ctl('demote-cluster', '--force'))[2],
	'Error: At least --host, --port or --restore-command should be specified', 'demote-cluster: whom to follow');
is(($cluster->patroni_ctl('promote-cluster', '--force'))[2], 'Error: Cluster is already in the required state',
	'promote-cluster: not needed');
is(($cluster->patroni_ctl({ input => "n\n" }, 'demote-cluster', '--host', '10.0.0.1'))[2], 'Error: Aborted cluster demotion',
	'demote-cluster: asks');
ctl('waits', qr/leader role: standby_leader, leader state: running\n.* cluster is successfully demoted\n/, 'demote-cluster', '--force',
	'--host', '127.0.0.1', '--port', 1);
like($out, qr/^\| node1 +\| \S+ +\| Standby Leader /m, 'and shows who follows');
ctl('waits', qr/leader state: running\n.* cluster is successfully promoted\n/, 'promote-cluster', '--force');
is($cluster->wait_for_leader, $first, 'which takes writes');

# --- certificates ---

my %bare = (config => undef, environment => { PATRONI_SCOPE => $scope, PATRONI_ETCD3_HOSTS => "127.0.0.1:$cluster->{etcd_port}" });

ctl('a certificate that nobody knows', qr/^node1: failed to get version: .*certificate/m, \%bare, 'version', $scope);
ctl('is taken with -k', qr/^node1: Patroni 3/m, \%bare, '-k', 'version', $scope);

done_testing();
