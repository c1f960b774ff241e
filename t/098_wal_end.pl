# A primary that crashes at the end of a WAL file, before there is a next one,
# hands over at once like any other.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('walend', dcs => { ttl => 20, loop_wait => 2, retry_timeout => 2 });
$cluster->start;

my $segment_bytes = 16 * 1024 * 1024;

# Writes WAL until little room is left in the file; the name of the next one.
sub fill_file
{
	my ($leader) = @_;
	my $lsn = 'pg_current_wal_insert_lsn()';

	for (1 .. 3)
	{
		# page headers take their part
		$leader->sql("SELECT pg_logical_emit_message(false, 'fill', repeat('x', (0.99 * room)::int - 2000))"
			  . " FROM (SELECT $segment_bytes - ($lsn - '0/0') % $segment_bytes) AS file (room) WHERE room > 10000");
	}
	return $leader->sql("SELECT pg_walfile_name($lsn + $segment_bytes)");
}

# The server dies when its last WAL file is full, in the middle of a record.
sub crash_in
{
	my ($end, $bytes) = @_;
	my $leader = $cluster->leader;
	my $wal = "$leader->{data_directory}/pg_wal";
	my $next = fill_file($leader);

	# it writes WAL now and then
	kill 'STOP', $leader->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'");
	$cluster->wait_until_replayed;
	$leader->freeze_senders;
	$leader->sql("SELECT pg_logical_emit_message(true, 'long', repeat('x', $bytes))");
	$leader->freeze('supervisor');
	$leader->kill9_part('server');
	opendir my $directory, $wal or die "$wal: $!";
	my @beyond = grep { /^[0-9A-F]{24}\z/ && $_ ge $next } readdir $directory;
	closedir $directory;
	cmp_ok(scalar(@beyond), '>', 0, "$end: it goes on in another file");
	unlink map { "$wal/$_" } @beyond;

	my $offset = $leader->log_size;
	my $begin_us = PatroniCluster::now_us();
	$leader->thaw;
	my $new = $cluster->wait_for_leader(not => $leader);
	my $ms = (PatroniCluster::now_us() - $begin_us) / 1000;
	my $log = $leader->log_text($offset);

	like($log, qr/a candidate has all of its WAL/, 'the lease is given to who has all WAL');
	my ($search_ms) = $log =~ /search for the end of WAL done after (\d+) ms/;
	cmp_ok($search_ms // 'inf', '<', 2000, 'without waiting for a file that does not come');
	measured(sprintf('%s: searched for %d ms, another member leads after %.0f ms', $end, $search_ms // -1, $ms));
	# the old one asks for the next file
	$new->sql("SELECT pg_logical_emit_message(true, 'on', repeat('x', 100000))");
	$cluster->wait_until_streaming;
}

crash_in('a record that goes on in the next file' => 100_000);
crash_in('one that is longer than a file' => 20_000_000);
done_testing();
