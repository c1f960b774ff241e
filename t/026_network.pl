# run as root
# Cuts in the network between a primary and the store, between a primary and the
# other members, and both: never do two members acknowledge writes.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

plan skip_all => 'network namespaces need root, and a machine that lets it'
  unless PatroniCluster::can_cut_networks;

my $cluster = PatroniCluster->new('network', namespaces => 1,
	parameters => { synchronous_standby_names => 'ANY 1 (*)' });
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer;

# A client on the wrong side of each cut; it never loses the old primary.
sub check_cut
{
	my ($name, @cuts) = @_;
	my $old = $cluster->leader;
	my $pinned = $cluster->writer(nodes => [$old], any => 1, patience_ms => 0);
	my $begin_us = PatroniCluster::now_us();

	@cuts = map { [ $old, $_ ] } map { $_ eq 'nodes' ? $cluster->standbys : $_ } @cuts;
	$cluster->cut(@$_) for @cuts;
	my $new = $cluster->wait_for_leader(not => $old);
	$writer->wait_for_acks(20, from => $new, after_us => $begin_us);
	ok($new, "$name: another member leads");
	$cluster->join_again(@$_) for @cuts;
	$cluster->wait_until_streaming;
	$writer->wait_for_more;
	$pinned->stop;

	my ($first) = grep { $_->{port} == $new->{port} && $_->{acked_us} > $begin_us } $writer->acks;
	my ($last) = reverse $pinned->acks;
	cmp_ok($last->{acked_us}, '<', $first->{acked_us},
		"$name: the old primary acknowledged nothing after the first write of its successor");
	measured(sprintf('%s: the successor takes writes %.1f s after the cut, %.1f s after the last one of the old primary',
			$name, ($first->{acked_us} - $begin_us) / 1e6, ($first->{acked_us} - $last->{acked_us}) / 1e6));
	is($old->sql('SELECT pg_is_in_recovery()'), 't', "$name: the old primary is a standby now");
}

check_cut('cut from the store', 'etcd');
check_cut('cut from the store and the members', 'etcd', 'nodes');

# Cut from the members alone it has the lease, so nobody takes over; commits
# wait for a standby, as synchronous_standby_names wants it.
{
	my $leader = $cluster->leader;
	my @standbys = $cluster->standbys;
	my @errors = map { $_->log_size } @standbys;
	my $begin_us = PatroniCluster::now_us();

	$cluster->cut($leader, $_) for @standbys;
	for my $i (0 .. $#standbys)
	{
		$cluster->wait_for("$standbys[$i]{name} has lost its stream", sub {
			$standbys[$i]->try_sql('SELECT count(*) FROM pg_stat_wal_receiver') eq '0'
			  || $standbys[$i]->log_text($errors[$i]) =~ /(terminating walreceiver|could not (connect to the primary|receive data))/;
		});
	}
	is($cluster->leader, $leader, 'cut from the members alone, the leader leads on');
	is($leader->sql('SELECT is_open FROM patroni.lease'), 't', 'with its lease');
	is(scalar(grep { $_->sql('SELECT pg_is_in_recovery()') eq 't' } @standbys), 2, 'and nobody promotes itself');
	$cluster->join_again($leader, $_) for @standbys;
	$cluster->wait_until_streaming;
	$writer->wait_for_more;
	is($cluster->leader, $leader, 'also when the network is whole again');
}

# A standby that does not reach the store goes on as a standby.
{
	my $leader = $cluster->leader;
	my ($standby) = $cluster->standbys;
	my $offset = $standby->log_size;

	$cluster->cut($standby, 'etcd');
	$standby->wait_for_log(qr/the store does not answer/, $offset);
	$writer->wait_for_more(100);
	is($standby->sql("SELECT status FROM pg_stat_wal_receiver"), 'streaming', 'a standby that is cut from the store streams on');
	$cluster->join_again($standby, 'etcd');
	$cluster->wait_for('it says so again in the store', sub { $cluster->key_json("members/$standby->{name}") });
	is($cluster->leader, $leader, 'and the leader stays');
}

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
