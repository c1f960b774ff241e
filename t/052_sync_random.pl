# run as root
# Synchronous replication under a random mix of faults while its configuration
# changes at random: no write that was acknowledged, or seen by a client on a
# primary, while a synchronous mode was in force is lost.
#
# The seed is printed.  SYNC_SEED=n takes it again (the faults and their times
# are the same then, the machine is not); SYNC_ROUNDS=20 runs as many rounds:
#   SYNC_ROUNDS=20 TAP_TIMEOUT=1200 make tap PROVE_TESTS=t/052_sync_random.pl
#
# Nothing is promised for what is acknowledged from the moment in which the mode
# is switched off until the key "sync" is there again; what is missing of that at
# the end of this time is forgiven, and nothing more later on.  While the mode is
# off only one fault happens at a time, so that all that is older has to survive.

use strict;
use warnings;

use PatroniCluster;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{SYNC_ROUNDS} // 10;
my $seed = $ENV{SYNC_SEED} // time % 1_000_000;
my $can_cut = PatroniCluster::can_cut_networks;
my $n_writers = 2;

srand $seed;
diag("SYNC_SEED=$seed SYNC_ROUNDS=$rounds");

my $cluster = PatroniCluster->new('syncrandom', members => 4, namespaces => $can_cut,
	dcs => { synchronous_mode => JSON::PP::true, maximum_lag_on_syncnode => -1, synchronous_node_count => 1,
		# one whose pg_rewind was interrupted half-way would wait for a person
		postgresql => { remove_data_directory_on_rewind_failure => JSON::PP::true } });
my ($spare) = grep { $_->{name} eq 'node4' } $cluster->nodes;
my %config = (mode => 'on', synchronous_node_count => 1, maximum_lag_on_syncnode => -1);

$cluster->start(grep { $_ != $spare } $cluster->nodes);
$cluster->create_writes_table;
$cluster->wait_until_synchronous;

sub pick { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub sleep_ms { usleep(1000 * $_[0]); }

my @did;

sub did
{
	my ($what) = @_;

	push @did, sprintf '%.3f %s', PatroniCluster::now_us() / 1e6, $what;
	note($did[-1]);
}

# What happened in the round that failed.
END
{
	if (!Test::More->builder->is_passing || $?) { diag($_) for @did; }
}

# --- clients: some write, one looks at every server ---

my @writers = map { $cluster->writer(mode => (qw(simple explicit extended))[ $_ % 3 ], interval_ms => 5 + 3 * $_) }
  1 .. $n_writers;
my $seen_log = "$cluster->{base}/seen.log";
my $reader = do
{
	my $ports = join ' ', map { $_->{port} } $cluster->nodes;

	PatroniCluster::spawn([ 'sh', '-c', <<"SH" ], $seen_log, keep_stderr => 1, environment => { PGCONNECT_TIMEOUT => 1 });
while sleep 0.4; do
	for port in $ports; do
		read up idle < /proc/uptime
		timeout 1 psql -XAtq -d "host=$cluster->{sockets} port=\$port user=writer dbname=postgres application_name=reader" \\
			-c "SELECT 'S', max(id), '\$up', '\$port' FROM writes WHERE NOT pg_is_in_recovery() GROUP BY id / 10000000" 2> /dev/null
	done
done
SH
};

END { kill 'KILL', -$reader if $reader; }

# What clients know to be there: rows that were acknowledged or seen.
sub known
{
	my @seen = map { /^S\|(\d+)\|([\d.]+)\|(\d+)$/ ? { id => $1, acked_us => $2 * 1e6, port => $3, is_seen => 1 } : () }
	  split /\n/, PatroniCluster::slurp($seen_log);

	return ((map { $_->acks } @writers), @seen);
}

# --- what is promised ---

my ($off_since_us, $n_forgiven) = (undef, 0);
my (%is_forgiven, %is_reported);

sub lost
{
	my $now_us = PatroniCluster::now_us();
	my @missing = grep { !$is_forgiven{ $_->{id} } } $cluster->missing_acks(known());
	my @waived = grep { defined $off_since_us && $_->{acked_us} >= $off_since_us } @missing;
	my %is_waived = map { $_->{id} => 1 } @waived;
	my @lost = grep { !$is_waived{ $_->{id} } } @missing;

	$is_forgiven{$_} = 1 for keys %is_waived;
	$n_forgiven += keys %is_waived;
	for my $row (grep { !$is_reported{ $_->{id} }++ } @lost)
	{
		diag(sprintf 'lost: id %s, %s at %.3f by port %s', $row->{id}, $row->{is_seen} ? 'seen' : 'acknowledged',
			$row->{acked_us} / 1e6, $row->{port});
	}
	return scalar @lost;
}

# --- the configuration ---

sub is_off { return $config{mode} eq 'off'; }

# Some of it changes, while clients write; perhaps nobody waits for the end of it.
sub change_config
{
	my ($is_well) = @_;
	my $was_off = is_off();
	my %more;

	# among other faults, switching it off would be one fault too many
	$config{mode} = pick($is_well ? 'off' : (), 'on', 'on', 'quorum', 'quorum', 'on-strict', 'quorum-strict') if chance(0.6);
	$config{synchronous_node_count} = pick(1, 2) if chance(0.4);
	$config{maximum_lag_on_syncnode} = pick(-1, 100_000, 10_000_000) if chance(0.2);
	$off_since_us = PatroniCluster::now_us() if is_off() && !$was_off;
	%more = map { $_ => $config{$_} } grep { $_ ne 'mode' } keys %config;
	did("config: $config{mode}, $config{synchronous_node_count} nodes, lag $config{maximum_lag_on_syncnode}");
	$cluster->set_sync_mode($config{mode}, %more);
	if ($was_off && !is_off())
	{
		$cluster->wait_for('the sync key is there again', sub { $cluster->key_json('sync') });
		lost();		# forgives, for the last time
		undef $off_since_us;
	}
	if ($is_well && (is_off() || chance(0.5))) { $cluster->wait_until_synchronous; }
	else { sleep_ms(rand 300); }
}

# The tags of a member change by a reload; it goes back to none when all is healed.
sub change_tags
{
	my ($node) = @_;
	my $tags = pick({ nosync => JSON::PP::true }, { sync_priority => 5 }, { sync_priority => 0 });

	did("tags of $node->{name}: " . JSON::PP::encode_json($tags));
	$node->{config}{tags} = $tags;
	$node->write_config;
	$node->reload if $node->supervisor_is_alive;	# else it reads them when it is started
}

# --- faults ---

my (@cuts, @stopped);

# Of one without a supervisor nothing is left when its server is killed, too.
sub alive { return grep { $_->is_started && !@{ $_->{frozen} // [] } && $_->pids('all') } $cluster->nodes; }

sub die_node
{
	my ($node) = @_;

	did("SIGKILL to all of $node->{name}");
	$node->kill9;
	push @stopped, $node;
}

sub cut
{
	my (@pair) = @_;

	return if grep { my @cut = @$_; ($cut[0] eq $pair[0] && $cut[1] eq $pair[1]) || ($cut[0] eq $pair[1] && $cut[1] eq $pair[0]) } @cuts;
	did('cut ' . join ' from ', map { ref $_ ? $_->{name} : $_ } @pair);
	$cluster->cut(@pair);
	push @cuts, \@pair;
}

# Each is given the leader, and the others that are alive; some need others.
my %faults = (
	'switchover' => sub {
		my ($leader, @others) = @_;
		my @named = grep { my $node = $_; grep { $_ == $node } @others }
		  map { $cluster->node($_) } split /,/, ($cluster->key_json('sync') // {})->{sync_standby} // '';
		my $to = is_off() ? pick(@others) : pick(@named) or return;

		did("switchover from $leader->{name} to $to->{name}");
		$leader->try_sql("SELECT patroni.switchover('$to->{name}', wait => false)", timeout => 10);
	},
	'postmaster of the leader' => sub {
		my ($leader) = @_;

		did("SIGKILL to the postmaster of $leader->{name}");
		eval { $leader->kill9_part('postmaster') };
	},
	'node of the leader' => sub { die_node($_[0]); },
	'leader stopped' => sub {
		my ($leader, @others) = @_;

		return unless @others && $leader->supervisor_is_alive;
		# cut off from its standbys it waits for them, for up to a minute
		did("$leader->{name} is told to stop");
		kill 'TERM', $leader->{supervisor_pid};
		$leader->{is_started} = 0;
		push @stopped, $leader;
	},
	'leader frozen' => sub { did("SIGSTOP to all of $_[0]{name}"); $_[0]->freeze('all'); },
	'part of the leader frozen' => sub {
		my $part = pick('worker', 'supervisor', 'postmaster');

		did("SIGSTOP to the $part of $_[0]{name}");
		eval { $_[0]->freeze($part) };
	},
	'part of the leader killed' => sub {
		my ($leader) = @_;
		my $part = pick('worker', 'supervisor');

		did("SIGKILL to the $part of $leader->{name}");
		eval { $leader->kill9_part($part) };
		push @stopped, $leader if $part eq 'supervisor';
	},
	'standby killed' => sub { my (undef, @others) = @_; die_node(pick(@others)) if @others; },
	'standby frozen' => sub {
		my (undef, @others) = @_;
		my $node = pick(@others) or return;

		did("SIGSTOP to all of $node->{name}");
		$node->freeze('all');
	},
	'postmaster of a standby' => sub {
		my (undef, @others) = @_;
		my $node = pick(@others) or return;

		did("SIGKILL to the postmaster of $node->{name}");
		eval { $node->kill9_part('postmaster') };
	},
	'restart of a standby' => sub {
		my (undef, @others) = @_;
		my $node = pick(@others) or return;

		did("restart of $node->{name}");
		$node->try_sql("SELECT patroni.restart(wait => false)", timeout => 10);
	},
	'all standbys killed' => sub { my (undef, @others) = @_; die_node($_) for @others; },
	'all standbys frozen' => sub {
		my (undef, @others) = @_;

		did('SIGSTOP to all of ' . join ' ', map { $_->{name} } @others);
		$_->freeze('all') for @others;
	},
	'all killed' => sub { die_node($_) for @_; },
	'member added or removed' => sub {
		my ($leader) = @_;

		if (!$spare->is_started && !grep { $_ == $spare } @stopped)
		{
			PatroniCluster::remove_tree($spare->{data_directory}) if chance(0.5);
			did("$spare->{name} is added");
			$spare->start;
		}
		elsif ($spare != $leader && $spare->is_started && !@{ $spare->{frozen} // [] })
		{
			did("$spare->{name} is removed");
			$spare->stop;
		}
	},
	'tags' => sub { my (undef, @others) = @_; change_tags(pick(@_)); },
	'store frozen' => sub {
		my $ms = int(300 + rand 2500);

		did("the store stands still for $ms ms");
		$cluster->freeze_etcd;
		sleep_ms($ms);
		$cluster->thaw_etcd;
	},
	'walsenders ended' => sub {
		did("the walsenders of $_[0]{name} are ended");
		$_[0]->try_sql('SELECT pg_terminate_backend(pid) FROM pg_stat_replication', timeout => 10);
	},
	'config' => sub { change_config(0) unless is_off(); },
	!$can_cut ? () : (
		'leader cut from the store' => sub { cut($_[0], 'etcd'); },
		'leader cut from the members' => sub { my ($leader, @others) = @_; cut($leader, $_) for @others; },
		'leader cut from all' => sub { my ($leader, @others) = @_; cut($leader, $_) for @others, 'etcd'; },
		'standby cut from the leader' => sub { my ($leader, @others) = @_; cut($leader, pick(@others)) if @others; },
		'standby cut from the store' => sub { my (undef, @others) = @_; cut(pick(@others), 'etcd') if @others; },
	),
);
# with the mode off these lose more than what was acknowledged meanwhile
my %is_too_much = map { $_ => 1 } 'all standbys killed', 'all standbys frozen', 'all killed', 'config';

sub heal
{
	$cluster->join_again(@$_) for splice @cuts;
	for my $node ($cluster->nodes)
	{
		$node->thaw;
		next unless %{ $node->{config}{tags} };
		$node->{config}{tags} = {};
		$node->write_config;
		$node->reload if $node->supervisor_is_alive;
	}
	# those that died come back in any order
	my %seen;
	my @back = grep { !$seen{ $_->{name} }++ } splice @stopped;
	while (@back)
	{
		my ($node) = splice @back, int rand @back, 1;

		$node->wait_for_exit unless $node->is_started;
		$node->start unless $node->supervisor_is_alive;
		sleep_ms(rand 700) if chance(0.3);
	}
}

# --- rounds ---

my $begin_us = PatroniCluster::now_us();
my %n_faults;

for my $round (1 .. $rounds)
{
	my @todo;

	@did = ();
	change_config(1) if chance(0.7);
	push @todo, pick(sort keys %faults) for 1 .. (is_off() ? 1 : pick(1, 1, 2, 2, 3));
	for my $fault (@todo)
	{
		my $leader = $cluster->leader;
		my @others = grep { !$leader || $_ != $leader } alive();

		next if is_off() && $is_too_much{$fault};
		# nobody leads, or it stands still: the ones that are left will do
		if (!$leader || !grep { $_ == $leader } alive()) { $leader = shift @others or next; }
		$n_faults{$fault}++;
		$faults{$fault}->($leader, @others);
		sleep_ms(chance(0.5) ? rand 60 : rand 1500) if @todo > 1;
	}
	sleep_ms(chance(0.5) ? rand 1500 : 3000 + rand 3000);
	did('all is healed');
	heal();
	my $healed_us = PatroniCluster::now_us();
	my $ok = eval {
		$cluster->wait_until_streaming;
		$cluster->wait_until_synchronous;
		$_->wait_for_more(5) for @writers;
		1;
	};
	my $why = $@;
	ok($ok, "round $round: $config{mode}: " . join(', ', @todo) . ': all is well again') or diag($why);
	last if !$ok;
	note(sprintf 'measured: round %d: all is well %.1f s after the end of the faults', $round,
		(PatroniCluster::now_us() - $healed_us) / 1e6) if $ENV{SYNC_ROUNDS};
	my $lost = lost();
	is($lost, 0, "round $round: nothing is lost") or last;
}

$_->stop for @writers;
is(lost(), 0, 'nothing is lost in the end') if Test::More->builder->is_passing;
my $n_seen = grep { $_->{is_seen} } known();
my $n_acks = grep { !$_->{is_seen} } known();
measured(sprintf 'seed %d: %d rounds in %.0f s, %d acknowledged and %d seen, %d not promised and lost with the mode off',
	$seed, $rounds, (PatroniCluster::now_us() - $begin_us) / 1e6, $n_acks, $n_seen, $n_forgiven);
measured('faults: ' . join ', ', map { "$n_faults{$_} $_" } sort keys %n_faults);

done_testing();
