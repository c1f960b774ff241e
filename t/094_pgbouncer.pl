# run alone
# Clients behind PgBouncer wait through a switchover and see no error, and nothing
# stays paused: not when a PgBouncer is gone, frozen or paused by somebody else,
# and not when the node that paused them dies.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $haproxy = PatroniCluster::program('haproxy');
plan skip_all => 'pgbouncer or haproxy is not installed' if !PatroniCluster::program('pgbouncer') || !$haproxy;

my $secret = "bouncer's secret $$";
my %port = map { $_ => PatroniCluster::free_port } qw(haproxy app1 app2);
my $cluster = PatroniCluster->new('pgbouncer', config => sub {
	my ($node, $config) = @_;

	$config->{pgbouncer} = {
		username => 'patroni',
		password => $secret,
		connect_timeout => '700 ms',	# for machines that do more than this
		pause_timeout => 1,
		resume_timeout => '2 s',
		instances => { map { $_ => { host => '127.0.0.1', port => $port{$_}, database => 'app',
					probe_database => 'app_probe' } } qw(app1 app2) },
	};
});

# --- what stands in front of the cluster ---

my %pid;

sub start_haproxy
{
	my $servers = join '', map { "    server $_->{name} $_->{host}:$_->{port} check port $_->{rest_port}\n" } $cluster->nodes;

	PatroniCluster::spew("$cluster->{base}/haproxy.cfg", <<"END");
defaults
    mode tcp
    timeout connect 1s
    timeout client 30m
    timeout server 30m
    timeout check 1s
listen primary
    bind 127.0.0.1:$port{haproxy}
    option httpchk OPTIONS /primary
    http-check expect status 200
    retries 0
    default-server inter 100ms fall 1 rise 1
$servers
END
	$cluster->run_beside('haproxy', [ $haproxy, '-db', '-f', "$cluster->{base}/haproxy.cfg" ]);
}

sub start_pgbouncer
{
	my ($name) = @_;

	$pid{$name} = $cluster->run_pgbouncer($name, listen => [ '127.0.0.1', $port{$name} ],
		server => [ '127.0.0.1', $port{haproxy} ], database => 'app', dbname => 'postgres',
		users => { patroni => $secret, writer => 'write' });
	$cluster->wait_for("$name answers", sub { defined is_paused($name) });
}

sub console
{
	my ($name, $command) = @_;

	local $ENV{PGPASSWORD} = $secret;
	return PatroniCluster::run_command([ 'psql', '-XAtq', '-F', ' ', '-c', $command,
			"host=127.0.0.1 port=$port{$name} user=patroni dbname=pgbouncer connect_timeout=3" ]);
}

# 0 or 1; undef: it does not answer.
sub is_paused
{
	my ($name) = @_;
	my ($status, $out) = console($name, 'SHOW DATABASES');
	my ($line) = grep { /^app / } split /\n/, $out;

	return $status == 0 && defined $line ? (split / /, $line)[11] : undef;
}

# A client of it, which never loses patience.
sub writer_through
{
	my ($name, %option) = @_;

	return $cluster->writer(nodes => [ { host => '127.0.0.1', port => $port{$name} } ], any => 1, patience_ms => 0,
		user => 'writer password=write dbname=app', %option);
}

start_haproxy();
$cluster->start;
$cluster->create_writes_table;
start_pgbouncer($_) for qw(app1 app2);

my %writers = map { $_ => writer_through('app1', mode => $_) } qw(simple extended explicit);

sub switch_over
{
	my ($what) = @_;
	my $old = $cluster->leader;
	my $offset = $old->log_size;
	my $begin_us = PatroniCluster::now_us();

	$old->try_sql('SELECT patroni.switchover(wait => false)');
	my $new = $cluster->wait_for_leader(not => $old);
	$_->wait_for_more(20) for values %writers;
	$cluster->wait_for('the key is deleted', sub { !defined $cluster->key('pgbouncer') });
	for my $mode (sort keys %writers)
	{
		is(scalar($writers{$mode}->errors), 0, "$what: the $mode client sees no error");
		measured(sprintf('%s: the %s client waits %.0f ms', $what, $mode, $writers{$mode}->longest_gap($begin_us)));
	}
	is(is_paused('app1'), 0, "$what: it is not paused any more");
	$cluster->wait_until_streaming;
	return ($old->log_text($offset), $new);
}

# --- all is well ---

my $at_app2 = writer_through('app2');
my ($log) = switch_over('two PgBouncers');
like($log, qr/paused 2 of 2 databases of PgBouncer in \d+ ms/, 'both were paused');
$at_app2->wait_for_more(20);
is(scalar($at_app2->errors), 0, 'nor does a client of the other');
$at_app2->stop;

# --- one of them is not ---

$cluster->stop_beside('app2', 'KILL');
($log) = switch_over('one is gone');
like($log, qr/"app" of PgBouncer "app2".* is not paused: .*refused/, 'one is gone: that is said');
like($log, qr/paused 1 of 2 databases/, 'and the other one was paused');

start_pgbouncer('app2');
kill 'STOP', $pid{app2};
($log) = switch_over('one is frozen');
like($log, qr/PgBouncer "app2".* is not paused: no answer within [7-9]\d\d ms/, 'one is frozen: that is said');
kill 'CONT', $pid{app2};

is((console('app2', 'PAUSE app'))[0], 0, 'somebody pauses the other one');
($log) = switch_over('one is paused by somebody');
like($log, qr/PgBouncer "app2".* is left alone: it is paused already/, 'that is said');
is(is_paused('app2'), 1, 'and it stays paused');
console('app2', 'RESUME app');

# --- the node that paused them dies, or its supervisor is frozen ---

my $app1_log = $cluster->log_beside('app1');

# Something happens to the leader while all are paused; the others resume them.
sub pause_and
{
	my ($what, $happens) = @_;
	my $leader = $cluster->leader;
	my @others = $cluster->standbys;
	my $offset = -s $app1_log;
	my %offset = map { $_->{name} => $_->log_size } @others;
	# a query that goes on keeps the leader waiting
	my $query = PatroniCluster::spawn([ 'psql', '-XAtq', '-c', 'SELECT pg_sleep(60)',
			"host=127.0.0.1 port=$port{app2} user=writer password=write dbname=app" ], '/dev/null');

	$leader->wait_for_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'");
	$leader->try_sql('SELECT patroni.switchover(wait => false)');
	$cluster->wait_for('PAUSE is sent', sub { PatroniCluster::slurp($app1_log, $offset) =~ /PAUSE 'app'/ }, every_ms => 5);
	my $begin_us = PatroniCluster::now_us();
	$happens->($leader);
	$cluster->wait_for('RESUME is sent', sub { PatroniCluster::slurp($app1_log, $offset) =~ /RESUME 'app'/ }, every_ms => 5);
	my $paused_ms = (PatroniCluster::now_us() - $begin_us) / 1000;

	cmp_ok($paused_ms, '<', 3500, "$what: another member resumes within resume_timeout");
	cmp_ok($paused_ms, '>', 1500, 'and not before');
	measured(sprintf('%s: %.0f ms until RESUME', $what, $paused_ms));
	like(join('', map { $_->log_text($offset{ $_->{name} }) } @others),
		qr/resuming PgBouncer \d+ ms after the pause, come what may/, 'it says so');
	$cluster->wait_for('all are resumed', sub { !grep { is_paused($_) ne '0' } qw(app1 app2) });
	kill 'KILL', $query;
	waitpid $query, 0;
	return ($leader, $begin_us);
}

my ($leader, $begin_us) = pause_and('the supervisor is frozen', sub { $_[0]->freeze('supervisor') });
my $offset = $leader->log_size;
$leader->thaw;
$leader->wait_for_log(qr/PgBouncer was paused too late, resuming it/, $offset);
ok(1, 'who comes too late finds out');
$cluster->wait_for_leader(not => $leader);
$cluster->wait_until_streaming;
$_->wait_for_more(20) for values %writers;

# Its node is back as a standby before long, and no client of PgBouncer is left there.
kill 'KILL', $cluster->leader->pids('postmaster');
$cluster->wait_for_leader;
$cluster->wait_until_streaming;
$_->wait_for_more(20) for values %writers;
ok(1, 'after a crash all clients write again');

($leader, $begin_us) = pause_and('the leader is killed', sub { $_[0]->kill9 });
my $one = $cluster->wait_for_leader(not => $leader);
$_->wait_for_more(20) for values %writers;
measured(sprintf('the leader is killed: the simple client waits %.0f ms', $writers{simple}->longest_gap($begin_us)));
$cluster->wait_for('the key is deleted', sub { !defined $cluster->key('pgbouncer') });
is(is_paused($_), 0, "$_ is not paused any more") for qw(app1 app2);

# --- a wrong password is found out when it is configured ---

my $wrong = "not the secret $$";

$offset = $one->log_size;
$one->{config}{pgbouncer}{password} = $wrong;
$one->write_config;
$one->reload;
$one->wait_for_log(qr/"app" of PgBouncer "app1".* could not be paused now: .*authentication failed.*\n.*HINT:.*pgbouncer\.username/, $offset);
ok(1, 'a wrong password is said at the reload');

$_->stop for values %writers;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');
for my $node ($cluster->nodes)
{
	is(scalar(grep { index($node->log_text, $_) >= 0 } $secret, $wrong), 0, "$node->{name} does not log a password");
}
done_testing();
