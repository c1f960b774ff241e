# A dynamic configuration that nobody can use, written to the store by whatever tool, keeps no server down:
# what was in force stays in force, also for servers and supervisors that are started after it.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('broken', members => 2, parameters => { work_mem => '5MB' });
my ($one, $two) = $cluster->nodes;

$cluster->start;
$cluster->create_writes_table;
my $good = $cluster->key_json('config');
my %offset = map { $_->{name} => $_->log_size } $one, $two;

$cluster->edit_config({ ttl => 'abc' });
$_->wait_for_log(qr/the dynamic configuration cannot be used, the old one stays in force\n.*ttl: "abc" is not an integer/, $offset{ $_->{name} })
  for $one, $two;
ok(1, 'members say why they do not use it');

# The worker of a server that is started again has only what its supervisor gives it.
sub restarted
{
	my ($what, $node, $do) = @_;
	my $offset = $node->log_size;

	$do->();
	$node->wait_for_log(qr/the worker controls this node/, $offset);
	$cluster->wait_until_streaming;
	is($node->sql('SHOW work_mem'), '5MB', "$what: the old one is in force");
	unlike($node->log_text($offset), qr/could not take control of this node/, "$what: its worker can use what it gets");
}

restarted('a restarted server', $two, sub { $one->sql("SELECT patroni.restart('node2', wait => false)") });
my $offset = $two->log_size;
$two->reload;
$two->wait_for_log(qr/configuration item changed|reloaded the configuration/, $offset);
restarted('a restarted server, after a reload', $two, sub { $one->sql("SELECT patroni.restart('node2', wait => false)") });
restarted('a restarted supervisor', $two, sub { $two->stop; $two->start });

# As a release before this one has left it.
restarted('a useless copy', $two, sub {
	$two->stop;
	PatroniCluster::spew("$two->{data_directory}/patroni.dynamic.json", '{"ttl": "abc"}');
	$two->start;
});
like($two->log_text, qr/WARNING:  the dynamic configuration in ".*patroni\.dynamic\.json" cannot be used/, 'it is said');

$cluster->wait_for_leader->sql("SELECT patroni.switchover('node2', wait => false)");
$cluster->wait_for_leader(is => $two);
$cluster->wait_until_streaming;
ok(1, 'a switchover works');

# Mended.
$good->{ttl} = 5;
$cluster->put_key('config', JSON::PP::encode_json($good));
$_->wait_for_sql("SELECT patroni.config() ->> 'ttl' = '5'") for $one, $two;
$cluster->wait_for('the copy is that of the store', sub {
	PatroniCluster::slurp("$two->{data_directory}/patroni.dynamic.json") =~ /"ttl": ?5/ });
ok(1, 'one that can be used is in force at once');

# Of a key that is lost, or is no configuration at all, the leader writes what is in force.
for my $text (undef, '{"ttl": 7', '[]')
{
	defined $text ? $cluster->put_key('config', $text) : $cluster->delete_key('config');
	$cluster->wait_for('the dynamic configuration is there again', sub { eval { $cluster->key_json('config')->{ttl} } });
	is($cluster->key_json('config')->{ttl}, 5, 'the one in force: ' . ($text // 'missing'));
}

done_testing();
