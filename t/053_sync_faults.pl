# run as root
# Each synchronous mode under faults that last: the leader or a standby stands
# still, all standbys are lost, members come and go, the network is cut, and the
# configuration changes.  What was acknowledged is on every later primary, and
# whoever may not act says why.
#
# SYNC_MODES='on quorum on-strict quorum-strict' takes all modes, not two.

use strict;
use warnings;

use PatroniCluster;
use Test::More;
use Time::HiRes qw(usleep);

my $ttl_ms = 3000;
my $can_cut = PatroniCluster::can_cut_networks;
my $cluster = PatroniCluster->new('syncfaults', members => 4, namespaces => $can_cut,
	dcs => { synchronous_mode => JSON::PP::true, ttl => $ttl_ms / 1000 });
my ($spare) = grep { $_->{name} eq 'node4' } $cluster->nodes;

$cluster->start(grep { $_ != $spare } $cluster->nodes);
$cluster->create_writes_table;
my $writer = $cluster->writer;

# All is well and nothing is lost.
sub settle
{
	my ($what) = @_;

	$cluster->wait_until_streaming;
	$cluster->wait_until_synchronous;
	$writer->wait_for_more;
	is($cluster->lost_writes, 0, "$what: nothing is lost");
}

sub names_of { return join ' ', sort map { $_->{name} } @_; }

sub report { return $_[0]->sql('SELECT reason FROM patroni.synchronous'); }

# Nothing is acknowledged for a while, however long the way of the last ones was.
sub acknowledges_nothing
{
	usleep(300_000);
	my $before = scalar $writer->acks;
	usleep(1_200_000);
	return $before == scalar $writer->acks;
}

for my $mode (split / /, $ENV{SYNC_MODES} // 'on quorum-strict')
{
	my $is_strict = $mode =~ /strict/;
	my $is_quorum = $mode =~ /quorum/;
	my ($begin_us, $leader, $new, @standbys, $standby);

	$cluster->set_sync_mode($mode);
	settle("$mode: switched on");

	# --- the leader stands still ---

	$leader = $cluster->leader;
	$begin_us = PatroniCluster::now_us();
	$leader->freeze('all');
	$new = $cluster->wait_for_leader(not => $leader);
	$writer->wait_for_acks(20, from => $new, after_us => $begin_us);
	measured(sprintf '%s: leader frozen, no writes for %.0f ms', $mode, $writer->longest_gap($begin_us, PatroniCluster::now_us()));
	$leader->thaw;
	settle("$mode: the leader stands still, another one leads");
	is($cluster->leader, $new, "$mode: and goes on to lead when the former one wakes up");

	# --- a synchronous standby stands still ---

	$leader = $new;
	($standby) = @{ $cluster->wait_until_synchronous };
	$begin_us = PatroniCluster::now_us();
	$standby->freeze('all');
	$writer->wait_for_acks(50, after_us => $begin_us + ($is_quorum ? 0 : 500_000));
	my $gap = $writer->longest_gap($begin_us, PatroniCluster::now_us());
	cmp_ok($gap, '<', $is_quorum ? 500 : $ttl_ms + 1500, sprintf('%s: a standby that stands still delays commits by %.0f ms',
		$mode, $gap));
	measured(sprintf '%s: synchronous standby frozen, no writes for %.0f ms', $mode, $gap);
	$cluster->wait_for("the key does not name $standby->{name}", sub {
		($cluster->key_json('sync')->{sync_standby} // '') !~ /$standby->{name}/;
	});
	$standby->thaw;
	settle("$mode: a standby stood still");

	# --- all standbys are lost, then the leader too ---

	$leader = $cluster->leader;
	@standbys = $cluster->standbys;
	$begin_us = PatroniCluster::now_us();
	if ($is_strict)
	{
		# one after the other: the last synchronous one has everything then
		my ($sync) = @{ $cluster->wait_until_synchronous };

		$_->kill9 for grep { $_ != $sync } @standbys;
		$cluster->wait_until_synchronous;
		$sync->kill9;
		ok(acknowledges_nothing(), "$mode: without a standby nothing is acknowledged");
		like(report($leader), qr/waiting for a synchronous standby; strict mode is on/, "$mode: and the view says why");
		like($leader->log_text, qr/waiting for a synchronous standby; strict mode is on/, "$mode: the log, too");
	}
	else
	{
		$_->kill9 for @standbys;
		$writer->wait_for_acks(50, after_us => $begin_us + 500_000);
		measured(sprintf '%s: all standbys killed, no writes for %.0f ms', $mode, $writer->longest_gap($begin_us, PatroniCluster::now_us()));
		is_deeply($cluster->key_json('sync'), { leader => $leader->{name}, quorum => 0, sync_standby => undef },
			"$mode: without a standby the leader goes on alone, and alone may lead");
		like(report($leader), qr/no standby can be synchronous/, "$mode: and the view says why");
	}
	my %offset = map { $_->{name} => $_->log_size } @standbys;
	$leader->kill9;
	$_->start for @standbys;
	if ($is_strict)
	{
		$new = $cluster->wait_for_leader(not => $leader);
		ok($new, "$mode: the leader is lost as well: a standby that has everything leads");
		$leader->start;
	}
	else
	{
		for my $node (@standbys)
		{
			$node->wait_for_log(qr/the sync key.*\(it names $leader->{name}\)/,
				$offset{ $node->{name} }, timeout => 20);
			is($node->sql("SELECT is_eligible, reason FROM patroni.explain() WHERE member = '$leader->{name}'"),
				'f|is not running, but the sync key names it: it may have acknowledged writes that others lack',
				"$mode: $node->{name} explains who is waited for") if !defined $cluster->key("members/$leader->{name}");
			like($node->sql("SELECT reason FROM patroni.explain() WHERE member = '$node->{name}'"), qr/is not synchronous/,
				"$mode: $node->{name} does not lead, and explains why");
		}
		usleep($ttl_ms * 1000);
		is($cluster->leader, undef, "$mode: the leader is lost as well: nobody takes over");
		$leader->start;
		ok($cluster->wait_for_leader(is => $leader), "$mode: until it is back");
	}
	settle("$mode: all standbys were lost");

	# --- all standbys stand still ---

	$leader = $cluster->leader;
	@standbys = $cluster->standbys;
	$begin_us = PatroniCluster::now_us();
	$_->freeze('all') for @standbys;
	if ($is_strict)
	{
		ok(acknowledges_nothing(), "$mode: while all standbys stand still nothing is acknowledged");
	}
	else
	{
		$writer->wait_for_acks(50, after_us => $begin_us + 1_000_000);
		measured(sprintf '%s: all standbys frozen, no writes for %.0f ms', $mode, $writer->longest_gap($begin_us, PatroniCluster::now_us()));
	}
	$_->thaw for @standbys;
	settle("$mode: all standbys stood still");

	# --- a member comes and goes ---

	$begin_us = PatroniCluster::now_us();
	PatroniCluster::remove_tree($spare->{data_directory});
	$spare->start;
	settle("$mode: a member is added while clients write");
	if ($is_quorum)
	{
		is(names_of(@{ $cluster->wait_until_synchronous }), names_of($cluster->standbys), "$mode: it is in the quorum");
	}
	$cluster->leader == $spare or $spare->stop;
	settle("$mode: it is removed");
	cmp_ok($gap = $writer->longest_gap($begin_us, PatroniCluster::now_us()), '<', 1500, sprintf('%s: commits wait for moments meanwhile (%.0f ms)', $mode, $gap));

	# --- the network of the leader is cut ---

	for my $others ($can_cut ? ([ 'etcd' ], [ 'etcd', 'standbys' ], [ 'standbys' ]) : ())
	{
		my $what = "$mode: the leader is cut off from " . join(' and ', @$others);
		my $was = $cluster->leader;
		my @cuts = map { $_ eq 'standbys' ? $cluster->standbys : $_ } @$others;
		my $pinned = $cluster->writer(nodes => [$was], any => 1, patience_ms => 0);

		$begin_us = PatroniCluster::now_us();
		$cluster->cut($was, $_) for @cuts;
		if ($others->[0] eq 'etcd')
		{
			$new = $cluster->wait_for_leader(not => $was);
			$writer->wait_for_acks(20, from => $new, after_us => $begin_us);
			measured(sprintf '%s, no writes for %.0f ms', $what, $writer->longest_gap($begin_us, PatroniCluster::now_us()));
		}
		else
		{
			# the standbys are members still: commits wait until their connections are given up
			usleep(2_000_000);
			is($cluster->leader, $was, "$what: it leads on");
		}
		$cluster->join_again($was, $_) for @cuts;
		settle($what);
		$pinned->stop;
	}
}

# --- the configuration changes while clients write ---

sub expect_sync
{
	my ($what, $wanted) = @_;
	my @named = @{ $cluster->wait_until_synchronous(what => $what) };

	$writer->wait_for_more(10);
	ok(!$wanted || $wanted eq names_of(@named), $what) or diag('named are ' . names_of(@named));
	return @named;
}

my $begin_us = PatroniCluster::now_us();
for my $from (qw(off on quorum on-strict quorum-strict))
{
	for my $to (grep { $_ ne $from } qw(off on quorum on-strict quorum-strict))
	{
		$cluster->set_sync_mode($from, synchronous_node_count => 1);
		$cluster->wait_until_synchronous;
		$cluster->set_sync_mode($to);
		expect_sync("the mode changes from $from to $to");
	}
}
for my $mode (qw(on quorum))
{
	$cluster->set_sync_mode($mode);
	expect_sync("$mode: one of the standbys is enough");
	$cluster->edit_config({ synchronous_node_count => 2 });
	is(scalar(expect_sync("$mode: both have to confirm")), 2, "$mode: the key names both");
	$cluster->edit_config({ synchronous_node_count => 1 });
	expect_sync("$mode: one is enough again");
}

# tags, by a reload
$cluster->set_sync_mode('on');
for my $tags ({ nosync => JSON::PP::true }, { sync_priority => 0 })
{
	my ($sync) = @{ $cluster->wait_until_synchronous };
	my ($other) = grep { $_ != $sync } $cluster->standbys;
	my $word = JSON::PP::encode_json($tags);

	$sync->{config}{tags} = $tags;
	$sync->write_config;
	$sync->reload;
	$cluster->wait_for("$word: the other standby is synchronous", sub {
		($cluster->key_json('sync')->{sync_standby} // '') eq $other->{name};
	});
	$writer->wait_for_more;
	pass("$word: the other standby is synchronous");
	$sync->{config}{tags} = {};
	$sync->write_config;
	$sync->reload;
}
{
	my ($sync) = @{ $cluster->wait_until_synchronous };
	my ($other) = grep { $_ != $sync } $cluster->standbys;

	$other->{config}{tags} = { sync_priority => 5 };
	$other->write_config;
	$other->reload;
	$cluster->wait_for('sync_priority: the one with more is synchronous', sub {
		($cluster->key_json('sync')->{sync_standby} // '') eq $other->{name};
	});
	$writer->wait_for_more;
	pass('sync_priority: the one with more is synchronous');
	$other->{config}{tags} = {};
	$other->write_config;
	$other->reload;
}

# a standby that lags
{
	my ($sync) = @{ $cluster->wait_until_synchronous };
	my ($other) = grep { $_ != $sync } $cluster->standbys;
	my $leader = $cluster->leader;
	my $receiver = $sync->sql('SELECT pid FROM pg_stat_wal_receiver');

	$cluster->edit_config({ maximum_lag_on_syncnode => 200_000 });
	usleep(300_000);
	kill 'STOP', $receiver;
	$leader->sql("SET synchronous_commit = local; CREATE TABLE fill AS SELECT repeat('x', 100) FROM generate_series(1, 20000)");
	$cluster->wait_for('maximum_lag_on_syncnode: the other standby is synchronous', sub {
		($cluster->key_json('sync')->{sync_standby} // '') eq $other->{name};
	}, or_undef => 1);
	$writer->wait_for_more;
	pass('maximum_lag_on_syncnode: a standby that lags is replaced');
	kill 'CONT', $receiver;
	$cluster->edit_config({ maximum_lag_on_syncnode => -1 });
}
settle('changes of the configuration');
my $gap = $writer->longest_gap($begin_us, PatroniCluster::now_us());
cmp_ok($gap, "<", 4000, sprintf("no change of the configuration stops clients (%.0f ms)", $gap));
measured(sprintf 'changes of the configuration: no writes for %.0f ms at most', $gap);

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');
measured("$writer->{answer}{acks} acknowledged, $writer->{answer}{errors} not");

done_testing();
