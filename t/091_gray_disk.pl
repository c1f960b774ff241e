# run as root
# A primary whose disk stands still is replaced within its budget and ttl, though
# its processes cannot even be killed; so is one whose disk is full.  Nobody
# hears "committed" from the old one any more, and both come back by themselves.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

use constant { TTL => 3, BUDGET => 2 };

plan skip_all => 'file systems need root' if $< != 0;

my $cluster = PatroniCluster->new('graydisk', members => 2,
	node => { node1 => { data_directory => 'disk/data' }, node2 => { data_directory => 'small/data' } },
	dcs => { ttl => TTL, health => { disk_timeout => BUDGET } },
	parameters => { max_wal_size => '64MB', min_wal_size => '32MB', wal_keep_size => '16MB' });
my ($one, $two) = $cluster->nodes;
my $disk = "$one->{directory}/disk";
my $small = "$two->{directory}/small";

plan skip_all => 'no file system can be mounted here'
  unless $cluster->mount_tmpfs($small, '300m') && $cluster->mount_disk($disk, 400);
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer;

# A client of the old one, an event that breaks its disk, and what follows.
sub is_replaced
{
	my ($what, $old, $new, $break, $reason, $is_lasting) = @_;
	my $pinned = $cluster->writer(nodes => [$old], any => 1, patience_ms => 0, mode => 'explicit');
	my $offset = $old->log_size;
	my $begin_us = PatroniCluster::now_us();

	$break->();
	is($cluster->wait_for_leader(not => $old), $new, "$what: the other member leads");
	$writer->wait_for_acks(20, from => $new, after_us => $begin_us);
	my ($first) = grep { $_->{port} == $new->{port} && $_->{acked_us} > $begin_us } $writer->acks;
	my $took_ms = ($first->{acked_us} - $begin_us) / 1000;
	cmp_ok($took_ms, '<', 1000 * (BUDGET + TTL), "$what: it takes writes within the budget and ttl");
	$old->wait_for_log($reason, $offset);
	measured(sprintf('%s: the first write of another member came after %.2f s', $what, $took_ms / 1000));
	measured("$what: $1") if $old->log_text($offset) =~ /(this server hangs and another.*)/;
	isnt($old->rest('/primary')->{status}, 200, "$what: the old one is no primary for a load balancer");
	# a server that stops makes room: then the next probe goes well
	return finish($what, $pinned, $first) unless $is_lasting;
	like($old->rest('/patroni')->{json}{hang} // '', $reason, "$what: its status says why");
	like($new->sql("SELECT string_agg(reason, '; ') FROM patroni.explain() WHERE member = '$old->{name}'"), $reason,
		"$what: the other member knows why");
	return finish($what, $pinned, $first);
}

# What is looked at when the disk works again.
sub finish
{
	my ($what, $pinned, $first) = @_;

	return sub {
		$cluster->wait_until_streaming;
		$writer->wait_for_more;
		$pinned->stop;
		my ($last) = reverse $pinned->acks;
		cmp_ok($last->{acked_us}, '<', $first->{acked_us},
			"$what: the old primary acknowledged nothing after the first write of its successor");
	};
}

is($cluster->leader, $one, 'the member with the disk that will stand still leads');
my $check = is_replaced('frozen disk', $one, $two, sub { $cluster->freeze_disk($disk) },
	qr/(writing a probe file in "pg_wal" has not ended|WAL is not flushed beyond \S+) since/, 1);
ok($one->postmaster_pid, 'frozen disk: its postmaster is still there');
$cluster->thaw_disk($disk);
$check->();

$check = is_replaced('full disk', $two, $one,
	sub { system("dd if=/dev/zero of=$small/filler bs=1M 2>/dev/null") },
	qr/no probe file can be written in .*: No space left on device/);
unlink "$small/filler";
$check->();

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
