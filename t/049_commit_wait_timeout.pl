# With patroni.commit_wait_timeout, writing transactions are refused before they
# start once synchronous standbys have been missing for that long; without it,
# and for sessions that do not wait for standbys, nothing changes.

use strict;
use warnings;

use PatroniCluster;
use IPC::Run;
use Test::More;
use Time::HiRes qw(usleep);

my $cluster = PatroniCluster->new('timeout', members => 2, parameters => { synchronous_standby_names => '1 (node1, node2)' });
$cluster->start;
my $leader = $cluster->wait_for_leader;
my ($standby) = $cluster->standbys;
$leader->sql('CREATE EXTENSION IF NOT EXISTS patroni_bgw; CREATE TABLE t (what text); CREATE PROCEDURE write(what text) LANGUAGE sql'
	  . ' AS $$ INSERT INTO t VALUES (what) $$');

my $refused = qr/ERROR:  55000: cannot write: there is no synchronous standby that would confirm it\n.*?DETAIL:  Too few of the standbys in "synchronous_standby_names" have been connected for \d+\.\d+ seconds; "patroni.commit_wait_timeout" is 700 ms\.\nHINT:  Try again when a standby is back/s;

sub set_timeout
{
	my ($ms) = @_;

	$leader->sql("ALTER SYSTEM SET patroni.commit_wait_timeout = '$ms'");
	$leader->sql('SELECT pg_reload_conf()');
}

sub background
{
	my ($name, $sql) = @_;
	my %client = (out => '', err => '', in => '');

	$client{psql} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d',
			"host=$cluster->{sockets} port=$leader->{port} user=postgres dbname=postgres application_name=$name" ],
		'<', \$client{in}, '>', \$client{out}, '2>', \$client{err});
	$client{in} = "$sql\n";
	$client{psql}->pump;
	return \%client;
}

sub waits { my ($name) = @_; return "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = '$name' AND wait_event = 'SyncRep'"; }

# --- off ---

$standby->freeze('all');
$leader->sql('SELECT pg_terminate_backend(pid) FROM pg_stat_replication');
$leader->wait_for_sql('SELECT count(*) = 0 FROM pg_stat_replication');
usleep(1_500_000);
my $hangs = background('hangs', "INSERT INTO t VALUES ('hangs') RETURNING 'done';");
$leader->wait_for_sql(waits('hangs'));
ok(1, 'without the setting a commit waits, for however long');

# --- on ---

my $early = background('early', "BEGIN; INSERT INTO t VALUES ('early');");
$leader->wait_for_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'early' AND state = 'idle in transaction'");
set_timeout(700);

sub is_refused
{
	my ($name, $sql) = @_;
	my ($status, $out, $err) = $leader->try_sql($sql, timeout => 10);

	isnt($status, 0, "$name is refused");
	like($err, $refused, "$name: the error says why");
}

is_refused('INSERT', "INSERT INTO t VALUES ('x')");
is_refused('UPDATE in a transaction', "BEGIN; UPDATE t SET what = 'x'; COMMIT");
is_refused('a WITH query', "WITH x AS (INSERT INTO t VALUES ('x') RETURNING what) SELECT * FROM x");
is_refused('SELECT FOR UPDATE', 'SELECT * FROM t FOR UPDATE');
is_refused('a procedure', "CALL write('x')");
is_refused('COPY', "COPY t FROM STDIN;\nx\n\\.\n");
is_refused('DDL', 'CREATE TABLE x ()');
is_refused('TRUNCATE', 'TRUNCATE t');

sub is_done
{
	my ($name, $sql) = @_;
	my ($status, $out, $err) = $leader->try_sql($sql, timeout => 10);

	is($status, 0, "$name is done") or diag($err);
}

is_done('reading', 'SELECT count(*) FROM t');
is_done('EXPLAIN', "EXPLAIN INSERT INTO t VALUES ('x')");
is_done('a session that does not wait', "SET synchronous_commit = local; CREATE TEMP TABLE x (i int); INSERT INTO x VALUES (1); INSERT INTO t VALUES ('local')");
$early->{in} .= "COMMIT;\n\\q\n";
$early->{psql}->finish;
like($early->{err}, qr/ERROR:  55000: cannot commit: there is no synchronous standby/, 'a transaction that had begun is refused at its commit');
is($leader->sql("SELECT count(*) FROM t WHERE what IN ('x', 'early')"), '0', 'nothing refused is there');
$leader->wait_for_sql(waits('hangs'));
ok(1, 'a commit that waited before goes on to wait');

# --- a standby is back ---

$standby->thaw;
$cluster->wait_until_streaming;
$hangs->{in} .= "\\q\n";
$hangs->{psql}->finish;
is($hangs->{out}, "done\n", 'it is confirmed when the standby is back');
my $begin_us = PatroniCluster::now_us();
$cluster->wait_for('writes are taken again', sub { ($leader->try_sql("INSERT INTO t VALUES ('again')", timeout => 10))[0] == 0 });
cmp_ok(PatroniCluster::now_us() - $begin_us, '<', 1e6, 'and writes are taken at once');

# --- the time counts ---

set_timeout('60s');
$standby->freeze('all');
$leader->sql('SELECT pg_terminate_backend(pid) FROM pg_stat_replication');
$leader->wait_for_sql('SELECT count(*) = 0 FROM pg_stat_replication');
my $waits = background('waits', "INSERT INTO t VALUES ('waits') RETURNING 'done';");
$leader->wait_for_sql(waits('waits'));
ok(1, 'before the time is over commits wait');
$standby->thaw;
$cluster->wait_until_streaming;
$waits->{in} .= "\\q\n";
$waits->{psql}->finish;
is($waits->{out}, "done\n", 'and are confirmed');

done_testing();
