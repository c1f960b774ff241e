# An old primary with WAL that nobody else has comes back through pg_rewind; one
# without such WAL comes back without.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('rewind');
$cluster->start;
$cluster->wait_for_leader->sql("CREATE TABLE t (what text); INSERT INTO t VALUES ('everywhere')");
$cluster->wait_until_replayed;

# Write what only the leader has, and lose it.
sub diverge
{
	my ($what) = @_;
	my $old = $cluster->leader;

	$old->freeze_senders;
	$old->sql("INSERT INTO t VALUES ('$what'); CHECKPOINT;"
		  . " CREATE TABLE only_on_$old->{name} AS SELECT generate_series(1, 10000) AS i");
	$old->kill9;
	my $new = $cluster->wait_for_leader(not => $old);
	is($new->sql("SELECT count(*) FROM t WHERE what = '$what'"), '0', 'only the old primary had it');
	$new->sql("INSERT INTO t VALUES ('after $what')");
	return ($old, $new);
}

for my $round (1 .. 2)
{
	my ($old, $new) = diverge("lost $round");
	my $offset = $old->log_size;

	$old->start;
	$cluster->wait_until_streaming(timeout => 60);
	like($old->log_text($offset), qr/rewind/, "round $round: the old primary was rewound");
	$cluster->wait_until_replayed;
	is($old->sql("SELECT string_agg(what, ', ' ORDER BY what) FROM t"), $new->sql("SELECT string_agg(what, ', ' ORDER BY what) FROM t"),
		"round $round: and has what the new one has");
	is($old->sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'only_on_%'"), '0', "round $round: and nothing else");
}

# With nothing of its own it simply follows.
my $old = $cluster->leader;
$cluster->wait_until_replayed;
my $offset = $old->log_size;
$old->freeze('all');
my $new = $cluster->wait_for_leader(not => $old);
$old->kill9;
$old->start;
$cluster->wait_until_streaming;
$cluster->wait_until_replayed;
is($old->sql("SELECT count(*) FROM t"), $new->sql("SELECT count(*) FROM t"), 'an old primary without WAL of its own follows');

# The table of the cluster is whole on all of them.
$new->sql('CREATE EXTENSION IF NOT EXISTS amcheck');
$cluster->wait_until_replayed;
for my $node ($cluster->nodes)
{
	is($node->sql('SELECT count(*) FROM verify_heapam(\'pg_class\')'), '0', "$node->{name}: the catalog is sound");
}

done_testing();
