# run as root
# A standby whose disk is full does not hold up the others, is not promoted, and
# comes back by itself when there is room again.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

plan skip_all => 'a small file system needs root' if $< != 0;

my $cluster = PatroniCluster->new('full', members => 2, node => { node2 => { data_directory => 'small/data' } },
	parameters => { max_wal_size => '64MB', min_wal_size => '32MB', max_slot_wal_keep_size => '2GB' });
my ($leader, $standby) = $cluster->nodes;
my $small = "$standby->{directory}/small";

plan skip_all => 'no file system can be mounted here' unless $cluster->mount_tmpfs($small, '300m');
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer;
$leader = $cluster->leader;

my $offset = $standby->log_size;
system("dd if=/dev/zero of=$small/filler bs=1M 2>/dev/null");
$leader->sql('CREATE TABLE big AS SELECT generate_series(1, 1000000) AS i');
$standby->wait_for_log(qr/No space left on device/, $offset);
ok(1, 'the standby has no room and says so');
$writer->wait_for_more(200);
is($cluster->leader, $leader, 'the leader leads on');
is($leader->rest('/primary')->{status}, 200, 'and its health check is good');
is(scalar(grep { $_->{name} eq 'node2' } @{ $leader->rest('/cluster')->{json}{members} }), 1,
	'the standby is still listed');
like($standby->rest('/patroni')->{status}, qr/^200$/, 'its supervisor answers');

unlink "$small/filler";
$cluster->wait_until_streaming;
$cluster->wait_until_replayed;
is($standby->sql('SELECT count(*) FROM big'), '1000000', 'with room again it catches up');
$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
