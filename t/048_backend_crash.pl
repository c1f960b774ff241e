# A backend of the leader crashes: the postmaster stays and restarts all others,
# with crash recovery.  The leader stays what it is, and is no standby meanwhile.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('backend', members => 2,
	parameters => { checkpoint_timeout => '1h', max_wal_size => '4GB' });
$cluster->start;
my $leader = $cluster->leader;
my $postmaster = $leader->postmaster_pid;

# so that crash recovery lasts for a while
$leader->sql('CREATE TABLE filler (a int, b text)');
$leader->sql("INSERT INTO filler SELECT g, repeat('x', 200) FROM generate_series(1, 600000) g");
$leader->sql('CREATE INDEX ON filler (a)');
my $offset = $leader->log_size;
kill 'KILL', $leader->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
$cluster->wait_for('the server is restarted by itself',
	sub { $leader->log_text($offset) =~ /all server processes terminated; reinitializing/ });
$cluster->wait_for_leader(is => $leader);
is($leader->postmaster_pid, $postmaster, 'the server went on by itself');
is($leader->sql('SELECT count(*) FROM filler'), 600000, 'with all it had');
is($leader->sql('SELECT timeline_id FROM pg_control_checkpoint()'), 1, 'on its timeline');
unlike($leader->log_text($offset), qr/Rule "(claim-timeline|promote)"|is a replica now/,
	'and nobody took it for a standby');
is($cluster->key('promotions'), undef, 'no timeline id was taken');
$cluster->wait_until_streaming;

done_testing();
