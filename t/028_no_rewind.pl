# A member that has diverged and may not be rewound waits, says why, and deletes
# nothing; an operator brings it back.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('norewind', members => 2, dcs => { postgresql => { use_pg_rewind => JSON::PP::false } });
$cluster->start;
my $old = $cluster->wait_for_leader;
my ($new) = $cluster->standbys;
$old->sql("CREATE TABLE t (what text); INSERT INTO t VALUES ('everywhere')");
$cluster->wait_until_replayed;

$old->freeze_senders;
$old->sql("CREATE TABLE precious AS SELECT generate_series(1, 1000) AS i; CHECKPOINT");
my $precious = $old->sql("SELECT pg_relation_filepath('precious')");
$old->kill9;
$cluster->wait_for_leader(is => $new);
my $offset = $old->log_size;
$old->start;
$old->wait_for_log(qr/Rule "diverged"/, $offset);
like($old->log_text($offset), qr/this member has WAL that the leader does not have, and may neither rewind nor remove/,
	'the diverged member says why it waits');
is($old->postmaster_pid, undef, 'its server does not run');
ok(-s "$old->{data_directory}/$precious", 'its data is still there');
ok(-s "$old->{data_directory}/PG_VERSION", 'all of it');
my $status = $old->rest('/patroni');
is($status->{status}, 200, 'its REST API answers');
isnt($status->{json}{state}, 'running', "and says that it does not run ($status->{json}{state})");
is($old->rest('/replica')->{status}, 503, 'no client is sent to it');
$cluster->wait_for('the others know', sub {
	(grep { $_->{name} eq $old->{name} } @{ $new->rest('/cluster')->{json}{members} })[0]{state} ne 'running';
});
is($cluster->leader, $new, 'the other one leads');

# It waits on, also after a restart of its supervisor.
$old->stop;
$offset = $old->log_size;
$old->start;
$old->wait_for_log(qr/Rule "diverged"/, $offset);
ok(-s "$old->{data_directory}/$precious", 'a restart of the supervisor deletes nothing either');

# The operator decides.
$new->sql("SELECT patroni.reinitialize('$old->{name}')");
$cluster->wait_until_streaming;
is($old->sql("SELECT count(*) FROM pg_class WHERE relname = 'precious'"), '0', 'reinitialized it is a standby again');

done_testing();
