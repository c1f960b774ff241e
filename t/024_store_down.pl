# Without its store the primary takes writes as long as its lease runs, and not
# longer; when the store is back, so are the writes.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('store', dcs => { ttl => 5 });
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer;
my $leader = $cluster->leader;

# --- for shorter than the ttl ---

my $refused = $leader->sql('SELECT refused_commits + withheld_acks FROM patroni.lease');
my $begin_us = PatroniCluster::now_us();
$cluster->stop_etcd;
$cluster->start_etcd;
measured(sprintf('the store was gone for %.1f s', (PatroniCluster::now_us() - $begin_us) / 1e6));
$writer->wait_for_acks(600, after_us => $begin_us + 5e6);
is($cluster->leader, $leader, 'after a short outage the leader is the same');
is($leader->sql('SELECT refused_commits + withheld_acks FROM patroni.lease'), $refused,
	'and no write was refused');
is(scalar(grep { $_->{us} > $begin_us } $writer->errors), 0, 'no client noticed');

# --- for longer ---

$begin_us = PatroniCluster::now_us();
$cluster->stop_etcd;
$leader->wait_for_sql('SELECT NOT is_open FROM patroni.lease');
my $closed_us = PatroniCluster::now_us();
my $last_us = (reverse $writer->acks)[0]{acked_us};
cmp_ok($last_us - $begin_us, '<', 5e6, 'the last write is acknowledged within the ttl');
cmp_ok($last_us - $begin_us, '>', 2e6, 'but not much earlier');
is($leader->sql('SELECT count(*) > 0 FROM writes'), 't', 'reading goes on');
is($leader->rest('/primary')->{status}, 503, 'health checks say so');
$cluster->wait_for('the standbys know that the store is gone', sub {
	2 == grep { $_->log_text =~ /the store does not answer/ } $cluster->standbys_of($leader);
});
for my $node ($cluster->standbys_of($leader))
{
	is($node->sql('SELECT pg_is_in_recovery()'), 't', "$node->{name} promotes itself not");
	is($node->rest('/replica')->{status}, 200, "$node->{name} serves reads");
}
$cluster->start_etcd;
$cluster->wait_for_leader;
$cluster->wait_until_streaming;
$writer->wait_for_more;
my ($first) = grep { $_->{acked_us} > $closed_us } $writer->acks;
measured(sprintf('refused writes from %.1f s to %.1f s after the store went', ($last_us - $begin_us) / 1e6,
		($first->{acked_us} - $begin_us) / 1e6));

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
