# SIGKILL of the postmaster, of the supervisor or of a whole node: writing goes
# on by itself and nothing that was acknowledged is lost.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

# Each commit is on two nodes, so it can be promised that none is lost.
my $cluster = PatroniCluster->new('crash', parameters => { synchronous_standby_names => 'ANY 1 (*)' });
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer;

# --- the supervisor ---

my $leader = $cluster->leader;
my $postmaster = $leader->postmaster_pid;
my $begin_us = PatroniCluster::now_us();
$leader->kill9_part('supervisor');
$writer->wait_for_acks(400, after_us => $begin_us + 3e6);
is($cluster->leader, $leader, 'without its supervisor the leader leads on, for longer than the ttl');
my $gap = $writer->longest_gap($begin_us);
cmp_ok($gap, '<', 1000, sprintf('and writes go on (longest gap %.0f ms)', $gap));
$leader->start;
$cluster->wait_for('the REST API of the new supervisor answers',
	sub { $leader->rest('/primary')->{status} == 200 });
is($leader->postmaster_pid, $postmaster, 'a new supervisor finds the server and leaves it running');
is($leader->sql('SELECT baton FROM patroni.lease'), 'worker', 'whose worker still drives');
$writer->wait_for_more;

# --- the worker ---

$begin_us = PatroniCluster::now_us();
my $old_worker = $leader->worker_pid;
$leader->freeze('supervisor');
kill 'TERM', $old_worker;
$cluster->wait_for('there is a new worker', sub { ($leader->worker_pid // 0) != $old_worker && $leader->worker_pid });
$leader->thaw;
$writer->wait_for_more;
is($cluster->leader, $leader, 'a worker that ends is replaced, the leader stays');
is($leader->postmaster_pid, $postmaster, 'the server was not touched');

# --- the postmaster ---

for my $round (1 .. 2)
{
	$leader = $cluster->leader;
	$begin_us = PatroniCluster::now_us();
	$leader->kill9_part('postmaster');
	$writer->wait_for_acks(50, after_us => $begin_us + 100_000);
	my $new = $cluster->wait_for_leader;
	measured(sprintf('postmaster killed: %s leads, no writes for %.0f ms',
			$new == $leader ? 'the same' : 'another', $writer->longest_gap($begin_us)));
	$cluster->wait_until_streaming;
	$writer->wait_for_more;
	ok(1, "round $round: after the loss of the postmaster writing goes on and all members stream");
}

# --- the whole node ---

$leader = $cluster->leader;
$begin_us = PatroniCluster::now_us();
$leader->kill9;
my $new = $cluster->wait_for_leader(not => $leader);
ok($new, 'after the loss of a node another one leads');
$writer->wait_for_acks(20, from => $new, after_us => $begin_us);
$gap = $writer->longest_gap($begin_us);
cmp_ok($gap, '<', 3000 + 2500, sprintf('within the ttl and little more (no writes for %.0f ms)', $gap));
$leader->start;
$cluster->wait_until_streaming;
is($leader->sql('SELECT pg_is_in_recovery()'), 't', 'the lost node comes back as a standby');
$writer->wait_for_more;

# --- a standby ---

my ($standby) = $cluster->standbys;
$begin_us = PatroniCluster::now_us();
$standby->kill9;
$writer->wait_for_acks(400, after_us => $begin_us);
is($cluster->leader, $new, 'the loss of a standby changes nothing for the leader');
$standby->start;
$cluster->wait_until_streaming;

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');
measured("$writer->{answer}{acks} acknowledged, $writer->{answer}{errors} not");

done_testing();
