# A virtual machine is stopped by its hypervisor for longer than the ttl and let
# go on, and its clocks do not know: by them its lease still runs.  It tells no
# client of a write all the same, as the processor's cycle counter has gone on.

use strict;
use warnings;

use PatroniCluster;
use TestTools;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => 'cycle counters are read on x86-64 alone' unless qx(uname -m) =~ /x86_64/;

my $cluster = PatroniCluster->new('stopped-clock', members => 2, dcs => { ttl => 5, loop_wait => 1, retry_timeout => 1 });
my $tools = PatroniCluster::make_directory("$cluster->{base}/tools");

build_tool("$tools/stopped_clock.so", 'test/tools/stopped_clock.c');

sub clock_file { my ($node) = @_; return "$node->{directory}/clock"; }

# From now on its clocks are late by so much.
sub set_late
{
	my ($node, $us) = @_;

	open(my $file, -e clock_file($node) ? '+<' : '>', clock_file($node)) or die "could not open the clock of $node->{name}: $!";
	syswrite($file, pack('q', $us)) == 8 or die "could not set the clock of $node->{name}: $!";
	close $file;
}

$cluster->start_etcd;
for my $node ($cluster->nodes)
{
	set_late($node, 0);
	$node->start(environment => { LD_PRELOAD => "$tools/stopped_clock.so", STOPPED_CLOCK => clock_file($node) });
	$cluster->wait_for_leader;
}
$cluster->wait_until_streaming;
$cluster->create_writes_table;
my $writer = $cluster->writer;

my $old = $cluster->leader;
my $pinned = $cluster->writer(nodes => [$old], any => 1, patience_ms => 0, interval_ms => 2);
my @agents = ($old->{supervisor_pid}, $old->worker_pid);

# the rate of the counter is known, and a lease was renewed since
usleep(4_000_000);
is($old->sql('SELECT is_open FROM patroni.lease'), 't', 'the lease holds');
$pinned->wait_for_more;

my $stop_us = PatroniCluster::now_us();
$old->freeze('all');
my $new = $cluster->wait_for_leader(not => $old);
$writer->wait_for_acks(20, from => $new, after_us => $stop_us);
set_late($old, PatroniCluster::now_us() - $stop_us);

# its agents would soon hear from the store what has happened: they come later
my $go_on_us = PatroniCluster::now_us();
kill 'CONT', grep { my $pid = $_; !grep { $_ == $pid } @agents } @{ $old->{frozen} };
my ($is_open, $remaining_ms) = split /\|/, $old->sql('SELECT is_open, remaining_ms FROM patroni.lease');
is($is_open, 'f', 'a machine that was stopped has no lease');
cmp_ok($remaining_ms, '>', 1000, 'though by its clock the lease has not ended');
my ($status, undef, $err) = $old->try_sql('INSERT INTO writes VALUES (1, 1)');
like($err, qr/25006.*cannot commit/, 'it refuses to write');
like($err, qr/DETAIL:  The clock of this machine has stood still/, 'and says why');
is(scalar(grep { $_->{acked_us} > $go_on_us } $pinned->acks), 0, 'a client of it is told of no write');
measured(sprintf('stopped for %.1f s; by its clock the lease ran for another %.1f s', ($go_on_us - $stop_us) / 1e6, $remaining_ms / 1000));

$old->thaw;
$cluster->wait_until_streaming;
$writer->wait_for_more;
$_->stop for $pinned, $writer;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');
is($cluster->leader, $new, 'the new leader leads');

# --- a stop that is shorter than the ttl changes nothing ---

{
	my $begin_us = PatroniCluster::now_us();

	usleep(3_000_000);
	my $client = $cluster->writer(nodes => [$new], any => 1, patience_ms => 0);
	$client->wait_for_more;
	$begin_us = PatroniCluster::now_us();
	$new->freeze('all');
	usleep(1_500_000);
	set_late($new, PatroniCluster::now_us() - $begin_us);
	$new->thaw;
	$client->wait_for_acks(600);
	is(scalar($client->errors), 0, 'after a short stop the lease holds');
	$client->stop;
	is($cluster->leader, $new, 'and its leader leads');
}

done_testing;
