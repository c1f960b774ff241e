# Prometheus can read /metrics: Patroni's series with its names and types, and ours.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('metrics', members => 2);
$cluster->start;
my ($leader, $standby) = $cluster->nodes;

# name => [type, value, lines]
sub scrape
{
	my ($node) = @_;
	my $text = $node->rest('/metrics')->{content};
	my %types = $text =~ /^# TYPE (\S+) (\S+)$/mg;
	my %values = $text =~ /^(\w+\{[^}]*\}) (\S+)$/mg;
	my %plain = map { /^(\w+)\{scope="test-metrics",name="$node->{name}"\}$/ ? ($1 => $values{$_}) : () } keys %values;

	return { text => $text, types => \%types, values => \%plain, all => \%values };
}

my $metrics = scrape($leader);
my $values = $metrics->{values};

# Debian's Patroni has these; the types are Patroni's, where the two releases differ the newer one's.
my @names = qw(version postgres_running postmaster_start_time primary xlog_location standby_leader replica
  sync_standby quorum_standby xlog_received_location xlog_replayed_location xlog_replayed_timestamp xlog_paused
  postgres_streaming postgres_in_archive_recovery postgres_server_version cluster_unlocked failsafe_mode_is_active
  postgres_timeline dcs_last_seen pending_restart is_paused postgres_state);
is_deeply([ grep { !defined $values->{"patroni_$_"} } @names ], [], "all of Patroni's series are there");
is_deeply([ sort grep { $metrics->{types}{$_} eq 'counter' } keys %{ $metrics->{types} } ],
	[ map { "patroni_$_" } qw(fence_refused_commits_total fence_withheld_acknowledgements_total xlog_location
		  xlog_received_location xlog_replayed_location) ], 'types are as they should be');
is($values->{patroni_version}, '040104', 'the version of the protocol');
is($values->{patroni_primary}, 1, 'the primary');
is($values->{patroni_postgres_state}, 5, 'is running');
cmp_ok($values->{patroni_xlog_location}, '>', 0, 'it has a position');
is($values->{patroni_fence_open}, 1, 'its fence is open');
cmp_ok($values->{patroni_lease_remaining_seconds}, '>', 0, 'for some time');
is($values->{patroni_cluster_unlocked}, 0, 'the cluster has a leader');
$cluster->wait_for('the slot of the standby is shown, in use', sub {
	scrape($leader)->{all}{"patroni_slot_active{scope=\"test-metrics\",name=\"$leader->{name}\",slot=\"$standby->{name}\",type=\"physical\"}"};
});
is($values->{patroni_synchronous_mode}, 0, 'replication is asynchronous');

$leader->sql('CREATE TABLE t AS SELECT 1 AS x');
my $replayed;
$cluster->wait_for('the standby tells when it has replayed the last commit', sub {
	($replayed = scrape($standby)->{values})->{patroni_xlog_replayed_timestamp} > time - 600;
});
is($replayed->{patroni_replica}, 1, 'the standby is a replica');
is($replayed->{patroni_postgres_streaming}, 1, 'it streams');
like($standby->rest('/patroni')->{json}{xlog}{replayed_timestamp}, qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00$/,
	'and /patroni tells the same time');

# Who streams from it, as far as that needs no query.
my ($sender) = @{ $leader->rest('/patroni')->{json}{replication} };
is_deeply($sender, { usename => undef, application_name => $standby->{name}, client_addr => '127.0.0.1', state => 'streaming',
	sync_state => 'async', sync_priority => 0 }, '/patroni shows who streams from it');

SKIP:
{
	skip 'promtool is not installed', 2 if system('promtool --version > /dev/null 2>&1') != 0;
	# 3: only what promtool would name otherwise; our own names follow its rules
	my ($status, $out, $err) = PatroniCluster::run_command([ 'promtool', 'check', 'metrics' ], input => $metrics->{text});

	ok($status == 0 || $status == 3, 'promtool can read it') or diag("$status $out $err");
	unlike("$out$err", qr/patroni_(?:fence|lease|last|bgw|synchronous|slot|missing|failsafe_(?:key|promise|remaining))/, 'and would name ours the same') or diag("$out $err");
}

# A switchover and a failover are measured by every member.
$leader->sql("SELECT patroni.switchover('$standby->{name}', wait => false)");
$cluster->wait_for_leader(is => $standby);
$cluster->wait_until_streaming;
for my $node ($leader, $standby)
{
	my $all;

	$cluster->wait_for("$node->{name} has measured the switchover", sub {
		$all = scrape($node)->{all};
		grep { /^patroni_last_switchover_seconds.*phase="total"/ } keys %$all;
	});
	my %phases = map { /^patroni_last_switchover_seconds.*phase="(\w+)"/ ? ($1 => $all->{$_}) : () } keys %$all;

	is_deeply([ sort keys %phases ], [qw(election handover promotion total)], "$node->{name}: its phases");
	cmp_ok(abs($phases{total} - $phases{handover} - $phases{election} - $phases{promotion}), '<', 0.002, 'add up');
	measured(sprintf('%s saw a switchover: %s', $node->{name}, join(', ', map { "$_ $phases{$_} s" } sort keys %phases)));
}

done_testing();
