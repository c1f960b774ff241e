# The checkpoint before a switchover is over, with the WAL file that it makes for
# later, before the server is told to stop: else clients would wait for that.  So
# is the candidate's restartpoint at it.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

# large files take long to make
my $cluster = PatroniCluster->new('checkpoint', members => 2,
	config => sub { push @{ $_[1]{bootstrap}{initdb} }, { 'wal-segsize' => 128 } },
	parameters => { wal_keep_size => '128MB', wal_recycle => 'off' });
$cluster->start;

for my $run (1 .. 2)
{
	my $old = $cluster->leader;
	my ($new) = $cluster->standbys;

	$cluster->wait_for('the checkpoint after the promotion is over', sub {
		!exists $cluster->key_json("members/$old->{name}")->{checkpoint_after_promote};
	});
	# a checkpoint in the last quarter of a WAL file makes the next one
	$old->sql('SELECT pg_switch_wal()');
	$old->sql("SELECT count(pg_logical_emit_message(false, '', repeat(md5(i::text), 32768))) FROM generate_series(1, 110) i");
	like($old->sql('SELECT pg_size_bytes(current_setting(\'wal_segment_size\')) * 3 / 4 <'
			  . ' file_offset FROM pg_walfile_name_offset(pg_current_wal_lsn())'), qr/^t$/, "run $run: the WAL file is nearly full");
	$cluster->wait_until_replayed;

	my $offset = $old->log_size;
	my $offset_of_new = $new->log_size;
	$old->try_sql('SELECT patroni.switchover()');
	$cluster->wait_for_leader(not => $old);
	my ($before) = $old->log_text($offset) =~ /^(.*?)received fast shutdown request/ms;
	like($before // '', qr/checkpoint complete: .* 1 WAL file\(s\) added/, "run $run: made before the server stops");
	($before) = $new->log_text($offset_of_new) =~ /^(.*?)received promote request/ms;
	like($before // '', qr/restartpoint complete/, "run $run: so is the candidate's restartpoint");
	$cluster->wait_until_streaming;
}

done_testing();
