# In pause mode nothing happens by itself: no failover, no demotion; what people
# do is left alone.  Resume takes up where things are then.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('pause');
$cluster->start;
$cluster->create_writes_table;
my $leader = $cluster->leader;
my ($standby) = $cluster->standbys;

$leader->sql('SELECT patroni.pause()');
is($cluster->key_json('config')->{pause}, JSON::PP::true, 'the store says that the cluster is paused');
ok($_->rest('/patroni')->{json}{pause}, "$_->{name} knows it") for $cluster->nodes;

# --- the store goes away: no fence ---

my $writer = $cluster->writer;
my $begin_us = PatroniCluster::now_us();
$cluster->stop_etcd;
$writer->wait_for_acks(100, after_us => $begin_us + 6e6);
is(scalar(grep { $_->{us} > $begin_us } $writer->errors), 0, 'paused, a primary writes on without a store for two ttl');
$cluster->start_etcd;
$cluster->wait_for('the leader key is there again', sub { ($cluster->leader // 0) == $leader });
$writer->stop;

# --- a switchover to a named member works, to nobody does not ---

my ($status, undef, $err) = $leader->try_sql('SELECT patroni.switchover()');
like($err, qr/DETAIL:  A candidate must be named while the cluster is paused/, 'paused, a switchover needs a candidate');
$standby->sql("SELECT patroni.switchover('$standby->{name}')");
$cluster->wait_for_leader(is => $standby);
$cluster->wait_until_streaming;
($leader, $standby) = ($standby, $leader);
ok(1, 'a switchover to a named member is carried out');

# --- a standby that somebody promotes is left alone ---

my ($other) = grep { $_ != $leader && $_ != $standby } $cluster->nodes;
$standby->sql('SELECT pg_promote()');
$standby->wait_for_log(qr/Rule "primary-without-lease-paused"/);
is($standby->sql('SELECT pg_is_in_recovery()'), 'f', 'a standby that somebody promoted stays what it is');
is($cluster->leader, $leader, 'the leader too');
$standby->sql('CREATE TABLE promoted AS SELECT 1 AS i');
is($leader->sql('SELECT pg_is_in_recovery(), is_open FROM patroni.lease'), 'f|t', 'and it takes writes');
$leader->sql('SELECT patroni.resume()');
$standby->wait_for_sql('SELECT pg_is_in_recovery()');
$cluster->wait_until_streaming;
is($standby->sql("SELECT count(*) FROM pg_class WHERE relname = 'promoted'"), '0', 'after resume it is a standby again, rewound');
is($cluster->leader, $leader, 'and the leader leads');

# --- the primary dies: no failover before resume ---

$leader->sql('SELECT patroni.pause()');
my @others = $cluster->standbys;
my @offset = map { $_->log_size } @others;
$leader->kill9_part('postmaster');
$cluster->wait_for('the leader key is given up', sub { !defined $cluster->key('leader') });
$_->wait_for_log(qr/Rule "paused"/, shift @offset) for @others;
is(scalar(grep { $_->sql('SELECT pg_is_in_recovery()') eq 't' } @others), 2, 'paused, nobody takes over from a dead primary');
is($leader->postmaster_pid, undef, 'nor is it started again');
$others[0]->sql('SELECT patroni.resume()');
my $new = $cluster->wait_for_leader;
$cluster->wait_until_streaming;
ok($new, 'after resume a member leads and the others follow');
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

# --- a supervisor that is told to stop leaves the server up ---

$leader = $cluster->leader;
$leader->sql('SELECT patroni.pause()');
my $postmaster = $leader->postmaster_pid;
is($leader->stop, 0, 'paused, a supervisor stops');
ok(PatroniCluster::is_alive($postmaster), 'and leaves its server running');
$leader->start;
$cluster->wait_for_leader(is => $leader);
is($leader->postmaster_pid, $postmaster, 'its successor finds it');
$leader->sql('SELECT patroni.resume()');
$cluster->wait_until_streaming;

done_testing();
