# A scheduled switchover is shown, happens at its time, and can be forgotten.

use strict;
use warnings;

use PatroniCluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = PatroniCluster->new('scheduled', members => 2);
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer;
my ($leader, $standby) = $cluster->nodes;
my $when = $leader->sql("SELECT date_trunc('milliseconds', now() + interval '4 s')");
my $when_s = $leader->sql("SELECT extract(epoch FROM timestamptz '$when')");

is($leader->sql("SELECT patroni.switchover('node2', '$when')") =~ /scheduled/, 1, 'a switchover is scheduled');
my $shown = $cluster->wait_for('REST shows it', sub { $leader->rest('/cluster')->{json}{scheduled_switchover} });
is($shown->{from}, 'node1', 'REST shows from whom');
is($shown->{to}, 'node2', 'and to whom');
ok($shown->{at}, 'and when');
is($cluster->key_json('failover')->{leader}, 'node1', 'it is in the store as Patroni writes it');
my ($status, undef, $err) = $leader->try_sql("SELECT patroni.switchover('node2')");
like($err, qr/Another switchover or failover is requested already/, 'no other one can be asked for meanwhile');
is($cluster->leader, $leader, 'the leader leads until then');

$cluster->wait_for_leader(is => $standby, timeout => 30);
my $late = time - $when_s;
cmp_ok($late, '>', 0, 'it does not happen before its time');
cmp_ok($late, '<', 3, sprintf('nor much later (%.2f s)', $late));
$cluster->wait_until_streaming;
ok(!$leader->rest('/cluster')->{json}{scheduled_switchover}, 'afterwards nothing is scheduled');

# Forgotten: by whoever empties the key, as Patroni's tools do.
$standby->sql("SELECT patroni.switchover('node1', now() + interval '2 s')");
$cluster->put_key('failover', '{}');
my $begin_us = PatroniCluster::now_us();
$writer->wait_for_acks(200, after_us => $begin_us + 4e6);
is($cluster->leader, $standby, 'a switchover that was forgotten does not happen');

# A schedule survives the loss of the leader's supervisor.
$when = $standby->sql("SELECT now() + interval '3 s'");
$standby->sql("SELECT patroni.switchover('node1', '$when')");
$standby->kill9_part('supervisor');
$standby->start;
$cluster->wait_for_leader(is => $leader, timeout => 30);
ok(1, 'a schedule survives a new supervisor');

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
