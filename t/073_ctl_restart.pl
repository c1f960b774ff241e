# patroni_ctl restarts, reinitializes and flushes members of ours.

use strict;
use warnings;

use HTTP::Tiny;
use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('ctl', members => 2, config => sub {
	my ($node, $config) = @_;

	$config->{restapi}{authentication} = { username => 'operator', password => 'secret' };
});
$cluster->start;
my ($first, $second) = $cluster->nodes;
my $scope = $cluster->{scope};
my ($status, $out, $err);

# a wrong role is refused by who knows the call
my $answer = HTTP::Tiny->new(timeout => 5)->post("http://operator:secret\@$first->{host}:$first->{rest_port}/restart",
	{ content => '{"role": "nobody"}' });

plan skip_all => 'members do not restart over HTTP' if $answer->{status} != 400;

sub ctl
{
	my ($what, $pattern, @words) = @_;

	($status, $out, $err) = $cluster->patroni_ctl(@words);
	shift @words if ref $words[0];
	ok($status == 0 && $out =~ $pattern, "$words[0]: $what") or diag("status $status\n$out\n$err");
}

sub started_at { return $_[0]->sql('SELECT pg_postmaster_start_time()'); }

my $before = started_at($second);
ctl('one member', qr/^Success: restart on member node2$/m, 'restart', $scope, 'node2', '--force');
isnt(started_at($second), $before, 'which has been restarted');
ctl('not if it is new enough', qr/Failed: restart for member node1, status code=503, \(restart conditions are not satisfied\b.*\)$/m,
	{ input => "\ny\n9.6.1\n" }, 'restart', $scope, '-r', 'leader');
ctl('scheduled', qr/^Success: restart scheduled on member node2$/m, 'restart', $scope, 'node2', '--force',
	'--scheduled', '2030-01-02T03:04:05+01:00', '--pg-version', '15.99');
$cluster->wait_for('the schedule is published', sub { ($cluster->key_json('members/node2') // {})->{scheduled_restart} });
ctl('shows it', qr/\| 2030-01-02T0[23]:04:05\S* if version < 15\.99 \|/, 'list');
ctl('one at a time', qr/Failed: another restart is already scheduled on member node2$/m,
	{ input => "2032-01-01T00:00Z\ny\n\n" }, 'restart', $scope, 'node2');
ctl('the other schedule wins with --force', qr/^Success: restart scheduled on member node2$/m, 'restart', $scope, 'node2',
	'--scheduled', '2031-01-02T03:04:05+01:00', '--force');
ctl('by name', qr/^Success: flush scheduled restart for member node2$/m, 'flush', $scope, 'node2', 'restart', '--force');
$cluster->wait_for('it is forgotten', sub { !($cluster->key_json('members/node2') // {})->{scheduled_restart} });
ctl('nothing', qr/^No scheduled restart for member node1$/m, 'flush', $scope, 'node1', 'restart', '--force');

ctl('a setting that waits', qr/Configuration changed/, 'edit-config', '-p', 'max_connections=120', '--force');
$cluster->wait_for('a restart is pending', sub {
	2 == grep { ($cluster->key_json("members/$_->{name}") // {})->{pending_restart} } $cluster->nodes;
});
$before = started_at($first);
ctl('those that wait', qr/^Success: restart on member node1$/m, 'restart', $scope, '--pending', '--force');
like($out, qr/^Success: restart on member node2$/m, 'both do');
$cluster->wait_for_leader(is => $first);
isnt(started_at($first), $before, 'the leader has been restarted, and leads');
is($first->sql('SHOW max_connections'), 120, 'with the new setting');

$cluster->wait_until_streaming;
PatroniCluster::spew("$second->{data_directory}/left_behind", '');
ctl('waits', qr/^Success: reinitialize for member node2\nWaiting for reinitialize to complete on: node2\nReinitialize is completed on: node2$/m,
	'reinit', $scope, 'node2', '--force', '--wait');
$cluster->wait_until_streaming;
ok(!-e "$second->{data_directory}/left_behind", 'the data directory is a new one');
ctl('what the other member answers', qr/^Reload request received for member node2 and will be processed within 1 seconds$/m,
	'reload', $scope, 'node2', '--force');

done_testing();
