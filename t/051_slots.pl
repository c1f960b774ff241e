# Replication slots: a consumer of logical changes goes on through switchovers and
# failovers and misses nothing; permanent slots are kept on every member, those of
# members that are gone are not, and what ignore_slots names is left alone.
#
# PATRONI_TEST_LONG=1 makes 10 switchovers and 5 failovers instead of 2 and 2,
# PATRONI_TEST_SYNC=1 makes them with synchronous_mode.

use strict;
use warnings;

use PatroniCluster;
use Test::More;
use Time::HiRes qw(usleep);

my ($n_switchovers, $n_failovers) = $ENV{PATRONI_TEST_LONG} ? (10, 5) : (2, 2);
my $cluster = PatroniCluster->new('slots',
	parameters => { wal_level => 'logical', wal_receiver_status_interval => '1s' },
	dcs => {
		synchronous_mode => $ENV{PATRONI_TEST_SYNC} ? JSON::PP::true : JSON::PP::false,
		slots => {
			feed => { type => 'logical', database => 'postgres', plugin => 'test_decoding' },
			sub => { type => 'logical', database => 'postgres', plugin => 'pgoutput' },
			archive => { type => 'physical' },
		},
	});

$cluster->start;
$cluster->create_writes_table;

sub slot
{
	my ($node, $name, $column) = @_;

	return $node->sql("SELECT $column FROM patroni.slot WHERE name = '$name'");
}

# On every standby the copies can be used.
sub wait_until_safe
{
	# a clone begins with the WAL of its backup: let the slot go on to there
	$cluster->wait_for_leader->sql('CHECKPOINT');
	$cluster->wait_for('the logical slots can be used on every standby', sub {
		my @standbys = $cluster->standbys;

		return @standbys == 2
		  && !grep { $_->sql(q{SELECT count(*) FROM patroni.slot WHERE type = 'logical' AND is_safe}) ne '2' } @standbys;
	}, every_ms => 100);
}

# --- the consumer: begins again from what is confirmed, again and again ---

my $conninfo = 'host=' . join(',', map { $cluster->{sockets} } $cluster->nodes)
  . ' port=' . join(',', map { $_->{port} } $cluster->nodes)
  . ' user=postgres dbname=postgres target_session_attrs=read-write connect_timeout=2';
my $feed = PatroniCluster::make_directory("$cluster->{base}/feed");
my $test = $$;
my $consumer = fork // die "could not fork: $!";

if (!$consumer)
{
	my $number = 0;
	my $pid;

	$SIG{TERM} = sub { kill 'INT', $pid if $pid; waitpid $pid, 0 if $pid; POSIX::_exit(0) };
	while (getppid == $test)
	{
		$number++;
		$pid = PatroniCluster::spawn([ 'pg_recvlogical', '-d', $conninfo, '--slot', 'feed', '--start', '--no-loop',
				'-f', sprintf("$feed/%05d", $number), '-s', '1', '-F', '1', '-o', 'include-xids=0', '-o', 'skip-empty-xacts=1' ],
			"$cluster->{base}/recvlogical.out");
		usleep(100_000) while getppid == $test && waitpid($pid, POSIX::WNOHANG()) == 0;
		usleep(100_000);
	}
	kill 'KILL', $pid;
	POSIX::_exit(0);
}
END { if ($consumer && $$ == $test) { my $status = $?; kill 'TERM', $consumer; waitpid $consumer, 0; $? = $status; } }

# What each of its connections has got: lists of ids.
sub received
{
	return map { [ PatroniCluster::slurp($_) =~ /^table public\.writes: INSERT: id\[bigint\]:(\d+)/mg ] } sort glob "$feed/*";
}

sub wait_for_consumer
{
	my ($writer) = @_;
	my ($last) = (reverse $writer->acks)[0];

	$cluster->wait_for("the consumer has change $last->{id}", sub {
		my @lists = received();
		return grep { $_ == $last->{id} } map { @$_ } @lists[ ($#lists > 5 ? $#lists - 5 : 0) .. $#lists ];
	}, every_ms => 100);
}

# --- a subscription, on a server of its own ---

$cluster->wait_for('the leader makes the logical slots',
	sub { $cluster->leader->sql(q{SELECT count(*) FROM patroni.slot WHERE type = 'logical' AND "exists"}) eq '2' });
my $subscriber = PatroniCluster->new('subscriber', members => 1);
$subscriber->start;
$subscriber->create_writes_table;
$cluster->leader->sql('CREATE PUBLICATION pub FOR TABLE writes');
$subscriber->leader->sql("CREATE SUBSCRIPTION sub CONNECTION '$conninfo' PUBLICATION pub"
	  . " WITH (create_slot = false, slot_name = 'sub', copy_data = false)");

my $writer = $cluster->writer;
wait_for_consumer($writer);
wait_until_safe();
pass('a logical slot is made on the leader, and copied by the standbys without a restart');

# --- what no standby has is kept from the consumer ---

# Does it get a change that the standbys cannot get?
sub gets_unreplicated
{
	my ($id) = @_;
	my $leader = $cluster->wait_for_leader;
	my @senders = split /\n/, $leader->sql(q{SELECT pid FROM pg_stat_replication WHERE application_name LIKE 'node%'});
	my $has = sub { grep { PatroniCluster::slurp($_) =~ /^table public\.held: INSERT: id\[integer\]:$id$/m } glob "$feed/*" };

	kill 'STOP', @senders;
	$leader->sql("SET synchronous_commit = local; INSERT INTO held VALUES ($id)");
	usleep(1_000_000);
	my $got = $has->() ? 1 : 0;
	kill 'CONT', @senders;
	$cluster->wait_for('it gets it when they have it', sub { $has->() }, every_ms => 50);
	return $got;
}

$cluster->leader->sql('CREATE TABLE held (id int)');
is(gets_unreplicated(1), 0, 'a consumer gets nothing that no standby has');
$cluster->leader->sql($_) for 'ALTER SYSTEM SET patroni.hold_consumers = off', 'SELECT pg_reload_conf()';
usleep(200_000);
is(gets_unreplicated(2), 1, 'unless patroni.hold_consumers is off');
$cluster->leader->sql($_) for 'ALTER SYSTEM RESET patroni.hold_consumers', 'SELECT pg_reload_conf()';

# --- switchovers and failovers ---

my @events = (('switchover') x $n_switchovers, ('failover') x $n_failovers);
for my $round (1 .. @events)
{
	# spread the failovers among the switchovers
	my $event = $events[ ($round * 7) % @events ];
	my $leader = $cluster->wait_for_leader;
	my $archive = slot($leader, 'archive', 'restart_lsn');

	if ($event eq 'switchover') { $leader->try_sql('SELECT patroni.switchover()'); }
	else { $leader->kill9; }
	my $new = $cluster->wait_for_leader(not => $leader);
	$writer->wait_for_acks(20, from => $new, after_us => PatroniCluster::now_us());
	wait_for_consumer($writer);
	is(slot($new, 'archive', "restart_lsn >= '$archive'"), 't', "round $round, $event: the physical slot has not moved back")
	  if $archive ne '';
	$leader->start if $event eq 'failover';
	$cluster->wait_until_streaming;
	wait_until_safe();
	wait_for_consumer($writer);
	pass("round $round: the consumer goes on after a $event");
}

$writer->stop;
my $leader = $cluster->wait_for_leader;
wait_for_consumer($writer);
kill 'TERM', $consumer;
waitpid $consumer, 0;
undef $consumer;

my @lists = received();
my %got;
$got{$_}++ for map { @$_ } @lists;
my @there = split /\n/, $leader->sql('SELECT id FROM writes ORDER BY id', timeout => 60);
my %there = map { $_ => 1 } @there;
my @missing = grep { !$got{$_} } @there;
is(scalar @missing, 0, 'the consumer has got every change') or diag("missing: @missing[0 .. ($#missing < 9 ? $#missing : 9)]");

my $content = 'SELECT count(*), sum(id) FROM writes';
my $wanted = $leader->sql($content);
$cluster->wait_for('the subscriber has everything', sub { $subscriber->leader->sql($content) eq $wanted }, timeout => 15, or_undef => 1);
is($subscriber->leader->sql($content), $wanted, 'the subscriber has got every change, once');
$subscriber->leader->sql($_) for 'ALTER SUBSCRIPTION sub DISABLE', 'ALTER SUBSCRIPTION sub SET (slot_name = NONE)', 'DROP SUBSCRIPTION sub';

# Each connection goes on where what was confirmed ended, and repeats nothing but what came after.
my ($before, $n_repeated, $is_in_order, $is_seamless) = (0, 0, 1, 1);
for my $list (grep { @$_ } @lists)
{
	my ($between) = grep { $_ > $before && $_ < $list->[0] } @there;

	$is_seamless = 0 if defined $between;
	for my $i (1 .. $#$list) { $is_in_order = 0 if $list->[$i] <= $list->[ $i - 1 ]; }
	$n_repeated += grep { $_ <= $before } @$list;
	$before = $list->[-1] if $list->[-1] > $before;
}
ok($is_in_order, 'within a connection every change comes once, in order');
ok($is_seamless, 'the next connection begins at, or before, the end of the last');
measured(sprintf '%d switchovers, %d failovers: %d changes, %d missing, %d repeated, %d of transactions that were lost, %d connections',
	$n_switchovers, $n_failovers, scalar @there, scalar @missing, $n_repeated,
	scalar(grep { !$there{$_} } keys %got), scalar grep { @$_ } @lists);

# --- what is left alone, and what is not ---

my ($standby, $goes) = $cluster->standbys;
my $goes_slot = $goes->{name};

sub edit_config { $leader->sql(q{SELECT patroni.edit_config('} . JSON::PP::encode_json($_[0]) . q{')}); }
sub slots_of { return $_[0]->sql('SELECT slot_name FROM pg_replication_slots ORDER BY 1'); }

is(slots_of($_), join("\n", sort 'archive', 'feed', 'sub', grep { $_ ne $standby->{name} } map { $_->{name} } $cluster->nodes),
	'a standby has all slots, but its own') for $standby;
my $offset = $leader->log_size;
edit_config({ ignore_slots => [ { name => 'mine', type => 'physical' } ],
	slots => { $goes_slot => { type => 'logical', database => 'postgres', plugin => 'test_decoding' } } });
ok($leader->wait_for_log(qr/permanent logical slot "$goes_slot" has the name of the slot of member/, $offset),
	'a permanent slot with the name of a member is refused, in the log');
$leader->sql(q{SELECT pg_create_physical_replication_slot(name) FROM (VALUES ('mine'), ('stranger')) v (name)});
$cluster->wait_for('a slot that belongs to nobody is dropped', sub { slots_of($leader) !~ /stranger/ });
like(slots_of($leader), qr/^mine$/m, 'one that ignore_slots names stays');
is(slot($leader, 'mine', 'kind'), 'ignored', 'and patroni.slot says why');

# the physical slot on a standby goes with the leader's, also without a consumer
edit_config({ slots => undef });
edit_config({ slots => { archive => { type => 'physical' } } });
$cluster->wait_for('the physical slot is everywhere', sub { slots_of($leader) =~ /archive/ && slots_of($standby) =~ /archive/ });
my $begin = $leader->sql('SELECT pg_current_wal_lsn()');
$leader->sql(q{INSERT INTO writes SELECT -g, 0 FROM generate_series(1, 1000) g; CHECKPOINT});
$leader->sql(q{SELECT pg_replication_slot_advance('archive', pg_current_wal_lsn())});
$cluster->wait_for('it moves on the standby when it moves on the leader',
	sub { $standby->sql("SELECT restart_lsn > '$begin' FROM pg_replication_slots WHERE slot_name = 'archive'") eq 't' });
pass('a physical slot moves on standbys');

# --- a member that goes ---

edit_config({ member_slots_ttl => 6 });
$goes->stop;
$cluster->wait_for('its key is gone', sub { !defined $cluster->key("members/$goes->{name}") });
like(slots_of($leader), qr/^$goes_slot$/m, 'the slot of a member that is gone stays for a while');
$cluster->wait_for('the leader tells of it', sub { grep { $_ eq $goes_slot } @{ ($cluster->key_json('status') // {})->{retain_slots} // [] } });
$cluster->wait_for('after member_slots_ttl it is dropped', sub { slots_of($leader) !~ /^$goes_slot$/m });
$cluster->wait_for('on the other standby, too', sub { slots_of($standby) !~ /^$goes_slot$/m });
pass('the slots of a member that is gone are dropped after member_slots_ttl');

# --- a copy that is not safe ---

# without feedback nothing keeps the rows that it needs
$standby->sql($_) for 'ALTER SYSTEM SET hot_standby_feedback = off', 'SELECT pg_reload_conf()';
edit_config({ slots => { late => { type => 'logical', database => 'postgres', plugin => 'test_decoding' } } });
$cluster->wait_for('the leader makes the slot and tells of it', sub { ($cluster->key_json('status') // {})->{slots}{late} });
$leader->sql('CHECKPOINT');
$cluster->wait_for('the standby copies it', sub { slots_of($standby) =~ /late/ });
usleep(2_500_000);
is(slot($standby, 'late', 'is_safe'), 'f', 'a copy for which vacuum is not held back is not safe');
like(slot($standby, 'late', 'reason'), qr/does not hold back vacuum/, 'patroni.slot says why');
$offset = $standby->log_size;
$leader->try_sql("SELECT patroni.switchover('$standby->{name}')");
ok($cluster->wait_for_leader(is => $standby), 'the member with that copy becomes the leader');
ok($standby->wait_for_log(qr/logical slot "late" was not copied here .*it is not made anew/, $offset),
	'the log says that consumers of the slot have to be looked after');
is(slots_of($standby) =~ /late/ ? 1 : 0, 0, 'nobody can use it, and it is not made anew with a gap');
$standby->sql(q{SELECT pg_create_logical_replication_slot('late', 'test_decoding')});
$cluster->wait_for('made by a person it is kept', sub { slot($standby, 'late', 'is_safe') eq 't' });

done_testing();
