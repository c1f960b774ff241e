# A store that hangs is like one that is gone: connections stay open and nobody
# answers, but no lease lasts longer for that.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('frozen', dcs => { ttl => 3 });
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer(mode => 'extended');
my $leader = $cluster->leader;

for my $round (1 .. 2)
{
	my $begin_us = PatroniCluster::now_us();

	$leader = $cluster->leader;
	$cluster->freeze_etcd;
	$leader->wait_for_sql('SELECT NOT is_open FROM patroni.lease');
	my $last_us = (reverse $writer->acks)[0]{acked_us};
	cmp_ok($last_us - $begin_us, '<', 3e6, "round $round: the last write is acknowledged within the ttl");
	$cluster->wait_for('the standbys know that the store hangs', sub {
		2 == grep { $_->rest('/patroni', timeout => 2)->{json}{dcs_last_seen} < time - 1 }
		  $cluster->standbys_of($leader);
	});
	is(scalar(grep { $_->sql('SELECT pg_is_in_recovery()') eq 't' } $cluster->standbys_of($leader)), 2,
		"round $round: nobody promotes itself");
	$cluster->thaw_etcd;
	my $new = $cluster->wait_for_leader;
	$cluster->wait_until_streaming;
	$writer->wait_for_more;
	my ($first) = grep { $_->{acked_us} > $last_us } $writer->acks;
	measured(sprintf('round %d: %s leads, no writes for %.1f s', $round,
			$new == $leader ? 'the same' : 'another', ($first->{acked_us} - $last_us) / 1e6));
}

# Shorter than the lease: nobody notices.
my $begin_us = PatroniCluster::now_us();
$leader = $cluster->leader;
$cluster->freeze_etcd;
$writer->wait_for_acks(150, after_us => $begin_us);
$cluster->thaw_etcd;
$writer->wait_for_acks(400, after_us => $begin_us + 1e6);
is($cluster->leader, $leader, 'a short pause of the store changes no leader');
is(scalar(grep { $_->{us} > $begin_us } $writer->errors), 0, 'and no client notices');

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
