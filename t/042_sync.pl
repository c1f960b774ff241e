# Synchronous replication: in each mode every write that was acknowledged is on
# every later primary, and a standby that is lost delays commits for moments.
# run alone

use strict;
use warnings;

use PatroniCluster;
use Test::More;
use Time::HiRes qw(usleep);

my $cluster = PatroniCluster->new('sync', dcs => { synchronous_mode => JSON::PP::true });
my $writer;

# The key says who is synchronous, as Patroni's tools read it.
sub wait_for_sync
{
	my ($standbys, $quorum, %option) = @_;
	my $wanted = join ',', sort @$standbys;

	return $cluster->wait_for("the sync key names \"$wanted\" with quorum $quorum", sub {
		my $leader = $cluster->leader or return;
		my $sync = $cluster->key_json('sync') // {};

		return ($sync->{leader} // '') eq $leader->{name} && ($sync->{quorum} // 0) == $quorum
		  && ($sync->{sync_standby} // '') eq $wanted;
	}, every_ms => 20, %option);
}

# All standbys are named in quorum mode, one of them otherwise.
sub wait_until_synchronous
{
	my ($mode) = @_;

	return $cluster->wait_for("synchronous replication is set up ($mode)", sub {
		my $leader = $cluster->leader or return;
		my $sync = $cluster->key_json('sync') // {};
		my @named = split /,/, $sync->{sync_standby} // '';

		return ($sync->{leader} // '') eq $leader->{name}
		  && @named == ($mode eq 'quorum' ? scalar $cluster->standbys : 1);
	}, every_ms => 20);
}

sub edit_config
{
	my ($patch) = @_;

	$cluster->wait_for_leader->sql("SELECT patroni.edit_config('" . JSON::PP::encode_json($patch) . "')");
}

sub names { return $_[0]->sql('SHOW synchronous_standby_names'); }

# Health checks and roles, as each member tells of itself and of the others.
sub check_rest
{
	my ($mode) = @_;
	my $leader = $cluster->leader;
	my %is_named = map { $_ => 1 } split /,/, $cluster->key_json('sync')->{sync_standby};
	my ($what, $other) = $mode eq 'quorum' ? ('quorum', 'sync') : ('sync', 'quorum');
	my %role = map { $_->{name} => $_ == $leader ? 'leader' : $is_named{ $_->{name} } ? "${what}_standby" : 'replica' }
	  $cluster->nodes;

	for my $node ($cluster->nodes)
	{
		my $is_named = $is_named{ $node->{name} };
		my $is_leader = $node == $leader;
		my %wanted = (
			"/$what" => $is_named,
			"/read-only-$what" => $is_leader || $is_named,
			"/$other" => 0,
			"/read-only-$other" => $is_leader,
			'/async' => !$is_leader && !$is_named,
			'/asynchronous' => !$is_leader && !$is_named,
			'/replica' => !$is_leader,
			'/read-only' => 1,
			'/primary' => $is_leader,
		);
		$wanted{'/synchronous'} = $wanted{'/sync'};
		$wanted{'/read-only-synchronous'} = $wanted{'/read-only-sync'};
		my $codes = sub { join ' ', map { "$_=" . $node->rest($_)->{status} } sort keys %wanted };
		my $expected = join ' ', map { "$_=" . ($wanted{$_} ? 200 : 503) } sort keys %wanted;
		$cluster->wait_for("$mode: the health checks of $node->{name}", sub { $codes->() eq $expected },
			timeout => 5, or_undef => 1);
		is($codes->(), $expected, "$mode: the health checks of $node->{name}, a $role{ $node->{name} }");
		my $self = $node->rest('/patroni')->{json};
		is(join(' ', grep { $self->{$_} } qw(sync_standby quorum_standby)), $is_named ? "${what}_standby" : '',
			"$mode: what /patroni tells of $node->{name}");
		is(join(' ', map { "$_->{name}=$_->{role}" } sort { $a->{name} cmp $b->{name} } @{ $node->rest('/cluster')->{json}{members} }),
			join(' ', map { "$_=$role{$_}" } sort keys %role), "$mode: the roles in /cluster of $node->{name}");
		is($node->sql("SELECT string_agg(name || '=' || role, ' ' ORDER BY name) FROM patroni.member"),
			join(' ', map { "$_=$role{$_}" } sort keys %role), "$mode: the roles in patroni.member of $node->{name}");
	}
}

# --- a new cluster ---

$cluster->start;
wait_until_synchronous('on');
my $leader = $cluster->leader;
my ($sync_name) = split /,/, $cluster->key_json('sync')->{sync_standby};
is(names($leader), $sync_name, 'commits wait for the member that the key names');
is($leader->sql("SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'"),
	$sync_name, 'and the server knows it as synchronous');
$cluster->wait_for('patroni.synchronous says so', sub {
	$leader->sql('SELECT mode, leader, quorum, standbys, names, is_in_force, next_step FROM patroni.synchronous')
	  eq "on|$leader->{name}|0|{$sync_name}|$sync_name|t|none";
});
ok(1, 'patroni.synchronous says so');
my $list = ($cluster->patronictl('list'))[1];
like($list, qr/\| $sync_name +\|[^|]*\| Sync Standby \|/, 'patronictl shows a Sync Standby') or diag($list);
is(scalar(() = $list =~ /Sync Standby/g), 1, 'one of them');
my $sync = $cluster->node($sync_name);
my ($async) = grep { $_ != $sync } $cluster->standbys;
check_rest('on');

$cluster->create_writes_table;
$writer = $cluster->writer;

# --- a standby that is lost ---

# Watch the names and the walsender every few ms from inside the server.
$leader->sql(<<'SQL');
CREATE TABLE watched (at timestamptz, names text, senders text);
ALTER ROLE postgres SET synchronous_commit = local;
CREATE PROCEDURE watch(ms int) LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz := clock_timestamp() + ms * interval '1 ms';
BEGIN
	WHILE clock_timestamp() < until LOOP
		COMMIT;
		PERFORM pg_stat_clear_snapshot();
		INSERT INTO watched
		SELECT clock_timestamp(), (SELECT names FROM patroni.synchronous),
			   (SELECT string_agg(application_name, ',') FROM pg_stat_replication);
		PERFORM pg_sleep(0.002);
	END LOOP;
END $$;
SQL
my $watcher = PatroniCluster::spawn([ 'psql', '-XAtq', '-d',
	"host=$cluster->{sockets} port=$leader->{port} user=postgres dbname=postgres", '-c', 'CALL watch(8000)' ],
	"$cluster->{base}/watch.out", keep_stderr => 1);
$cluster->wait_for('the watcher watches', sub { $leader->sql('SELECT count(*) FROM watched') > 10 });
my $begin_us = PatroniCluster::now_us();
$sync->kill9_part('postmaster');
$writer->wait_for_acks(200, after_us => $begin_us + 300_000);
$cluster->wait_for('the watcher has seen it', sub {
	$leader->sql("SELECT count(*) FROM watched WHERE names IS DISTINCT FROM '$sync_name'") > 0;
});
my $delay = $leader->sql(<<"SQL");
SELECT round(extract(epoch FROM
	(SELECT min(at) FROM watched WHERE names NOT LIKE '%$sync_name%')
	- (SELECT min(at) FROM watched WHERE senders IS NULL OR senders NOT LIKE '%$sync_name%')) * 1000)
SQL
cmp_ok($delay, '<', 100, "a lost standby leaves synchronous_standby_names $delay ms after its walsender's end");
my $gap = $writer->longest_gap($begin_us);
cmp_ok($gap, '<', 1000, sprintf('commits wait for moments (%.0f ms)', $gap));
measured(sprintf('standby lost: names changed after %s ms, no writes for %.0f ms', $delay, $gap));
wait_until_synchronous('on');
$cluster->wait_until_streaming;
waitpid $watcher, 0;

# --- each mode: planned switchover, postmaster killed, standby killed ---

for my $mode (qw(on quorum strict))
{
	edit_config({ synchronous_mode => $mode eq 'quorum' ? 'quorum' : JSON::PP::true,
		synchronous_mode_strict => $mode eq 'strict' ? JSON::PP::true : JSON::PP::false });
	wait_until_synchronous($mode);
	$cluster->wait_for("$mode: the names are as wanted", sub {
		return names($cluster->leader) =~ ($mode eq 'quorum' ? qr/^ANY 1 \(/ : qr/^node\d$/);
	});
	$writer->wait_for_more;
	if ($mode eq 'quorum')
	{
		# releases before 4.0 have one word for both
		like(($cluster->patronictl('list'))[1], qr/(Quorum|Sync) Standby.*\1 Standby/s,
			'patronictl shows two standbys of the quorum');
		check_rest('quorum');
	}

	# planned
	my $old = $cluster->leader;
	my ($candidate) = split /,/, $cluster->key_json('sync')->{sync_standby};
	$begin_us = PatroniCluster::now_us();
	my ($status, undef, $err) = $old->try_sql("SELECT patroni.switchover('$candidate')");
	ok($cluster->wait_for_leader(is => $cluster->node($candidate)), "$mode: a planned switchover")
	  or diag($err);
	$writer->wait_for_acks(20, from => $cluster->node($candidate), after_us => $begin_us);
	measured(sprintf('%s: planned switchover, no writes for %.0f ms', $mode, $writer->longest_gap($begin_us)));
	wait_until_synchronous($mode);

	# the postmaster of the leader
	$old = $cluster->leader;
	$begin_us = PatroniCluster::now_us();
	$old->kill9_part('postmaster');
	$writer->wait_for_acks(20, after_us => $begin_us + 50_000);
	ok($cluster->wait_for_leader, "$mode: the leader's postmaster is killed, writing goes on");
	measured(sprintf('%s: postmaster killed, no writes for %.0f ms', $mode, $writer->longest_gap($begin_us)));
	$cluster->wait_until_streaming;
	wait_until_synchronous($mode);

	# the whole node of the leader
	$old = $cluster->leader;
	$begin_us = PatroniCluster::now_us();
	$old->kill9;
	my $new = $cluster->wait_for_leader(not => $old);
	ok($new, "$mode: the leader's node is killed, another one leads");
	$writer->wait_for_acks(20, from => $new, after_us => $begin_us);
	measured(sprintf('%s: node killed, no writes for %.0f ms', $mode, $writer->longest_gap($begin_us)));
	is($cluster->lost_writes, 0, "$mode: nothing that was acknowledged is lost");
	$old->start;
	$cluster->wait_until_streaming;
	wait_until_synchronous($mode);

	# a standby
	my ($standby) = map { $cluster->node($_) } split /,/, $cluster->key_json('sync')->{sync_standby};
	$begin_us = PatroniCluster::now_us();
	$standby->kill9_part('postmaster');
	$writer->wait_for_acks(100, after_us => $begin_us + 100_000);
	$gap = $writer->longest_gap($begin_us);
	cmp_ok($gap, '<', 1000, sprintf('%s: a lost standby delays commits for moments (%.0f ms)', $mode, $gap));
	$cluster->wait_until_streaming;
	wait_until_synchronous($mode);
}

# --- strict: nobody there, nothing acknowledged ---

$leader = $cluster->leader;
my @standbys = $cluster->standbys;
$_->stop for @standbys;
usleep(500_000);
my $before = scalar $writer->acks;
usleep(1_500_000);
is(scalar $writer->acks, $before, 'strict: without a standby nothing is acknowledged');
like($leader->sql('SELECT reason FROM patroni.synchronous'), qr/strict mode is on/, 'and patroni.synchronous says why');

# a receiver that is no member will do, as long as there is no member
my $archive = "$cluster->{base}/archive";
mkdir $archive;
my $receiver = do
{
	local $ENV{PGPASSWORD} = $leader->{passwords}{replication};
	PatroniCluster::spawn([ 'pg_receivewal', '--synchronous', '-D', $archive, '-d',
		"host=$leader->{host} port=$leader->{port} user=replicator application_name=archive" ],
		"$cluster->{base}/receivewal.out", keep_stderr => 1);
};
$writer->wait_for_more;
is(names($leader), '*', 'strict: pg_receivewal is a synchronous receiver');
wait_for_sync([], 0);
kill 'INT', $receiver;
waitpid $receiver, 0;
usleep(500_000);
$before = scalar $writer->acks;
usleep(1_000_000);
is(scalar $writer->acks, $before, 'and nothing is acknowledged when it has gone');
edit_config({ synchronous_mode_strict => JSON::PP::false });
$writer->wait_for_more;
wait_for_sync([], 0);
is(names($leader), '', 'not strict: commits wait for nobody');
$_->start for @standbys;
$cluster->wait_until_streaming;
wait_until_synchronous('on');

# --- whom an operator may name ---

$leader = $cluster->leader;
($sync_name) = split /,/, $cluster->key_json('sync')->{sync_standby};
($async) = grep { $_->{name} ne $sync_name } $cluster->standbys;
my ($status, undef, $err) = $leader->try_sql("SELECT patroni.switchover('$async->{name}')");
isnt($status, 0, 'a switchover to an asynchronous member is refused');
like($err, qr/not a synchronous standby/, 'with the reason');
is($cluster->leader, $leader, 'and the leader is the same');
my $offset = $async->log_size;
my (undef, $answer) = $leader->try_sql("SELECT patroni.failover('$async->{name}')");
like($answer, qr{bytes of WAL or more may be lost}, 'a failover to it: the answer warns') if $answer ne '';
ok($cluster->wait_for_leader(is => $async), 'a failover to it is the decision of the operator');
ok($async->wait_for_log(qr/bytes of WAL may be lost/, $offset), 'and the log warns of what may be lost');
wait_until_synchronous('on');
$cluster->wait_until_streaming;

# --- modes change under load ---

for my $round (1 .. 2)
{
	for my $mode ('quorum', JSON::PP::false, JSON::PP::true)
	{
		edit_config({ synchronous_mode => $mode });
		if ($mode) { wait_until_synchronous($mode eq 'quorum' ? 'quorum' : 'on'); }
		else
		{
			$cluster->wait_for('the sync key is gone', sub { !defined $cluster->key('sync') });
			$cluster->wait_for('and the names too', sub { names($cluster->leader) eq '' });
		}
		$writer->wait_for_more;
	}
}
pass('the mode is changed while clients write');

# --- pause ---

$cluster->leader->sql('SELECT patroni.pause()');
($sync_name) = split /,/, $cluster->key_json('sync')->{sync_standby};
$cluster->node($sync_name)->kill9_part('postmaster');
$writer->wait_for_more(100);
pass('a paused cluster does not wait for a lost standby either');
$cluster->leader->sql('SELECT patroni.resume()');
$cluster->wait_until_streaming;
wait_until_synchronous('on');

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');
measured("$writer->{answer}{acks} acknowledged, $writer->{answer}{errors} not");

done_testing();
