# A member can be added at any time, copies from the member that is named for it,
# and leaves no trace when it is taken away.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('members', members => 2, dcs => { member_slots_ttl => 0 },
	node => { node2 => { tags => { clonefrom => JSON::PP::true } } });
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer;
my ($one, $two) = $cluster->nodes;
$cluster->wait_for('the store shows that node2 may be copied', sub { $cluster->key_json('members/node2')->{tags}{clonefrom} });

my $three = $cluster->add_node('node3');
$three->start;
$cluster->wait_until_streaming;
like($three->log_text, qr/copying from "node2"/, 'a new member copies from the one with the tag clonefrom');
is($three->sql('SELECT pg_is_in_recovery()'), 't', 'and follows the leader');
is($one->sql("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'node3'"), '1', 'the leader sees it');
is($one->sql("SELECT active FROM pg_replication_slots WHERE slot_name = 'node3'"), 't', 'it has a slot');
$cluster->wait_for('all know of it', sub {
	3 == grep { @{ $_->rest('/cluster')->{json}{members} } == 3 } $cluster->nodes });

# Taken away.
is($three->stop, 0, 'a member that is told to stop does so');
$cluster->wait_for('the store has forgotten it', sub { !defined $cluster->key('members/node3') });
$one->wait_for_sql('SELECT count(*) = 2 FROM patroni.member');
ok(1, 'the members are two');

# Back with its old data, and as a new one with none.
$three->start;
$cluster->wait_until_streaming;
unlike(substr($three->log_text, -3000), qr/copying from/, 'with its old data it needs no copy');
is($three->stop, 0, 'once more');
PatroniCluster::remove_tree($three->{data_directory});
$three->start;
$cluster->wait_until_streaming;
$cluster->wait_until_replayed;
ok(1, 'without data it copies again');

# Two at the same time.
my @more = map { $cluster->add_node($_) } qw(node4 node5);
$_->start for @more;
$cluster->wait_until_streaming;
$cluster->wait_until_replayed;
$one->wait_for_sql('SELECT count(*) = 5 FROM patroni.member');
ok(1, 'two more at the same time');
my $old = $cluster->leader;
$cluster->wait_for_leader->sql("SELECT patroni.switchover('node5', wait => false)");
$cluster->wait_for_leader(is => $more[1]);
$cluster->wait_until_streaming;
ok(1, 'a new member can lead, and the other four follow it');

# Nothing keeps WAL for one that is gone for longer than member_slots_ttl.
$more[0]->stop;
ok($more[1]->wait_for_sql("SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = 'node4'",
		timeout => 10, or_undef => 1), 'the slot of a member that is gone is dropped');

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
