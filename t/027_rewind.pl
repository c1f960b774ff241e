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

# --- one that is interrupted ---

# In the place of pg_rewind: stops and waits before it changes anything, or after
# it has begun to, or gets out of the way.
my $control = "$cluster->{base}/rewind";
PatroniCluster::spew("$cluster->{base}/pg_rewind", <<"END");
#!/bin/sh
case "\$(cat $control)" in
	before) echo "pg_rewind: reading source file list" ;;
	after) echo "pg_rewind: need to copy 9 MB (total source directory size is 99 MB)" ;;
	*) exec pg_rewind "\$@" ;;
esac
touch $control.waits
while [ -e $control.waits ]; do sleep 0.05; done
exit 1
END
chmod 0755, "$cluster->{base}/pg_rewind";
for my $node ($cluster->nodes)
{
	$node->{config}{postgresql}{bin_name}{pg_rewind} = "$cluster->{base}/pg_rewind";
	$node->write_config;
	$node->reload;
}

# An old primary whose pg_rewind waits; itself, its offset in the log, the leader.
sub begin_rewind
{
	my ($when) = @_;
	my ($old, $new) = diverge("interrupted $when");
	my $offset = $old->log_size;

	PatroniCluster::spew($control, $when);
	$old->start;
	$cluster->wait_for('pg_rewind waits', sub { -e "$control.waits" });
	return ($old, $new, $offset);
}

sub end_rewind
{
	PatroniCluster::spew($control, 'go on');
	unlink "$control.waits";
}

# another member leads meanwhile
sub lose
{
	my ($old, $leader) = @_;

	$leader->kill9;
	return $cluster->wait_for_leader(not => $leader);
}

{
	my ($old, $new, $offset) = begin_rewind('before');

	lose($old, $new);
	end_rewind();
	$new->start;
	$cluster->wait_until_streaming(timeout => 60);
	unlike($old->log_text($offset), qr/interrupted pg_rewind|pg_rewind was interrupted/, 'a pg_rewind that failed before it changed anything is not remembered');
}
{
	my ($old, $new, $offset) = begin_rewind('after');

	$old->kill9;
	end_rewind();
	$old->start;
	$cluster->wait_until_streaming(timeout => 60);
	like($old->log_text($offset), qr/an interrupted pg_rewind has to be repeated/, 'an interrupted one is repeated');
}
{
	my ($old, $new, $offset) = begin_rewind('after');

	my $third = lose($old, $new);
	end_rewind();
	$new->start;
	$old->wait_for_log(qr/pg_rewind was interrupted when the leader was on timeline \d+, it is on \d+ now/, $offset);
	$old->wait_for_log(qr/may neither rewind nor remove its data directory/, $offset);
	unlike($old->log_text($offset), qr/has to be repeated/, 'not from a leader that may lack what was copied');
	$third->sql("SELECT patroni.reinitialize('$old->{name}')");
	$cluster->wait_until_streaming(timeout => 60);
	ok(1, 'it is copied anew then');
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
