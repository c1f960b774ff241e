# After a crash of a primary in synchronous mode no client sees a commit that a
# failover could lose: clients are turned away until the standbys have what was
# recovered, or until the sync key lets nobody else lead.

use strict;
use warnings;

use PatroniCluster;
use IPC::Run;
use Test::More;
use Time::HiRes qw(usleep);

my $cluster = PatroniCluster->new('exposure', parameters => { max_connections => 50 },
	dcs => { ttl => 5, loop_wait => 1, retry_timeout => 1, synchronous_mode => JSON::PP::true,
		synchronous_mode_strict => JSON::PP::true });
$cluster->start;
$cluster->wait_until_synchronous;
$cluster->create_writes_table;
$cluster->wait_for_leader->sql('CREATE ROLE reader LOGIN; GRANT SELECT, INSERT ON writes TO reader');

my $turned_away = qr/FATAL:  this server has been restarted and waits for its synchronous standbys/;

# Through the Unix socket, as a user who may not see it.
sub try_read
{
	my ($node, %option) = @_;

	local $ENV{PGAPPNAME} = $option{application_name} // 'reader';
	return $node->try_sql($option{sql} // 'SELECT count(*) FROM writes WHERE id = 1', user => $option{user} // 'reader', timeout => 5);
}

# A commit that no standby has, and a server that crashes while it waits.
sub crash_while_waiting
{
	my ($leader, $part, $id) = @_;
	my ($out, $err) = ('', '');

	$cluster->wait_until_streaming;
	$cluster->wait_until_synchronous;
	$_->freeze('all') for $cluster->standbys_of($leader);
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d',
			"host=$cluster->{sockets} port=$leader->{port} user=reader dbname=postgres application_name=waits",
			'-c', "INSERT INTO writes VALUES ($id, $id)" ], '>', \$out, '2>', \$err);
	$leader->wait_for_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waits' AND wait_event = 'SyncRep'");
	is($leader->sql("SELECT count(*) FROM writes WHERE id = $id"), '0', "$part: a commit that waits is not seen");
	my $offset = $leader->log_size;
	if ($part eq 'postmaster')
	{
		kill 'KILL', $leader->postmaster_pid;
	}
	else
	{
		kill 'KILL', $leader->sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'waits'");
	}
	$psql->finish;
	isnt($psql->result(0), 0, "$part: its client is not told that it is committed");
	return $offset;
}

# --- a crash, and standbys that come back ---

for my $part ('backend', 'postmaster')
{
	my $leader = $cluster->wait_for_leader;
	my $id = $part eq 'backend' ? 1 : 2;
	my $offset = crash_while_waiting($leader, $part, $id);
	my @answers;

	$leader->wait_for_log(qr/database system is ready to accept connections/, $offset);
	$cluster->wait_for("a client of $leader->{name} is turned away", sub {
		my ($status, $out, $err) = try_read($leader);
		push @answers, $out if $status == 0;
		return @answers || $err =~ $turned_away;
	});
	is(scalar @answers, 0, "$part: no client gets in before that");
	my ($status, $out, $err) = try_read($leader);
	like($err, qr/FATAL:  this server has been restarted.*DETAIL:  Until they have the WAL up to .*HINT:  Try again in a moment/s,
		"$part: clients are turned away, and hear why") or diag($err);
	is($leader->sql("SELECT count(*) FROM writes WHERE id = $id"), '1',
		"$part: recovery made the commit visible, to superusers");
	($status, $out, $err) = try_read($leader, application_name => 'Patroni node2');
	is($status, 0, "$part: tools of members get in");
	like((try_read($leader, user => 'rewinder'))[2], qr/password|$turned_away/, "$part: other users do not");
	my ($ready) = PatroniCluster::run_command([ 'pg_isready', '-h', $cluster->{sockets}, '-p', $leader->{port}, '-U', 'reader', '-d', 'postgres' ]);
	is($ready, 1, "$part: pg_isready says that connections are rejected (SQLSTATE 57P03)");
	like($leader->log_text($offset), qr/LOG:  clients wait until the synchronous standbys have the WAL of this server/,
		"$part: the log says so");

	my $thaw_us = PatroniCluster::now_us();
	$_->thaw for $cluster->standbys_of($leader);
	$cluster->wait_for("clients of $leader->{name} get in", sub {
		my $now = $cluster->leader or return;
		return if $now != $leader;
		($status, $out) = try_read($leader, sql => "SELECT count(*) FROM writes WHERE id = $id");
		return $status == 0;
	}, every_ms => 5);
	measured(sprintf('%s: clients get in %.2f s after the standbys are back', $part, (PatroniCluster::now_us() - $thaw_us) / 1e6));
	is($out, '1', "$part: they see the commit");
	like($leader->log_text($offset), qr/LOG:  clients need not wait for the synchronous standbys any longer/, "$part: the log says that it is over");
	$cluster->wait_until_streaming;
	$cluster->wait_until_replayed;
	is($_->sql("SELECT count(*) FROM writes WHERE id = $id"), '1', "$part: $_->{name} has it") for $cluster->standbys;
}

# --- a crash, and a failover that loses the commit ---

{
	my $leader = $cluster->wait_for_leader;
	my $offset = crash_while_waiting($leader, 'lost', 3);
	my @seen;

	$leader->wait_for_log(qr/database system is ready to accept connections/, $offset);
	my $end_us = PatroniCluster::now_us() + 1_500_000;
	while (PatroniCluster::now_us() < $end_us)
	{
		my ($status, $out) = try_read($leader, sql => 'SELECT id FROM writes WHERE id = 3');

		push @seen, $out if $status == 0;
		usleep(20_000);
	}
	# what was sent must not be found in the buffers of a socket
	my @others = $cluster->standbys_of($leader);
	$leader->kill9;
	$_->kill9 for @others;
	$_->start for @others;
	my $new = $cluster->wait_for_leader(not => $leader);
	is($new->sql('SELECT count(*) FROM writes WHERE id = 3'), '0', 'a failover loses the commit that no standby had');
	is(join(' ', @seen), '', 'and no client has ever seen it');
	$leader->start;
	$cluster->wait_until_streaming;
	is($leader->sql('SELECT count(*) FROM writes WHERE id = 3'), '0', 'also its former primary has dropped it');
}

# --- standbys are given up: nobody else may lead ---

{
	my $leader = $cluster->wait_for_leader;
	my $offset = crash_while_waiting($leader, 'given up', 4);
	my @others = $cluster->standbys_of($leader);

	$leader->wait_for_log(qr/database system is ready to accept connections/, $offset);
	$cluster->wait_for('a client is turned away', sub { (try_read($leader))[2] =~ $turned_away });
	$cluster->set_sync_mode('on');
	my $answer;
	$cluster->wait_for('clients get in', sub {
		(my $status, $answer) = try_read($leader, sql => 'SELECT count(*) FROM writes WHERE id = 4');
		return $status == 0;
	}, timeout => 10);
	is($answer, '1', 'given up: without strict mode clients get in, and see the commit');
	is_deeply($cluster->key_json('sync'), { leader => $leader->{name}, quorum => 0, sync_standby => undef },
		'given up: but nobody else may lead now');
	like($leader->log_text($offset), qr/clients need not wait for the synchronous standbys any longer.*No synchronous standbys are named any more/s,
		'given up: the log says that it is over');
	$leader->kill9;
	my %offset = map { $_->{name} => $_->log_size } @others;
	$_->thaw for @others;
	$_->wait_for_log(qr/the sync key does not name this member/, $offset{ $_->{name} }) for @others;
	$leader->start;
	is($cluster->wait_for_leader, $leader, 'given up: the others wait for the leader that has it');
	is($leader->sql('SELECT count(*) FROM writes WHERE id = 4'), '1', 'given up: so what clients saw is still there');
	$cluster->wait_until_streaming;
	$cluster->set_sync_mode('on-strict');
	$cluster->wait_until_synchronous;
}

# --- quorum mode ---

{
	$cluster->set_sync_mode('quorum-strict');
	my $leader = $cluster->wait_for_leader;
	my $offset = crash_while_waiting($leader, 'quorum', 6);
	my @seen;

	$leader->wait_for_log(qr/database system is ready to accept connections/, $offset);
	$cluster->wait_for('a client is turned away', sub {
		my ($status, undef, $err) = try_read($leader);
		push @seen, $status if $status == 0;
		return $err =~ $turned_away;
	});
	my @others = $cluster->standbys_of($leader);
	$leader->kill9;
	$_->kill9 for @others;
	$_->start for @others;
	my $new = $cluster->wait_for_leader(not => $leader);
	is($new->sql('SELECT count(*) FROM writes WHERE id = 6'), '0', 'quorum: a failover loses the commit that no standby had');
	is(join(' ', @seen), '', 'quorum: and no client has ever seen it');
	$leader->start;
	$cluster->wait_until_streaming;
}

# --- a cancelled commit ---

for my $how ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $leader = $cluster->wait_for_leader;
	my $id = $how eq 'pg_cancel_backend' ? 7 : 8;
	my ($out, $err) = ('', '');

	$cluster->set_sync_mode($how eq 'pg_cancel_backend' ? 'on-strict' : 'quorum-strict');
	$cluster->wait_until_streaming;
	$cluster->wait_until_synchronous;
	my @others = $cluster->standbys_of($leader);
	$_->freeze('all') for @others;
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d',
			"host=$cluster->{sockets} port=$leader->{port} user=reader dbname=postgres application_name=waits",
			'-c', "INSERT INTO writes VALUES ($id, $id) RETURNING 'committed'" ], '>', \$out, '2>', \$err);
	$leader->wait_for_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waits' AND wait_event = 'SyncRep'");
	$leader->sql("SELECT $how(pid) FROM pg_stat_activity WHERE application_name = 'waits'");
	$psql->finish;
	is($out, '', "$how: a client whose wait is cut off is not told that it is committed");
	like($err, qr/the outcome of the transaction is not known/, "$how: it hears that this is not known");
	$leader->kill9;
	$_->kill9 for @others;
	$_->start for @others;
	my $new = $cluster->wait_for_leader(not => $leader);
	is($new->sql("SELECT count(*) FROM writes WHERE id = $id"), '0', "$how: the failover has lost it");
	$leader->start;
	$cluster->wait_until_streaming;
}
$cluster->set_sync_mode('on-strict');
$cluster->wait_until_synchronous;

# --- no crash ---

{
	my $leader = $cluster->wait_for_leader;
	my $offset = $leader->log_size;

	$leader->sql('CREATE EXTENSION IF NOT EXISTS patroni_bgw');
	$leader->try_sql('SELECT patroni.restart()');
	$leader->wait_for_log(qr/database system is ready to accept connections/, $offset);
	$cluster->wait_for('a client gets in', sub { (try_read($leader))[0] == 0 });
	unlike($leader->log_text($offset), qr/clients wait until|$turned_away/, 'after a clean restart nobody waits');
}

# --- a clean restart that cuts off the wait of a commit ---

{
	my $leader = $cluster->wait_for_leader;
	my @others = $cluster->standbys;
	my ($out, $err) = ('', '');

	$cluster->wait_until_streaming;
	$cluster->wait_until_synchronous;
	$_->kill9 for @others;
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d',
			"host=$cluster->{sockets} port=$leader->{port} user=reader dbname=postgres application_name=waits",
			'-c', 'INSERT INTO writes VALUES (5, 5)' ], '>', \$out, '2>', \$err);
	$leader->wait_for_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waits' AND wait_event = 'SyncRep'");
	my $offset = $leader->log_size;
	$leader->try_sql('SELECT patroni.restart()');
	$psql->finish;
	isnt($psql->result(0), 0, 'clean restart: the client of a waiting commit is not told that it is committed');
	$leader->wait_for_log(qr/database system is ready to accept connections/, $offset);
	my ($status, undef, $refusal);
	$cluster->wait_for('an answer to a client', sub { ($status, undef, $refusal) = try_read($leader); $status == 0 || $refusal =~ $turned_away });
	like($refusal, $turned_away, 'clean restart: clients are turned away until standbys have it');
	is($leader->sql('SELECT is_exposed FROM patroni.lease'), 't', 'clean restart: patroni.lease says so');
	$_->start for @others;
	$cluster->wait_for('clients get in', sub { (try_read($leader))[0] == 0 });
	is((try_read($leader, sql => 'SELECT count(*) FROM writes WHERE id = 5'))[1], '1', 'clean restart: they see the commit');
	$cluster->wait_until_streaming;
	is($leader->sql('SELECT is_exposed FROM patroni.lease'), 'f', 'clean restart: patroni.lease says that it is over');

	# all is well again, so the next one is not held
	$offset = $leader->log_size;
	$leader->try_sql('SELECT patroni.restart()');
	$leader->wait_for_log(qr/database system is ready to accept connections/, $offset);
	$cluster->wait_for('a client gets in', sub { (try_read($leader))[0] == 0 });
	unlike($leader->log_text($offset), qr/clients wait until|$turned_away/, 'after the next restart nobody waits');
}

done_testing();
