# What is recorded on a real cluster, fed to the engine again, yields the same
# decisions; the record is private and has no password in it.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('trace', members => 2);
my ($one, $two) = $cluster->nodes;
my %trace = map { $_->{name} => "$_->{directory}/trace" } $cluster->nodes;

$cluster->start_etcd;
umask 0;
$one->start(arguments => [ '--trace', $trace{node1} ]);
$cluster->wait_for_leader(is => $one);
# this one is told later, by the setting
$two->start;
umask 022;
$cluster->wait_until_streaming;

# --- the setting, while everything runs ---

ok(!-e $trace{node2}, 'nothing is recorded unless asked for');
my ($status, undef, $err) = $two->try_sql("ALTER SYSTEM SET patroni.trace_file = 'relative'");
isnt($status, 0, 'a relative path is refused');
like($err, qr/The path must be absolute/, 'with the reason');
$two->sql("ALTER SYSTEM SET patroni.trace_file = '$trace{node2}'");
$two->sql('SELECT pg_reload_conf()');
$cluster->wait_for('the record of node2 has steps',
	sub { PatroniCluster::slurp($trace{node2}) =~ /"trace":"step","home":"worker"/ });
my ($first) = split /\n/, PatroniCluster::slurp($trace{node2});
like($first, qr/^\{"trace":"begin","home":"worker"/, 'and begins with a new engine');
is($two->sql("SELECT count(*) FROM pg_settings WHERE name = 'patroni.trace_file'"), '1', 'a superuser sees the setting');

# --- a life ---

$two->sql("SELECT patroni.switchover('node2', wait => false)");
$cluster->wait_for_leader(is => $two);
$cluster->wait_until_streaming;
$two->kill9_part('postmaster');
$cluster->wait_for_leader;
$cluster->wait_until_streaming;
my $leader = $cluster->leader;
my ($standby) = $cluster->standbys;
$leader->sql('SELECT patroni.pause(wait => true)');
$leader->sql('SELECT patroni.resume(wait => true)');
$cluster->stop_etcd;
$cluster->wait_for('the leader is fenced without the store',
	sub { my ($code, $out) = $leader->try_sql('SHOW transaction_read_only', timeout => 3); $code != 0 || $out eq 'on' });
$cluster->start_etcd;
$cluster->wait_for_leader;
$cluster->wait_until_streaming;

# --- the end of a record that was asked for by the setting ---

$two->sql('ALTER SYSTEM RESET patroni.trace_file');
$two->sql('SELECT pg_reload_conf()');
$cluster->wait_for('the record of node2 ends',
	sub { $two->log_text =~ /the inputs of the HA loop are not recorded any more/ });
$_->stop for ($cluster->standbys, $cluster->leader);

# --- again ---

for my $node ($one, $two)
{
	my $path = $trace{ $node->{name} };
	my $text = PatroniCluster::slurp($path);
	my @lines = split /\n/, $text;
	my ($code, $out) = PatroniCluster::run_command([ 'patroni_replay', '--quiet', $path ], timeout => 60);

	is($code, 0, "$node->{name}: the trace can be replayed") or diag(substr($out, -4000));
	like($out, qr/\d+ steps, all decisions the same\s*$/, "$node->{name}: with the same decisions");
	measured(sprintf('%s: %s, %.1f MB', $node->{name}, $out =~ /(\d+ steps)/, length($text) / 1e6));
	is(sprintf('%o', (stat $path)[2] & 07777), '600', "$node->{name}: only the owner can read it");
	for my $password (map { values %{ $_->{passwords} } } $cluster->nodes)
	{
		ok(index($text, $password) < 0, "$node->{name}: no password is in it");
	}
	unlike($text, qr/shared_buffers|wal_keep_size/, "$node->{name}: nor the configuration");
	ok((grep { /"home":"worker"/ } @lines), "$node->{name}: the worker wrote it");
	for my $kind (qw(settings cluster postgres reply tick))
	{
		ok((grep { /"input":"$kind"/ } @lines), "$node->{name}: there is an input \"$kind\"");
	}
}
my $text = PatroniCluster::slurp($trace{node1});
like($text, qr/"home":"supervisor"/, 'node1: the supervisor wrote it too');
like($text, qr/"input":"$_"/, "node1: there is an input \"$_\"") for qw(task reachable peer);
like($text, qr/"do":"promote"|"do":"start task"/, 'node1: answers are in it');

my ($code, $out) = PatroniCluster::run_command([ 'patroni_replay', $trace{node1} ], timeout => 60);
is($code, 0, 'what happened is printed');
like($out, qr/^\d{4}-\d\d-\d\d [\d:.]+ supervisor\[\d+\] settings .*name="node1"/m, 'time, process and input');
like($out, qr/^    -> \S+: \S/m, 'the decision and its reason');
like($out, qr/^    start task .*\[\S+\] /m, 'and the actions');

# A decision that is another one is found.
(my $changed = $text) =~ s/("do":"start task"[^}]*"rule":")[^"]*"|("rule":")[^"]*("[^}]*"do":"start task")/defined $1 ? "$1other\"" : "$2other$3"/e;
isnt($changed, $text, 'a changed decision');
PatroniCluster::spew("$cluster->{base}/changed", $changed);
($code, $out) = PatroniCluster::run_command([ 'patroni_replay', '--quiet', "$cluster->{base}/changed" ], timeout => 60);
is($code, 1, 'is found');
like($out, qr/line \d+ differs.*recorded action \d+: start task.*\[other\].*replayed action \d+: start task/s, 'and both are shown');

done_testing();
