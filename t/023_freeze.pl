# Whatever part of the primary stands still for longer than the ttl: no
# acknowledged write is missing afterwards, and none is acknowledged by the old
# primary after the first of its successor.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('freeze', dcs => { ttl => 2 },
	parameters => { synchronous_standby_names => 'ANY 1 (*)' });
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer;
my @pinned;

# A part stands still until another member leads, or, where the node should
# live without that part, until clients have written for 3 ttl.
sub freeze
{
	my ($part, $is_survivable) = @_;
	my $old = $cluster->leader;
	my $pinned = $cluster->writer(nodes => [$old], any => 1, patience_ms => 0, mode => 'explicit');
	my $begin_us = PatroniCluster::now_us();
	my $new;

	push @pinned, $pinned;
	$old->freeze($part);
	if ($is_survivable)
	{
		$writer->wait_for_acks(100, after_us => $begin_us + 6e6);
		is($cluster->leader, $old, "the $part stands still: the leader leads on");
		$old->thaw;
		$pinned->wait_for_more;
		$new = $old;
	}
	else
	{
		$new = $cluster->wait_for_leader(not => $old);
		$writer->wait_for_acks(20, from => $new, after_us => $begin_us);
		ok($new, "$part: another member leads");
		$old->thaw;
	}
	$cluster->wait_until_streaming;
	$writer->wait_for_more;
	$pinned->stop;

	my ($first) = grep { $_->{port} == $new->{port} && $_->{acked_us} > $begin_us } $writer->acks;
	my ($last) = reverse $pinned->acks;
	cmp_ok($last->{acked_us}, '<', $first->{acked_us},
		"$part: the old primary acknowledged nothing after the first write of its successor")
	  if $new != $old;
	measured(sprintf('%s: the last acknowledgement of the old one was %.0f ms before the first of the new one',
			$part, ($first->{acked_us} - $last->{acked_us}) / 1000)) if $new != $old;
}

freeze('worker', 1);
freeze('supervisor', 1);
freeze('all', 0);

# Worker and supervisor together: backends and postmaster run on, but nobody
# renews the lease.  The fence alone keeps them from acknowledging.
{
	my $old = $cluster->leader;
	my $pinned = $cluster->writer(nodes => [$old], any => 1, patience_ms => 0, interval_ms => 0);
	my $begin_us = PatroniCluster::now_us();

	push @pinned, $pinned;
	$old->freeze('supervisor');
	$old->freeze('worker');
	my $new = $cluster->wait_for_leader(not => $old);
	$writer->wait_for_acks(20, from => $new, after_us => $begin_us);
	like((grep { $_->{us} > $begin_us } $pinned->errors)[0]{why}, qr/^(25006|57P0.|lost)$/,
		'nobody renews the lease: clients are refused');
	is($old->sql('SELECT pg_is_in_recovery(), is_open FROM patroni.lease'), 'f|f', 'by a primary that is fenced');
	$old->thaw;
	$cluster->wait_until_streaming;
	$pinned->stop;
	my ($first) = grep { $_->{port} == $new->{port} && $_->{acked_us} > $begin_us } $writer->acks;
	my ($last) = reverse $pinned->acks;
	cmp_ok($last->{acked_us}, '<', $first->{acked_us},
		'it acknowledged nothing after the first write of its successor');
	measured(sprintf('the last acknowledgement of the old one was %.0f ms before the first of the new one',
			($first->{acked_us} - $last->{acked_us}) / 1000));
}

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
