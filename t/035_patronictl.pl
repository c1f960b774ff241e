# The command line of Patroni, as Debian has it, works on our clusters.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

plan skip_all => 'patronictl is not installed'
  if system('patronictl version > /dev/null 2>&1') != 0;

# What changes something is allowed only to those who know a password.
my $cluster = PatroniCluster->new('ctl', config => sub {
	my ($node, $config) = @_;

	$config->{restapi}{authentication} = { username => 'operator', password => 'ctl secret' };
});
$cluster->start;
my $leader = $cluster->leader;
my $scope = $cluster->{scope};

sub list
{
	my ($status, $out, $err) = $cluster->patronictl('list', '-f', 'json');

	die "patronictl list: $err" if $status != 0;
	return { map { $_->{Member} => $_ } @{ JSON::PP::decode_json($out) } };
}

my $members;
$cluster->wait_for('patronictl list shows three running members', sub {
	$members = list();
	3 == grep { $_->{State} =~ /^(running|streaming)$/ && !$_->{'Lag in MB'} } values %$members;
}, every_ms => 200);
is($members->{ $leader->{name} }{Role}, 'Leader', 'patronictl list: the leader');
for my $node ($cluster->standbys)
{
	is($members->{ $node->{name} }{Role}, 'Replica', "the replica $node->{name}");
}
is($members->{ $_->{name} }{Host}, "$_->{host}:$_->{port}", "the address of $_->{name}") for $cluster->nodes;
is($members->{ $leader->{name} }{TL}, 1, 'the timeline');

# --- switchover ---

my ($candidate) = $cluster->standbys;
my ($status, $out, $err) = $cluster->patronictl('switchover', $scope, '--leader', $leader->{name},
	'--candidate', $candidate->{name}, '--force');
like($out, qr{Successfully switched over to "$candidate->{name}"}, 'patronictl switchover') or diag("$out\n$err");
is($cluster->wait_for_leader(is => $candidate), $candidate, 'changes the leader') or diag("$out\n$err");
$cluster->wait_until_streaming;
is(list()->{ $candidate->{name} }{Role}, 'Leader', 'which patronictl list shows');

# --- pause and resume ---

($status, $out, $err) = $cluster->patronictl('pause', $scope, '--wait');
like($out, qr/Success: cluster management is paused/, 'patronictl pause') or diag("$out\n$err");
$candidate->wait_for_sql("SELECT patroni.config() ->> 'pause' = 'true'");
($status, $out, $err) = $cluster->patronictl('resume', $scope, '--wait');
like($out, qr/Success: cluster management is resumed/, 'patronictl resume') or diag("$out\n$err");
$candidate->wait_for_sql("SELECT coalesce(patroni.config() ->> 'pause', 'false') = 'false'");

# --- synchronous replication ---

# releases before 4.0 know one word for both modes
my ($release) = (PatroniCluster::run_command([ 'patronictl', 'version' ]))[1] =~ /(\d+)/;
for my $mode ('on', 'quorum', 'off')
{
	my $word = $mode eq 'quorum' && $release >= 4 ? 'Quorum Standby' : 'Sync Standby';

	$cluster->set_sync_mode($mode);
	my %is_named = map { $_->{name} => 1 } @{ $cluster->wait_until_synchronous };
	my $now = list();
	is($now->{ $candidate->{name} }{Role}, 'Leader', "synchronous_mode $mode: the leader");
	is($now->{ $_->{name} }{Role}, $is_named{ $_->{name} } ? $word : 'Replica', "synchronous_mode $mode: $_->{name}")
	  for $cluster->standbys;
}

# --- configuration and history ---

($status, $out, $err) = $cluster->patronictl('edit-config', $scope, '--force', '-p', 'work_mem=6MB');
is($status, 0, 'patronictl edit-config') or diag("$out\n$err");
$_->wait_for_sql("SELECT setting = '6144' FROM pg_settings WHERE name = 'work_mem'") for $cluster->nodes;
ok(1, 'every member takes it over');
($status, $out) = $cluster->patronictl('show-config', $scope);
like($out, qr/work_mem: 6MB/, 'patronictl show-config');
($status, $out) = $cluster->patronictl('history', $scope, '-f', 'json');
is(JSON::PP::decode_json($out)->[0]{TL}, 1, 'patronictl history');

# --- a scheduled switchover is shown and forgotten ---

$candidate->sql("SELECT patroni.switchover('$leader->{name}', now() + interval '1 hour')");
($status, $out) = $cluster->patronictl('list');
like($out, qr/Switchover scheduled at: .*from: $candidate->{name}.*to: $leader->{name}/s, 'patronictl list shows a scheduled switchover');
($status, $out, $err) = $cluster->patronictl('flush', $scope, 'switchover', '--force');
$cluster->wait_for('it is forgotten', sub { !($cluster->key_json('failover') // {})->{scheduled_at} });
ok(1, 'patronictl flush switchover');

done_testing();
