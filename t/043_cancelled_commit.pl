# A commit whose wait for a synchronous standby was cut off is never called
# committed, and one that waited to the end, or did not have to, always is.

use strict;
use warnings;

use IPC::Run;
use Time::HiRes qw(usleep);

use LeasePage;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $unknown = qr/FATAL:  (08007: )?the wait for a synchronous standby was cut off, the outcome of the transaction is not known/;

lease('create');
lease('never');

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'patroni_bgw'
patroni.lease_page = '$lease_page'
max_prepared_transactions = 20
autovacuum = off
log_statement = none
});
$node->start;
my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', "patroni.lease_page = ''");
$standby->start;
$node->safe_psql('postgres', q{
CREATE TABLE t (what text);
CREATE UNLOGGED TABLE unlogged (what text);
CREATE TABLE burst (client int, number int);
CREATE PROCEDURE insert_twice(what text) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t VALUES (what || ' first');
	COMMIT;
	INSERT INTO t VALUES (what || ' second');
END $$;
});

sub set_option
{
	my ($name, $value) = @_;

	$node->append_conf('postgresql.conf', "$name = '$value'");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT setting = '$value' FROM pg_settings WHERE name = '$name'")
	  or die "$name was not taken over";
	# the checkpointer tells the sessions
	$node->safe_psql('postgres', 'CHECKPOINT') if $name eq 'synchronous_standby_names' && $value ne '';
}

sub rows { my ($what) = @_; return $node->safe_psql('postgres', "SELECT count(*) FROM t WHERE what = '$what'"); }

# A client that waits for a standby which is not there; its process id too.
sub waiting_client
{
	my ($sql, %option) = @_;
	my %client = (out => '', err => '');

	$client{psql} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres') . ' application_name=waits',
			map { ('-c', $_) } ref $sql ? @$sql : $sql ], '>', \$client{out}, '2>', \$client{err});
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waits' AND wait_event = 'SyncRep'")
	  or die 'no session waits';
	$client{pid} = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'waits'");
	return \%client;
}

# --- cut off ---

sub is_not_acknowledged
{
	my ($name, $sql, $how) = @_;
	my $before = lease_counter('withheld_acks');
	my $log_offset = -s $node->logfile;
	my $client = waiting_client($sql);

	$node->safe_psql('postgres', "SELECT $how($client->{pid})");
	$client->{psql}->finish;
	is($client->{out}, '', "$name: the client is not told that it is committed");
	isnt($client->{psql}->result(0), 0, "$name: it is an error");
	like($client->{err}, $unknown, "$name: the client hears that the outcome is not known");
	like($client->{err}, qr/FATAL:  08007:.*DETAIL:  The transaction is committed on this server.*HINT:  Connect again/s,
		"$name: with SQLSTATE, detail and hint");
	like($client->{err}, qr/connection/, "$name: the session ends");
	is(lease_counter('withheld_acks'), $before + 1, "$name: it is counted");
	$node->wait_for_log(qr/LOG:  withheld the acknowledgement of a commit: its wait for a synchronous standby was cut off/,
		$log_offset);
	unlike(slurp_file($node->logfile, $log_offset), qr/PANIC|backend>/, "$name: nothing else happens");
}

set_option('synchronous_standby_names', 'nobody');
for my $how ('pg_cancel_backend', 'pg_terminate_backend')
{
	is_not_acknowledged("a statement, $how", "INSERT INTO t VALUES ('one $how') RETURNING 'told'", $how);
	is_not_acknowledged("a COMMIT, $how", [ 'BEGIN', "INSERT INTO t VALUES ('two $how')", 'COMMIT' ], $how);
	is_not_acknowledged("statements after a commit, $how", "INSERT INTO t VALUES ('three $how'); COMMIT; SELECT 'told'", $how);
	is_not_acknowledged("a procedure, $how", "CALL insert_twice('four $how')", $how);
	is_not_acknowledged("DDL, $how", "CREATE TABLE five_$how ()", $how);
	is_not_acknowledged("PREPARE TRANSACTION, $how",
		"BEGIN; INSERT INTO t VALUES ('six $how'); PREPARE TRANSACTION 'six $how'", $how);
	is_not_acknowledged("COMMIT PREPARED, $how", "COMMIT PREPARED 'six $how'", $how);
	is(rows("$_"), 1, "$_: it is committed all the same") for "one $how", "two $how", "three $how", "four $how first", "six $how";
	is(rows("four $how second"), 0, 'a procedure does not go on');
	is_not_acknowledged("PREPARE TRANSACTION again, $how",
		"BEGIN; INSERT INTO t VALUES ('seven $how'); PREPARE TRANSACTION 'seven $how'", $how);
	is_not_acknowledged("ROLLBACK PREPARED, $how", "ROLLBACK PREPARED 'seven $how'", $how);
	is_not_acknowledged("remote_write, $how",
		[ 'SET synchronous_commit = remote_write', "INSERT INTO t VALUES ('eight $how')" ], $how);
	is_not_acknowledged("remote_apply, $how",
		[ 'SET synchronous_commit = remote_apply', "INSERT INTO t VALUES ('nine $how')" ], $how);
}

# the extended protocol, whose "INSERT 0 1" is on its way before the commit
{
	my $out = '';
	my $burst = IPC::Run::start([ $commit_burst, $node->connstr('postgres') . ' application_name=waits',
			'burst', 1, 'extended', 30 ], '>', \$out, '2>', \my $err);

	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waits' AND wait_event = 'SyncRep'") or die;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits'");
	$burst->finish;
	like($out, qr/^acked=0 .* end=lost/, 'the extended protocol: not acknowledged');
}

# a subscriber: its worker ends, and begins again behind the change that is here
{
	my $before = lease_counter('withheld_acks');
	my $apply = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'logical replication worker' AND wait_event = 'SyncRep'";

	set_option('synchronous_standby_names', '');
	$publisher->safe_psql('postgres', 'CREATE TABLE r (i int); CREATE PUBLICATION p FOR TABLE r');
	$node->safe_psql('postgres', 'CREATE TABLE r (i int); CREATE SUBSCRIPTION s CONNECTION '
		  . "'" . $publisher->connstr . " dbname=postgres' PUBLICATION p WITH (synchronous_commit = on)");
	$node->wait_for_subscription_sync($publisher, 's');
	set_option('synchronous_standby_names', 'nobody');
	$publisher->safe_psql('postgres', 'INSERT INTO r VALUES (1)');
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($apply) w") or die 'the subscriber does not wait';
	my $log_offset = -s $node->logfile;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM ($apply) w");
	$node->wait_for_log(qr/LOG:  withheld the acknowledgement of a commit: its wait for a synchronous standby was cut off/, $log_offset);
	ok(1, 'the worker of a subscription whose wait was cut off ends');
	is(lease_counter('withheld_acks'), $before + 1, 'and is counted');
	set_option('synchronous_standby_names', '');
	$publisher->safe_psql('postgres', 'INSERT INTO r VALUES (2)');
	ok($node->poll_query_until('postgres', "SELECT array_agg(i ORDER BY i) = '{1,2}' FROM r"), 'it goes on, with each change once');
	$node->safe_psql('postgres', 'DROP SUBSCRIPTION s');
	set_option('synchronous_standby_names', 'nobody');
}

# a signal from outside the server
{
	my $client = waiting_client([ 'BEGIN', "INSERT INTO t VALUES ('timeout')", 'COMMIT' ]);

	kill 'INT', $client->{pid};
	$client->{psql}->finish;
	like($client->{err}, $unknown, 'a signal: the client hears that the outcome is not known');
}

# --- nothing to wait for ---

sub is_acknowledged
{
	my ($name, @sql) = @_;
	my $before = lease_counter('withheld_acks');
	my ($status, $out, $err) = $node->psql('postgres', undef, timeout => 20,
		extra_params => [ map { ('-c', $_) } @sql, 'SELECT 1' ]);

	is($status, 0, "$name is acknowledged");
	is(lease_counter('withheld_acks'), $before, "$name is not counted");
}

is_acknowledged('a temporary table', 'SET synchronous_commit = off', 'CREATE TEMP TABLE x (i int)',
	'SET synchronous_commit = on', 'INSERT INTO x VALUES (1)');
# a session's first look at the catalog may clean it up, which is worth waiting for
my @warm_up = ('SET synchronous_commit = off', "INSERT INTO unlogged VALUES ('x')", 'NOTIFY x', 'SET synchronous_commit = on');
is_acknowledged('an unlogged table', @warm_up, "INSERT INTO unlogged VALUES ('x')");
is_acknowledged('a transaction id', 'SELECT pg_current_xact_id()');
is_acknowledged('NOTIFY', @warm_up, 'NOTIFY x');
is_acknowledged('synchronous_commit = local', 'SET synchronous_commit = local', "INSERT INTO t VALUES ('local')");
is_acknowledged('synchronous_commit = off', 'SET synchronous_commit = off', "INSERT INTO t VALUES ('off')");
is_acknowledged('a transaction with synchronous_commit = off',
	"BEGIN; SET LOCAL synchronous_commit = off; INSERT INTO t VALUES ('off')", 'COMMIT');

{
	my $before = lease_counter('withheld_acks');
	my $client = waiting_client("INSERT INTO t VALUES ('waited') RETURNING 'told'");

	set_option('synchronous_standby_names', '');
	$client->{psql}->finish;
	is($client->{out}, "told\n", 'a commit whose standbys are no longer wanted is acknowledged');
	is(lease_counter('withheld_acks'), $before, 'and not counted');
}

# --- a standby that is there ---

set_option('synchronous_standby_names', 'standby');
{
	my $before = lease_counter('withheld_acks');
	my (@clients, @out);

	for my $i (0 .. 2)
	{
		push @clients, IPC::Run::start([ $commit_burst, $node->connstr('postgres'), 'burst', 10 + $i,
				qw(simple extended explicit)[$i], 3 ], '>', \$out[$i]);
	}
	for my $i (1 .. 40)
	{
		$node->safe_psql('postgres', "BEGIN; INSERT INTO t VALUES ('busy'); PREPARE TRANSACTION 'busy $i'");
		$node->safe_psql('postgres', ($i % 2 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'busy $i'");
	}
	$_->finish for @clients;
	like($out[$_], qr/end=time/, "client $_ is told of every commit") for 0 .. 2;
	is(lease_counter('withheld_acks'), $before, 'nothing is withheld while the standby answers');
	is(rows('busy'), 20, 'all prepared transactions came to their end');
}

# --- patroni.defer_cancel ---

set_option('patroni.defer_cancel', 'on');
set_option('synchronous_standby_names', 'nobody');
for my $how ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $before = lease_counter('withheld_acks');
	my $client = waiting_client([ "INSERT INTO t VALUES ('deferred $how') RETURNING 'told'", 'SELECT 2' ]);

	$node->safe_psql('postgres', "SELECT $how($client->{pid})") for 1 .. 3;
	usleep(300_000);
	is($node->safe_psql('postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $client->{pid}"), 'SyncRep',
		"deferred $how: the commit goes on to wait");
	set_option('synchronous_standby_names', '');
	$client->{psql}->finish;
	like($client->{out}, qr/^told\n/, "deferred $how: the client is told when the wait is over");
	like($client->{err}, qr/FATAL:  57P01/, "deferred $how: and the session ends then") if $how =~ /terminate/;
	is($client->{out}, "told\n2\n", "deferred $how: the session goes on, its statement had come to its end")
	  if $how =~ /cancel/;
	is(lease_counter('withheld_acks'), $before, "deferred $how: nothing is withheld");
	set_option('synchronous_standby_names', 'nobody');
}

# what is not a commit can be cancelled as ever
{
	my ($out, $err) = ('', '');
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=sleeps',
			'-c', 'SET synchronous_commit = local; CREATE TABLE sleeps ()', '-c', 'SELECT pg_sleep(60)' ],
		'>', \$out, '2>', \$err);

	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity"
		  . " WHERE application_name = 'sleeps' AND wait_event = 'PgSleep'") or die;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'sleeps'");
	$psql->finish;
	like($err, qr/canceling statement due to user request/, 'a session that waits for nothing is cancelled');
}

# a shutdown does not wait for ever, also when its signal comes while another one is
# pending: the kernel delivers one of them, as the other one's
{
	my $client = waiting_client("INSERT INTO t VALUES ('shut down') RETURNING 'told'");

	kill 'STOP', $client->{pid};
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($client->{pid})");
	system('pg_ctl', '-D', $node->data_dir, '-m', 'fast', '-s', '-W', 'stop');
	for (1 .. 1000)
	{
		last if slurp_file($node->data_dir . '/postmaster.pid') =~ /^stopping/m;
		usleep(10_000);
	}
	usleep(100_000);
	kill 'CONT', $client->{pid};
	for (1 .. 3000)
	{
		last if !-e $node->data_dir . '/postmaster.pid';
		usleep(10_000);
	}
	ok(!-e $node->data_dir . '/postmaster.pid', 'a fast shutdown ends a commit that waits')
	  or $node->stop('immediate');
	$client->{psql}->finish;
	is($client->{out}, '', 'whose client is not told that it is committed');
	$node->_update_pid(0);
}

$standby->stop;
$publisher->stop;
done_testing();
