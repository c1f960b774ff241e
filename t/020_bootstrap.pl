# Three members that are started at the same time make one cluster: one leads,
# the others copy it and stream from it.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('bootstrap');
$cluster->start_etcd;
$_->start for $cluster->nodes;
my $leader = $cluster->wait_for_leader(timeout => 90);
$cluster->wait_until_streaming(timeout => 90);

my @standbys = $cluster->standbys;
is(scalar @standbys, 2, 'one leads, two follow');
is($leader->sql('SELECT count(*) FROM patroni.member'), '3', 'the extension is there and shows three members');
is($leader->sql("SELECT string_agg(role, ' ' ORDER BY role) FROM patroni.member"), 'leader replica replica',
	'with their roles');
is($leader->sql('SELECT is_managed, is_enabled, is_open, baton FROM patroni.lease'), 't|t|t|worker',
	'the fence of the leader is open and its worker drives');
for my $node (@standbys)
{
	is($node->sql('SELECT pg_is_in_recovery(), is_open FROM patroni.lease'), 't|f',
		"$node->{name} is in recovery and its fence is closed");
	is($node->sql("SELECT setting FROM pg_settings WHERE name = 'primary_slot_name'"), $node->{name},
		"$node->{name} has a slot");
}
is($leader->sql("SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots WHERE active"),
	join(' ', sort map { $_->{name} } @standbys), 'whose other ends are active');

# What Patroni's tools read.
is($cluster->key('initialize'), $leader->sql('SELECT system_identifier FROM pg_control_system()'),
	'the store has the system identifier');
is($cluster->key_json('config')->{ttl}, 3, 'and the dynamic configuration');
$cluster->wait_for('all members show their state in the store', sub {
	3 == grep {
		my $member = $cluster->key_json("members/$_->{name}");
		$member && $member->{state} eq 'running' && $member->{api_url} && $member->{conn_url}
		  && $member->{role} eq ($_ == $leader ? 'primary' : 'replica');
	} $cluster->nodes;
});
is($leader->rest('/primary')->{status}, 200, 'a health check finds the primary');
is($leader->rest('/replica')->{status}, 503, 'which is no replica');
is($standbys[0]->rest('/primary')->{status}, 503, 'and no standby is taken for it');
is($standbys[0]->rest('/replica')->{status}, 200, 'but for a replica');

is($leader->sql("SELECT rolname, rolreplication, rolsuper FROM pg_roles WHERE rolname IN ('replicator', 'rewinder') ORDER BY 1"),
	"replicator|t|f\nrewinder|f|f", 'the roles of the configuration exist');
$cluster->create_writes_table;
my $writer = $cluster->writer;
$writer->wait_for_acks(50);
$writer->stop;
$cluster->wait_until_replayed;
is($_->sql('SELECT count(*) FROM writes'), $leader->sql('SELECT count(*) FROM writes'),
	"$_->{name} has what was written") for @standbys;

# Told to stop one after the other, everything ends.
is($_->stop, 0, "$_->{name} stops in order") for @standbys, $leader;
is(scalar(grep { $_->postmaster_pid } $cluster->nodes), 0, 'no server is left');
is($cluster->key('leader'), undef, 'nor a leader key');

done_testing();
