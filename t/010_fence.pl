# No write is acknowledged after the deadline in the lease page, reading goes
# on, and clients that look for a server that takes writes move on.
# run alone

use strict;
use warnings;

use IO::Socket::UNIX;
use IPC::Run;
use Time::HiRes qw(usleep);

use LeasePage;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# How long after the deadline a client may notice an answer that was sent
# before it: the client has to be scheduled, on a busy machine.
use constant SLACK_US => 100_000;

my $over = qr/cannot \w.*: this node's leader lease is over/;
my $lost = qr/server closed the connection unexpectedly|connection to server was lost/;

# --- the servers ---

my $node = PostgreSQL::Test::Cluster->new('fenced');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'patroni_bgw'
patroni.lease_page = '$lease_page'
max_prepared_transactions = 10
autovacuum = off
log_statement = none
});

is($node->start(fail_ok => 1), 0, 'a server that cannot be fenced does not start');
like(slurp_file($node->logfile), qr/FATAL:  could not open lease page "\Q$lease_page\E"/, 'and says so');

lease('create');
lease('never');
$node->start;

my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(allows_streaming => 'logical');
$other->start;

$node->safe_psql('postgres', q{
CREATE EXTENSION patroni_bgw;
CREATE TABLE t (what text);
CREATE TABLE burst (client int, number int);
CREATE SEQUENCE s;
CREATE PROCEDURE insert_and_commit(what text, close_with text) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t VALUES (what);
	COMMIT;
	EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', close_with);
END $$;
CREATE PROCEDURE insert_twice(what text, close_with text) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t VALUES (what || ' first');
	COMMIT;
	EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', close_with);
	INSERT INTO t VALUES (what || ' second');
	COMMIT;
END $$;
});
is($node->safe_psql('postgres', 'SELECT is_managed, is_open, deadline IS NULL FROM patroni.lease'),
	't|t|t', 'a deadline of never leaves the fence open');

my $close = "$lease_tool $lease_page close";

sub rows
{
	my ($what) = @_;

	return $node->safe_psql('postgres', "SELECT count(*) FROM t WHERE what = '$what'");
}

# --- refused before the commit ---

sub is_refused
{
	my ($name, $sql) = @_;
	my $before = lease_counter('refused_commits');
	my ($status, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	like($stderr, $over, "$name is refused");
	like($stderr, qr/ERROR:  25006:/, "$name: the SQLSTATE says read-only");
	is(lease_counter('refused_commits'), $before + 1, "$name is counted");
}

$node->safe_psql('postgres', "BEGIN; INSERT INTO t VALUES ('prepared'); PREPARE TRANSACTION 'before'");
lease('close');
is_refused('a single statement', "INSERT INTO t VALUES ('refused')");
is_refused('an explicit transaction', "BEGIN; INSERT INTO t VALUES ('refused');\nCOMMIT;");
is_refused('a prepare', "BEGIN; INSERT INTO t VALUES ('refused'); PREPARE TRANSACTION 'p';");
is_refused('a commit prepared', "COMMIT PREPARED 'before';");
is_refused('a rollback prepared', "ROLLBACK PREPARED 'before';");
is_refused('a procedure with a commit', "CALL insert_and_commit('refused', 'true');");
is_refused('COPY', "COPY t FROM STDIN;\nrefused\n\\.\n");
is_refused('DDL', 'CREATE TABLE refused (i int);');
is_refused('CREATE INDEX CONCURRENTLY', 'CREATE INDEX CONCURRENTLY refused ON t (what);');
is_refused('CREATE DATABASE', 'CREATE DATABASE refused;');
is_refused('NOTIFY', 'NOTIFY refused;');
is_refused('a temporary table', 'CREATE TEMP TABLE refused (i int);');
is_refused('a row lock', "INSERT INTO t SELECT 'refused' FROM generate_series(1, 3);");
is_refused('a sequence', "SELECT nextval('s'), setval('s', 5);");
is(rows('refused'), 0, 'nothing refused is there');

my ($status, $stdout, $stderr) =
  $node->psql('postgres', "INSERT INTO t VALUES ('refused');", extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($stderr, qr/DETAIL:  This node does not hold the leader lease\./, 'a closed page is told');
lease('open_for', -5000);
($status, $stdout, $stderr) = $node->psql('postgres', "INSERT INTO t VALUES ('refused');");
like($stderr, qr/DETAIL:  The lease ended 5\.\d+ seconds ago\./, 'a lease that is over is told');
like($stderr, qr/HINT:  Connect to the current primary/, 'and what to do');

is($node->safe_psql('postgres', 'BEGIN; SELECT count(*) > 0 FROM pg_class; COMMIT;'), 't', 'reading goes on');
is($node->safe_psql('postgres', "BEGIN; INSERT INTO t VALUES ('x'); ROLLBACK; SELECT 1"), '1',
	'a transaction that is rolled back is not refused');

lease('never');
is($node->safe_psql('postgres', "COMMIT PREPARED 'before'; SELECT count(*) FROM t WHERE what = 'prepared'"),
	'1', 'with a new lease the prepared transaction can be committed');
($status, $stdout, $stderr) = $node->psql('postgres',
	"BEGIN;\nINSERT INTO t VALUES ('refused');\n\\! $close\nCOMMIT;");
like($stderr, $over, 'a lease that ends inside a transaction refuses its commit');
is(rows('refused'), 0, 'and nothing is there');

# --- withheld after the commit ---

sub is_withheld
{
	my ($name, $sql) = @_;
	my $before = lease_counter('withheld_acks');
	my $log_offset = -s $node->logfile;

	lease('never');
	($status, $stdout, $stderr) = $node->psql('postgres', undef, extra_params => [ '-c', $sql ]);
	lease('never');
	is($stdout, '', "$name: the client hears nothing");
	like($stderr, $lost, "$name: the client loses the connection");
	is(lease_counter('withheld_acks'), $before + 1, "$name is counted");
	$node->wait_for_log(qr/LOG:  withheld the acknowledgement of a commit/, $log_offset);
	unlike(slurp_file($node->logfile, $log_offset), qr/backend>/, "$name: the server reads no commands from its own input");
}

# The server itself closes the fence, after the commit and before the answer.
is_withheld('a commit before other statements',
	"INSERT INTO t VALUES ('withheld 1'); COMMIT; COPY (SELECT 1) TO PROGRAM '$close'");
is(rows('withheld 1'), 1, 'it is committed all the same');
is_withheld('a procedure with a commit', "CALL insert_and_commit('withheld 2', '$close')");
is(rows('withheld 2'), 1, 'it is committed all the same');

# A procedure that goes on to commit again gets a clean refusal, which says
# nothing of its first commit but must not leave either.
is_withheld('a procedure with two commits', "CALL insert_twice('withheld 3', '$close')");
is(rows('withheld 3 first') . rows('withheld 3 second'), '10', 'its first commit is there, its second is not');

# --- withheld while it waits for a synchronous standby ---

# Only this can be seen from outside between the commit record and the answer.
sub set_standby
{
	my ($names) = @_;

	$node->append_conf('postgresql.conf', "synchronous_standby_names = '$names'");
	$node->reload;
	$node->poll_query_until('postgres',
		"SELECT setting = '$names' FROM pg_settings WHERE name = 'synchronous_standby_names'")
	  or die 'synchronous_standby_names was not taken over';
}

sub is_withheld_in_wait
{
	my ($name, $sql, $is_stopped) = @_;
	my $before = lease_counter('withheld_acks');
	my ($out, $err) = ('', '');

	lease('never');
	set_standby('nobody');
	my $client = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql ], '>', \$out, '2>', \$err);
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	  or die 'no session waits';
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'");

	kill 'STOP', $pid if $is_stopped;
	lease('open_for', 0);
	set_standby('');
	kill 'CONT', $pid if $is_stopped;
	$client->finish;
	is($out, '', "$name: the client hears nothing");
	like($err, $lost, "$name: the client loses the connection");
	is(lease_counter('withheld_acks'), $before + 1, "$name is counted");
	lease('never');
}

is_withheld_in_wait('a commit', "INSERT INTO t VALUES ('waited 1') RETURNING what");
is(rows('waited 1'), 1, 'it is committed all the same');
is_withheld_in_wait('a stopped commit', "INSERT INTO t VALUES ('waited 2')", 1);
is_withheld_in_wait('a prepare', "BEGIN; INSERT INTO t VALUES ('waited 3'); PREPARE TRANSACTION 'waited'");
is_withheld_in_wait('a commit prepared', "COMMIT PREPARED 'waited'");
is(rows('waited 3'), 1, 'it is committed all the same');
is_withheld_in_wait('DDL', 'CREATE TABLE waited (i int)');

# --- withheld from a client that does not read ---

sub packet
{
	my ($type, $text) = @_;

	return $type . pack('N', length($text) + 4) . $text;
}

sub read_rest
{
	my ($socket) = @_;
	my $all = '';

	while (sysread($socket, my $part, 65536)) { $all .= $part; }
	return $all;
}

my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die $!;
my $user = getpwuid($<);
syswrite($socket, packet('', pack('N', 196608) . "user\0$user\0database\0postgres\0application_name\0deaf\0\0"));
my $heard = '';
sysread($socket, $heard, 65536, length $heard) until $heard =~ /Z\0\0\0\x05I$/;
syswrite($socket, packet('Q',
	"INSERT INTO t VALUES ('deaf'); COMMIT; SELECT repeat('x', 1000) FROM generate_series(1, 100000)\0"));
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'deaf' AND wait_event = 'ClientWrite'")
  or die 'the session does not wait for its client';
lease('open_for', 300);
ok($node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'deaf'"),
	'a session whose client does not read ends at the deadline')
  or $node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'deaf'");
unlike(read_rest($socket), qr/Z\0\0\0\x05I$/, 'its client is not told that the session is ready');
lease('never');

# --- a burst of commits across the deadline ---

sub burst
{
	my ($name, $mode, $is_stopped) = @_;
	my (@clients, @outputs);

	$node->safe_psql('postgres', 'TRUNCATE burst');
	for my $i (0 .. 3)
	{
		$outputs[$i] = '';
		push @clients, IPC::Run::start(
			[ $commit_burst, $node->connstr('postgres') . ' application_name=burst',
				'burst', $i, $mode, 60 ], '>', \$outputs[$i]);
	}
	$node->poll_query_until('postgres', 'SELECT count(DISTINCT client) = 4 FROM burst') or die 'no burst';
	my @pids = split /\n/,
	  $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'burst'");
	my $deadline_us = lease('open_for', 700);
	if ($is_stopped)
	{
		# Stop and wake them all the time, so that some are stopped anywhere.
		for (1 .. 80)
		{
			kill 'STOP', @pids;
			usleep(8_000);
			kill 'CONT', @pids;
			usleep(1_000 + rand 2_000);
		}
	}
	$_->finish for @clients;

	my $late_us = 0;
	my $n_acked = 0;
	for my $i (0 .. 3)
	{
		my ($acked, $last, $end) = $outputs[$i] =~ /^acked=(\d+) last_ack_us=(\d+) end=(\w+)/ or die $outputs[$i];
		my $there = $node->safe_psql('postgres', "SELECT count(*) FROM burst WHERE client = $i");

		$n_acked += $acked;
		$late_us = $last - $deadline_us if $last - $deadline_us > $late_us;
		isnt($end, 'time', "$name, client $i: the deadline ends it");
		ok($there == $acked || ($there == $acked + 1 && $end eq 'lost'),
			"$name, client $i: it was told the truth") or diag("$outputs[$i] rows=$there");
	}
	cmp_ok($late_us, '<=', SLACK_US, "$name: no acknowledgement after the deadline");
	note("$name: $n_acked acknowledged, the last $late_us us after the deadline");
	lease('never');
}

burst('simple protocol', 'simple');
burst('extended protocol', 'extended');
burst('explicit transactions', 'explicit');
burst('stopped sessions', 'simple', 1);

# --- clients that look for another server ---

my $hosts = 'host=' . $node->host . ',' . $other->host . ' port=' . $node->port . ',' . $other->port . ' dbname=postgres';

sub connects_to
{
	my ($attributes) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'psql', '-XAtq', '-d', "$hosts target_session_attrs=$attributes",
			'-c', 'SHOW port' ], '>', \$out, '2>', \$err);
	chomp $out;
	return $out;
}

is(connects_to('read-write'), $node->port, 'with the lease, the first host takes clients that write');

# This session is opened while the fence is closed and outlives that.
lease('close');
my ($in, $out) = ('', '');
my $session = IPC::Run::start([ 'psql', '-XAt', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1');
$in = "SHOW transaction_read_only;\n";
$session->pump until $out =~ /\n/;
is($out, "on\n", 'without it, a session says that it is read-only');
is(connects_to('read-write'), $other->port, 'clients that write move on');
is(connects_to('any'), $node->port, 'others need not');
($status) = IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' replication=1', '-c', 'IDENTIFY_SYSTEM' ],
	'>', \my $system);
ok($status, 'replication connections are not touched');

lease('never');
$out = '';
$in = "SHOW transaction_read_only; SHOW default_transaction_read_only; INSERT INTO t VALUES ('pooled');\n";
$session->pump until $out =~ /INSERT|ERROR/;
is($out, "off\noff\nINSERT 0 1\n", 'a session from before the new lease can write with it');
$in = "\\q\n";
$session->finish;

# --- logical replication confirms nothing that was refused ---

$other->safe_psql('postgres', 'CREATE TABLE r (i int); CREATE PUBLICATION p FOR TABLE r');
$node->safe_psql('postgres', 'CREATE TABLE r (i int); CREATE SUBSCRIPTION s CONNECTION '
	  . "'" . $other->connstr . " dbname=postgres' PUBLICATION p WITH (synchronous_commit = on)");
$node->wait_for_subscription_sync($other, 's');
my $log_offset = -s $node->logfile;
lease('close');
$other->safe_psql('postgres', 'INSERT INTO r VALUES (1)');
$node->wait_for_log($over, $log_offset);
is($node->safe_psql('postgres', 'SELECT count(*) FROM r'), '0', 'a subscriber refuses to apply without its lease');
lease('never');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM r'), 'and applies it with a new one');

# What is committed but may not be told ends the worker before it confirms.
my $withheld = lease_counter('withheld_acks');
set_standby('nobody');
$other->safe_psql('postgres', 'INSERT INTO r VALUES (2)');
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity"
	  . " WHERE backend_type = 'logical replication worker' AND wait_event = 'SyncRep'")
  or die 'the subscriber does not wait';
$log_offset = -s $node->logfile;
lease('close');
set_standby('');
$node->wait_for_log(qr/LOG:  withheld the acknowledgement of a commit/, $log_offset);
is(lease_counter('withheld_acks'), $withheld + 1, 'a subscriber does not confirm a commit after the deadline');
lease('never');
$other->safe_psql('postgres', 'INSERT INTO r VALUES (3)');
ok($node->poll_query_until('postgres', "SELECT array_agg(i ORDER BY i) = '{1,2,3}' FROM r"),
	'with a new lease it goes on, with each change once');
$node->safe_psql('postgres', 'DROP SUBSCRIPTION s');

# --- switched off ---

lease('close');
$node->append_conf('postgresql.conf', 'patroni.fence = off');
$node->reload;
ok($node->poll_query_until('postgres', 'SELECT NOT is_enabled AND NOT is_open FROM patroni.lease'),
	'the fence can be switched off');
$node->safe_psql('postgres', "INSERT INTO t VALUES ('unfenced')");
is(rows('unfenced'), 1, 'and then takes writes');

$node->stop;
$other->stop;
done_testing();
