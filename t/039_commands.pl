# Restart, reload and reinitialize by SQL, of the own member and of others; each
# command ends, and none costs the leader its lease.

use strict;
use warnings;

use IPC::Run;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('commands');
$cluster->start;
$cluster->create_writes_table;
my $leader = $cluster->leader;
my ($two, $three) = $cluster->standbys;
my $writer = $cluster->writer;

# --- restart ---

my $before = $two->sql('SELECT pg_postmaster_start_time()');
like($leader->sql("SELECT patroni.restart('$two->{name}')"), qr/restart/, 'a standby is restarted from the leader');
$two->wait_for_sql("SELECT pg_postmaster_start_time() > '$before'");
$cluster->wait_until_streaming;

$before = $leader->sql('SELECT pg_postmaster_start_time()');
my $timeline = $leader->sql('SELECT timeline_id FROM pg_control_checkpoint()');
my $begin_us = PatroniCluster::now_us();
$two->sql("SELECT patroni.restart('$leader->{name}')");
$leader->wait_for_sql("SELECT pg_postmaster_start_time() > '$before' AND NOT pg_is_in_recovery()");
$cluster->wait_for_leader(is => $leader);
is($leader->sql('SELECT timeline_id FROM pg_control_checkpoint()'), $timeline, 'a restart of the leader changes no leader');
$writer->wait_for_acks(20, after_us => $begin_us + 1e6);
$cluster->wait_until_streaming;

$before = $leader->sql('SELECT pg_postmaster_start_time()');
$leader->try_sql('SELECT patroni.restart()');
$leader->wait_for_sql("SELECT pg_postmaster_start_time() > '$before' AND NOT pg_is_in_recovery()");
$cluster->wait_for_leader(is => $leader);
$cluster->wait_until_streaming;
ok(1, 'the leader restarts itself, and leads');

my ($status, $out, $err) = $leader->try_sql("SELECT patroni.restart('nobody')");
like($err, qr/There is no member "nobody"/, 'nobody cannot be restarted');
$before = $two->sql('SELECT pg_postmaster_start_time()');
($status, undef, $err) = $leader->try_sql("SELECT patroni.restart('$two->{name}', pending => true)");
isnt($status, 0, 'without a pending restart none is done') or diag($err);
is($two->sql('SELECT pg_postmaster_start_time()'), $before, 'really');

# --- a setting that needs a restart ---

$leader->sql(q{SELECT patroni.edit_config('{"postgresql": {"parameters": {"max_connections": 120}}}')});
$cluster->wait_for('all members wait for a restart', sub {
	$leader->sql('SELECT count(*) FROM patroni.member WHERE pending_restart') eq '3' });
is($leader->sql("SHOW max_connections"), '100', 'a setting that needs a restart waits for it');
# The standbys first: a standby with less than its primary stops replaying.
for my $node ($two, $three, $leader)
{
	$before = $node->sql('SELECT pg_postmaster_start_time()');
	($node == $two ? $three : $two)->sql("SELECT patroni.restart('$node->{name}', pending => true)");
	$node->wait_for_sql("SELECT pg_postmaster_start_time() > '$before'");
	$cluster->wait_for_leader(is => $leader);
	$cluster->wait_until_streaming;
	is($node->sql('SHOW max_connections'), '120', "after its restart $node->{name} has it");
}
$cluster->wait_for('no member waits any more', sub {
	$leader->sql('SELECT count(*) FROM patroni.member WHERE pending_restart') eq '0' });

# --- reload ---

$two->{config}{postgresql}{parameters} = { work_mem => '7MB' };
$two->write_config;
$leader->sql("SELECT patroni.reload('$two->{name}')");
$two->wait_for_sql("SELECT setting = '7168' FROM pg_settings WHERE name = 'work_mem'");
ok(1, 'another member reads its configuration again');
$leader->{config}{postgresql}{parameters} = { work_mem => '8MB' };
$leader->write_config;
$leader->sql('SELECT patroni.reload()');
$leader->wait_for_sql("SELECT setting = '8192' FROM pg_settings WHERE name = 'work_mem'");
ok(1, 'so does the own one');

# --- while the supervisor has control ---

# Its new worker is not given control yet.
sub hold_control
{
	my ($node) = @_;
	my $worker = $node->worker_pid;

	$node->freeze('supervisor');
	kill 'TERM', $worker;
	$cluster->wait_for("$node->{name} has a new worker", sub { ($node->worker_pid // $worker) != $worker });
	$node->wait_for_sql("SELECT (patroni.status()->'worker'->>'is_running')::bool");
}

hold_control($two);
my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d',
		"host=$cluster->{sockets} port=$two->{port} user=postgres dbname=postgres application_name=asks",
		'-c', 'SELECT patroni.reload()' ], '>', \$out, '2>', \$err);
$two->wait_for_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'asks' AND wait_event_type = 'Extension'");
$two->thaw;
ok($psql->finish, 'a command waits for the worker to get control') or diag($err);
$cluster->wait_until_streaming;

hold_control($two);
($status, $out, $err) = $two->try_sql('SELECT patroni.reload()');
like($err, qr/ERROR:  55000.*in the hands of the supervisor/, 'but not for ever');
$two->thaw;
$cluster->wait_until_streaming;

# --- reinitialize ---

PatroniCluster::spew("$three->{data_directory}/old", 'old');
$leader->sql("SELECT patroni.reinitialize('$three->{name}')");
$cluster->wait_for("the old data of $three->{name} is gone", sub { !-e "$three->{data_directory}/old" });
$cluster->wait_until_streaming;
$cluster->wait_until_replayed;
ok(1, 'a standby is copied anew');
PatroniCluster::spew("$three->{data_directory}/old", 'old');
$three->try_sql("SELECT patroni.reinitialize('$three->{name}')");
$cluster->wait_for("the old data of $three->{name} is gone", sub { !-e "$three->{data_directory}/old" });
$cluster->wait_until_streaming;
ok(1, 'also when it asks for that itself');
($status, undef, $err) = $leader->try_sql("SELECT patroni.reinitialize('$leader->{name}')");
like($err, qr/the member is the leader/i, 'the leader is not reinitialized');
my $postmaster = $leader->postmaster_pid;
($status, $out, $err) = $two->try_sql("SELECT patroni.reinitialize('$leader->{name}')");
note("asked by another: $status, $out, $err");
$cluster->wait_for('the leader has answered', sub { ($cluster->key_json("requests/$leader->{name}") // { done => 1 })->{done} });
is($leader->postmaster_pid, $postmaster, 'nor when another member asks for it');
is($cluster->leader, $leader, 'it leads');

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
