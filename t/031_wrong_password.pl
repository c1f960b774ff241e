# A member with a wrong password says so and keeps trying; the cluster goes on
# without it, and with it once the password is right.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $right;
my $cluster = PatroniCluster->new('password', node => { node3 => { config => sub {
	my ($node, $config) = @_;

	$right = $config->{postgresql}{authentication}{replication}{password};
	$config->{postgresql}{authentication}{replication}{password} = "wrong: $right";
} } });
my ($one, $two, $three) = $cluster->nodes;
$cluster->start_etcd;
$one->start;
$cluster->wait_for_leader;
$two->start;
$cluster->wait_until_streaming;
$cluster->create_writes_table;
my $writer = $cluster->writer;

$three->start;
$three->wait_for_log(qr/password authentication failed for user "replicator"/);
$writer->wait_for_more(100);
ok(1, 'a wrong password is told in the log');
is($three->postmaster_pid, undef, 'the member does not get a server');
is($cluster->leader, $one, 'the leader leads on');
is($three->rest('/patroni')->{status}, 200, 'the member answers');

$three->{config}{postgresql}{authentication}{replication}{password} = $right;
$three->write_config;
$three->reload;
$cluster->wait_until_streaming;
is($three->sql('SELECT pg_is_in_recovery()'), 't', 'with the right password and a reload it becomes a standby');

# A password that changes under a running standby.
$writer->wait_for_more;
$one->sql("SET password_encryption = 'scram-sha-256'; ALTER ROLE replicator PASSWORD 'new one'");
my $offset = $two->log_size;
$one->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
$two->wait_for_log(qr/password authentication failed for user "replicator"/, $offset);
for my $node ($one, $two, $three)
{
	$node->{config}{postgresql}{authentication}{replication}{password} = 'new one';
	$node->write_config;
	$node->reload;
}
$cluster->wait_until_streaming;
ok(1, 'a changed password is taken over by a reload');
$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');
unlike($_->log_text, qr{\Q$right\E|'new one'}, "$_->{name}: its log has no password") for $two, $three;

done_testing();
