# A primary that hangs without being dead is replaced within its budget and ttl:
# a postmaster that answers nobody, WAL that does not get to the disk, a disk
# that stops.  No acknowledged write is lost, the log and the other members say
# why, and a server that has no connection left is left alone.

use strict;
use warnings;

use File::Temp ();
use PatroniCluster;
use TestTools;
use Test::More;

use constant { TTL => 3, BUDGET => 2 };

my $cluster = PatroniCluster->new('gray', members => 3, parameters => { fsync => 'on', max_connections => 25 },
	dcs => { ttl => TTL, health => { connect_timeout => BUDGET, disk_timeout => BUDGET } });
my $tools = File::Temp::tempdir(CLEANUP => 1);

chmod 0755, $tools;
build_tool("$tools/stall.so", 'test/tools/stall.c', '-ldl');

sub control_file { my ($node) = @_; return "$node->{directory}/stall"; }

# As the cluster's start(), with a disk of each member that can be stopped.
$cluster->start_etcd;
for my $node ($cluster->nodes)
{
	$node->start(environment => { LD_PRELOAD => "$tools/stall.so", STALL_CONTROL => control_file($node),
			STALL_DIRECTORY => $node->{data_directory} });
	$cluster->wait_for_leader;
}
$cluster->wait_until_streaming;
$cluster->create_writes_table;
my $writer = $cluster->writer;
my @pinned;

# Hang the leader, wait for another one, let it go.
sub is_replaced
{
	my ($what, $hang, $reason, $release, $is_lasting) = @_;
	my $old = $cluster->leader;
	my $pinned = $cluster->writer(nodes => [$old], any => 1, patience_ms => 0, mode => 'explicit');
	my $offset = $old->log_size;
	my $begin_us = PatroniCluster::now_us();
	my ($new, $first, $last, $why);

	push @pinned, $pinned;
	$hang->($old);
	$new = $cluster->wait_for_leader(not => $old);
	$writer->wait_for_acks(20, from => $new, after_us => $begin_us);
	($first) = grep { $_->{port} == $new->{port} && $_->{acked_us} > $begin_us } $writer->acks;
	my $took_ms = ($first->{acked_us} - $begin_us) / 1000;
	cmp_ok($took_ms, '<', 1000 * (BUDGET + TTL), "$what: another member takes writes within the budget and ttl");
	measured(sprintf('%s: the first write of another member came after %.2f s', $what, $took_ms / 1000));

	$old->wait_for_log($reason, $offset);
	ok(1, "$what: its log says why");
	($why) = $old->log_text($offset) =~ /(this server hangs and another member.*)\n.*Rule "hangs-replaced"/;
	ok($why, "$what: and gives the lease away for it");
	measured("$what: " . ($why // 'nothing was said'));
	like($new->sql("SELECT string_agg(reason, '; ') FROM patroni.explain() WHERE member = '$old->{name}'"), $reason,
		"$what: the new leader knows why, too") if $is_lasting;
	$release->($old);
	$cluster->wait_until_streaming;
	$writer->wait_for_more;
	$pinned->stop;
	($last) = reverse $pinned->acks;
	cmp_ok($last->{acked_us}, '<', $first->{acked_us},
		"$what: the old primary acknowledged nothing after the first write of its successor");
	return $new;
}

sub stop_disk { my ($node, $mode) = @_; PatroniCluster::spew(control_file($node), "$mode\n"); }
sub start_disk { my ($node) = @_; unlink control_file($node); }

is_replaced('frozen postmaster', sub { $_[0]->freeze('postmaster') },
	qr/the postmaster has not answered a new connection since/, sub { });
is_replaced('WAL that is not flushed', sub { stop_disk($_[0], 'wal') },
	qr/WAL is not flushed beyond .* and processes wait for it/, \&start_disk);
is_replaced('stopped disk', sub { stop_disk($_[0], 'disk') },
	qr/(writing a probe file in "pg_wal" has not ended|WAL is not flushed beyond \S+) since/, \&start_disk, 1);

# Too many clients are no reason, however long they stay.
{
	my $leader = $cluster->leader;
	my $begin_us = PatroniCluster::now_us();
	my $offset = $leader->log_size;
	my @clients;
	my $connect = sub {
		push @clients, PatroniCluster::spawn(
			[ 'psql', '-XAtq', '-d', "host=$cluster->{sockets} port=$leader->{port} user=postgres dbname=postgres",
				'-c', 'SELECT pg_sleep(600)' ], "$cluster->{base}/clients.log");
	};

	$connect->() for 1 .. 30;
	$cluster->wait_for('no connection is left', sub {
		my (undef, undef, $err) = $leader->try_sql('SELECT 1');
		return 1 if $err =~ /too many clients already|remaining connection slots/;
		$connect->();
		return 0;
	}, every_ms => 100);
	$begin_us = PatroniCluster::now_us();
	$writer->wait_for_acks(20, from => $leader, after_us => $begin_us + 2.5e6 * BUDGET);
	is($cluster->leader, $leader, 'a server without a connection left leads on');
	unlike($leader->log_text($offset), qr/hangs/, 'and nobody says that it hangs');
	kill 'KILL', @clients;
	waitpid $_, 0 for @clients;
}

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
