# No client hears of a commit before its WAL is on its way to a standby: a
# primary that stands still has told of nothing that its walsenders kept to
# themselves.

use strict;
use warnings;

use PatroniCluster;
use IPC::Run;
use Test::More;
use Time::HiRes qw(usleep);

my $cluster = PatroniCluster->new('wal-sent', members => 2, dcs => { ttl => 2 },
	parameters => { max_prepared_transactions => 5, wal_keep_size => '64MB' });
$cluster->start;
$cluster->create_writes_table;
my $next_id = 1_000_000_000;

sub set_wait
{
	my ($ms) = @_;

	for my $node ($cluster->nodes)
	{
		$node->sql("ALTER SYSTEM SET patroni.wal_send_wait = $ms");
		$node->sql('SELECT pg_reload_conf()');
		$node->wait_for_sql("SELECT setting = '$ms' FROM pg_settings WHERE name = 'patroni.wal_send_wait'");
	}
}

# Until the walsender has sent everything, so that commits wait for it.
sub wait_until_sent
{
	$cluster->wait_until_streaming;
	$cluster->leader->sql('SELECT txid_current()');
	$cluster->wait_until_replayed;
}

sub insert { return 'INSERT INTO writes VALUES (' . ++$next_id . ', 0)'; }

# A client that waits for its answer: psql and what it has said.
sub begin_client
{
	my ($leader, @sql) = @_;
	my $text = '';
	my $client = { id => $next_id, text => \$text };

	$client->{psql} = IPC::Run::start([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d',
			"host=$cluster->{sockets} port=$leader->{port} user=postgres dbname=postgres application_name=waiting",
			(map { ('-c', $_) } @sql), '-c', '\echo told' ], '>', \$text, '2>&1');
	return $client;
}

my $waits = "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waiting' AND wait_event_type = 'Extension'";

# How long a statement takes that writes, in ms.
sub time_of
{
	my ($leader, $sql) = @_;
	my $begin_us = PatroniCluster::now_us();

	$leader->sql($sql);
	return (PatroniCluster::now_us() - $begin_us) / 1000;
}

# --- an answer waits for the walsender ---

set_wait(10_000);
for my $case (
	[ 'a statement', sub { insert() } ],
	[ 'a transaction', sub { ('BEGIN', insert(), 'COMMIT') } ],
	[ 'PREPARE TRANSACTION', sub { ('BEGIN', insert(), "PREPARE TRANSACTION 'p'") } ],
	[ 'COMMIT PREPARED', sub { "COMMIT PREPARED 'p'" } ])
{
	my ($name, $sql) = @$case;
	my $leader = $cluster->wait_for_leader;

	wait_until_sent();
	$leader->freeze_senders;
	my $client = begin_client($leader, $sql->());
	$leader->wait_for_sql($waits);
	is(${ $client->{text} }, '', "$name: its client is told nothing while the walsender stands still");
	is($leader->sql("SELECT count(*) FROM writes WHERE id = $client->{id}"), $name eq 'PREPARE TRANSACTION' ? '0' : '1',
		"$name: others see what it did");
	$leader->thaw;
	$client->{psql}->finish;
	is(${ $client->{text} }, "told\n", "$name: it is told when the WAL has been sent");
}

# --- who need not wait ---

{
	my $leader = $cluster->wait_for_leader;

	wait_until_sent();
	$leader->freeze_senders;
	cmp_ok(time_of($leader, 'SELECT count(*) FROM writes'), '<', 5000, 'reading does not wait');
	cmp_ok(time_of($leader, "SET synchronous_commit = local; " . insert()), '<', 5000, 'nor does who set synchronous_commit to local');
	cmp_ok(time_of($leader, "SET synchronous_commit = off; " . insert()), '<', 5000, 'or off');
	set_wait(0);
	cmp_ok(time_of($leader, insert()), '<', 5000, 'nor anybody when it is switched off');
	$leader->thaw;
}

# --- a walsender that hangs costs one wait ---

{
	my $leader = $cluster->wait_for_leader;

	set_wait(2000);
	wait_until_sent();
	$leader->freeze_senders;
	my $offset = $leader->log_size;
	my $first_ms = time_of($leader, insert());
	my $second_ms = time_of($leader, insert());
	cmp_ok($first_ms, '>=', 2000, 'the first commit waits as long as the setting says');
	cmp_ok($second_ms, '<', 2000, 'the next one does not wait');
	my @said = $leader->log_text($offset) =~ /the WAL of a commit was not sent to a standby within 2000 ms/g;
	is(scalar @said, 1, 'the log says so, once');
	measured(sprintf('walsender frozen: first commit %.0f ms, second %.0f ms', $first_ms, $second_ms));
	$leader->thaw;
	wait_until_sent();
	$leader->freeze_senders;
	cmp_ok(time_of($leader, insert()), '>=', 2000, 'when the walsender has caught up, commits wait for it again');
	$leader->thaw;
}

# --- without a standby ---

{
	my $leader = $cluster->wait_for_leader;
	my ($standby) = $cluster->standbys;

	set_wait(10_000);
	wait_until_sent();
	my $writer = $cluster->writer(nodes => [$leader], any => 1, patience_ms => 0);
	$writer->wait_for_more;
	my $begin_us = PatroniCluster::now_us();
	$standby->stop;
	$leader->wait_for_sql('SELECT count(*) = 0 FROM pg_stat_replication');
	$writer->wait_for_more;
	$writer->stop;
	my $longest_ms = $writer->longest_gap($begin_us);
	cmp_ok($longest_ms, '<', 8000, 'nobody waits for a walsender that has ended');
	measured(sprintf('longest time without an acknowledgement while the last standby stops: %.0f ms', $longest_ms));

	# a receiver replays nothing: it could not replace this primary
	my $directory = PatroniCluster::make_directory("$cluster->{base}/received");
	local $ENV{PGPASSWORD} = $leader->{passwords}{replication};
	$cluster->run_beside('receiver', [ 'pg_receivewal', '-D', $directory, '-d',
			"host=$leader->{host} port=$leader->{port} user=replicator" ]);
	$leader->wait_for_sql("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'");
	$leader->sql(insert());
	$leader->freeze_senders;
	cmp_ok(time_of($leader, insert()), '<', 5000, 'nor for pg_receivewal');
	$leader->thaw;
	$cluster->stop_beside('receiver');
	$standby->start;
	$cluster->wait_until_streaming;
}

# --- a host whose walsenders stop first, as chance has it ---

sub lost_by_a_frozen_host
{
	my ($ms) = @_;
	my $old = $cluster->wait_for_leader;
	my $writer = $cluster->writer(nodes => [$old], any => 1, patience_ms => 0, interval_ms => 1);

	set_wait($ms);
	wait_until_sent();
	$writer->wait_for_more;
	$old->freeze_senders;
	usleep(50_000);
	$old->freeze('all');
	my $new = $cluster->wait_for_leader(not => $old);
	$old->thaw;
	$cluster->wait_until_streaming;
	$writer->stop;
	return scalar $cluster->missing_acks($writer->acks);
}

cmp_ok(lost_by_a_frozen_host(0), '>', 0, 'without the wait, acknowledged writes of a host that stands still are lost');
is(lost_by_a_frozen_host(10_000), 0, 'with it, none');

done_testing;
