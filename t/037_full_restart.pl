# A whole cluster that was stopped, or lost power with its store, is the same
# cluster afterwards, with everything that was acknowledged.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('restart', parameters => { synchronous_standby_names => 'ANY 1 (*)' });
$cluster->start;
$cluster->create_writes_table;
my $system = $cluster->leader->sql('SELECT system_identifier FROM pg_control_system()');

sub check
{
	my ($name) = @_;

	my $leader = $cluster->wait_for_leader;
	$cluster->wait_until_streaming;
	is($leader->sql('SELECT system_identifier FROM pg_control_system()'), $system, "$name: it is the same cluster");
	is($cluster->lost_writes, 0, "$name: no acknowledged write is lost");
	my $writer = $cluster->writer;
	$writer->wait_for_acks(20);
	$writer->stop;
	$cluster->wait_until_replayed;
	is($_->sql('SELECT count(*) FROM writes'), $leader->sql('SELECT count(*) FROM writes'), "$name: $_->{name} has it all")
	  for $cluster->standbys;
}

# --- in order, under load; the leader last ---

my $writer = $cluster->writer;
my $leader = $cluster->leader;
is($_->stop, 0, "$_->{name} stops") for $cluster->standbys;
$writer->stop;
is($leader->stop, 0, 'and the leader');
is($cluster->key('leader'), undef, 'nobody leads');
$_->start for $cluster->nodes;
check('stopped in order');

# --- the leader first: the next one takes over, and so on; once it is followed,
# for who has not followed is on an older timeline and does not take over ---

$writer = $cluster->writer;
for my $node (1 .. 2)
{
	$leader = $cluster->wait_for_leader;
	$cluster->wait_until_streaming;
	is($leader->stop, 0, "leader $leader->{name} stops");
}
$leader = $cluster->wait_for('the last one leads', sub { $cluster->leader });
$writer->stop;
is($leader->stop, 0, 'the last one stops');
$_->start for $cluster->nodes;
check('stopped leader by leader');

# --- all at once, with the store ---

$writer = $cluster->writer;
$cluster->freeze_etcd;
$_->kill9 for $cluster->nodes;
$writer->stop;
$cluster->stop_etcd;
$cluster->start_etcd;
$_->start for $cluster->nodes;
check('after a power failure');

# --- and without any content of the store left ---

$_->stop for $cluster->standbys, $cluster->leader;
$cluster->delete_key($_) for qw(initialize config history status leader failover);
$_->start for $cluster->nodes;
check('with a store that forgot everything');
is($cluster->key_json('config')->{ttl}, 3, 'the configuration is in the store again');

done_testing();
