# BenchCluster: three members of one product, with the same PostgreSQL settings
# for every product, and what all scenarios need of it.
#
# A driver is a class below this one.  It must have
#
#   up                  from nothing to a leader with two streaming standbys
#   leader              the member that leads, by the product's own word
#   start_node(NODE)    as an operator would start a member
#   agent_pids(NODE)    the processes that look after its server
#   switchover_command(OLD, CANDIDATE)   the words of a command that asks for it
#   version             of the product
#
# and may have others than the ones here of
#
#   heal                after whatever happened: all members stream again
#   has_store, stop_store, start_store, store_requests
#   health_path         for a load balancer; undef: there is none
#   phases(NODE, KIND)  where the time of the last "switchover" or "failover" went
#   set_failsafe(ON)    writes go on without the store; undef: it has no such thing

package BenchCluster;

use strict;
use warnings;

use BenchClient;
use BenchPaths;
use HTTP::Tiny;
use PatroniCluster;
use Time::HiRes qw(usleep);

our @ISA = ('PatroniCluster');

# What every product's servers run with.
sub parameters
{
	my (%option) = @_;

	return (
		shared_buffers => '64MB',
		fsync => $option{fsync} ? 'on' : 'off',
		wal_keep_size => '512MB',		# a member that was away need not be copied anew
		max_wal_size => '1GB',
		max_connections => 100,
		max_wal_senders => 10,
		max_replication_slots => 10,
		wal_level => 'replica',
		wal_log_hints => 'on',
		hot_standby => 'on',
		dynamic_shared_memory_type => 'mmap',
		log_line_prefix => '%m [%p] ');
}

# Options: label, namespaces, fsync, dcs, load, paths.
sub new
{
	my ($class, %option) = @_;
	my $self = PatroniCluster::new($class, $option{label}, members => 3, namespaces => $option{namespaces},
		dcs => $option{dcs} // {}, parameters => { parameters(%option), %{ $option{parameters} // {} } });

	$self->{bench} = \%option;
	$self->{database} = 'postgres';
	$self->{password} = 'bench';
	BenchPaths::choose($self) if $option{paths};
	return $self;
}

sub has_store { return 1; }
sub health_path { return; }
sub set_failsafe { return; }
sub phases { return; }
sub show_logs { }

sub stop_store { $_[0]->stop_etcd; }
sub start_store { $_[0]->start_etcd; }

# How many requests the store has had; a message on a stream is one, too.
sub store_requests
{
	my ($self) = @_;
	my $answer = HTTP::Tiny->new(timeout => 3)->get($self->etcd_url . '/metrics');
	my $sum = 0;

	$sum += $1 while $answer->{content} =~ /^grpc_server_msg_received_total\{[^}]*\} ([\d.e+]+)$/mg;
	return $sum;
}

# A command of the product, as the unprivileged user, at a member or the store.
sub words_at
{
	my ($self, $name, @command) = @_;

	return ($self->in_namespace($name), PatroniCluster::as_user(), @command);
}

sub run_at
{
	my ($self, $name, @command) = @_;
	my ($status, $out, $err) = PatroniCluster::run_command([ $self->words_at($name, @command) ], timeout => 120);

	die "@command: status $status: $out $err\n" if $status != 0;
	return $out;
}

# Ask for a switchover in the background; its process, its output in {switchover_log}.
sub switchover
{
	my ($self, $old, $candidate) = @_;

	$self->{switchover_log} = "$self->{log_directory}/switchover.log";
	return PatroniCluster::spawn([ $self->switchover_command($old, $candidate) ], $self->{switchover_log}, truncate => 1);
}

sub create_tables
{
	my ($self) = @_;
	my $leader = $self->wait_for_leader;

	$self->create_writes_table;
	return unless $self->{bench}{load};
	$self->run_at($leader->{name}, 'pgbench', '-i', '-q', '-s', 4, '-h', $self->{sockets}, '-p', $leader->{port},
		'-U', 'postgres', 'postgres');
	$leader->sql('CHECKPOINT');
	$self->wait_until_replayed;
}

# pgbench that begins again whenever its server is gone.
sub start_load
{
	my ($self) = @_;
	my $hosts = join ',', map { $_->{host} } $self->nodes;
	my $ports = join ',', map { $_->{port} } $self->nodes;
	my $rate = $self->{bench}{load} =~ /^\d+$/ ? "-R $self->{bench}{load}" : '';

	return unless $self->{bench}{load};
	$self->{load_pid} = PatroniCluster::spawn(
		[ PatroniCluster::as_user(), 'sh', '-c', "trap 'kill \$!; exit' TERM; while :; do pgbench -n -N -c 4 -T 3600 $rate "
			  . "'host=$hosts port=$ports user=postgres dbname=$self->{database} connect_timeout=2 password=$self->{password}"
			  . " target_session_attrs=read-write' & wait \$!; sleep 0.1; done" ],
		'/dev/null');
}

sub stop_load
{
	my ($self) = @_;

	return unless $self->{load_pid};
	my @pids = PatroniCluster::process_tree($self->{load_pid});

	kill 'KILL', @pids;
	waitpid $self->{load_pid}, 0;
	delete $self->{load_pid};
}

sub client
{
	my ($self, %option) = @_;
	my $client = BenchClient->new($self, %option);

	push @{ $self->{clients} }, $client;
	return $client;
}

# The processes of a member that are not its server's.
sub agent_tree
{
	my ($self, $node) = @_;
	my %server = map { $_ => 1 } $node->pids('server');

	return grep { !$server{$_} } PatroniCluster::process_tree($node->{supervisor_pid});
}

sub freeze_pids
{
	my ($self, @pids) = @_;

	kill 'STOP', @pids;
	push @{ $self->{frozen} }, @pids;
}

sub thaw_all
{
	my ($self) = @_;

	kill 'CONT', reverse @{ $self->{frozen} // [] };
	$self->{frozen} = [];
}

# Nothing comes from or to this member any more: not the others, the store, or clients.
sub cut_off
{
	my ($self, $node) = @_;

	$self->{cuts} = [ map { [ $node, $_ ] } 'etcd', { host => "$self->{subnet}.0.1" },
		grep { $_ != $node } $self->nodes ];
	$self->cut(@$_) for @{ $self->{cuts} };
}

sub join_all
{
	my ($self) = @_;

	$self->join_again(@$_) for @{ $self->{cuts} // [] };
	$self->{cuts} = [];
}

# Everything runs and streams again, whatever happened.
sub heal
{
	my ($self) = @_;

	$self->thaw_all;
	$self->join_all;
	$self->start_store if $self->has_store && $self->{store_is_down};
	$self->{store_is_down} = 0;
	for my $node ($self->nodes)
	{
		$self->start_node($node) unless $node->supervisor_is_alive;
	}
	$self->wait_for_leader;
	$self->wait_until_streaming;
}

# All members but the leader stream, whatever they call themselves, and take clients.
sub wait_until_streaming
{
	my ($self, %option) = @_;

	return $self->wait_for('all standbys stream and accept clients', sub {
		my $leader = $self->leader or return;
		my ($status, $out) = $leader->try_sql(
			"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", timeout => 3);

		return if $status != 0 || $out < $self->nodes - 1;
		return !grep { ($_->try_sql('SELECT', timeout => 3))[0] != 0 } $self->nodes;
	}, every_ms => 200, %option);
}

sub clean_up
{
	my ($self) = @_;

	return if $self->{is_gone}++;
	$self->thaw_all;
	$self->stop_load;
	$_->stop for @{ $self->{clients} // [] };
	for my $pid (@{ $self->{helpers} // [] })
	{
		kill 'KILL', PatroniCluster::process_tree($pid);
		waitpid $pid, 0;
	}
	$self->PatroniCluster::clean_up;
	# the link to it goes a little after the name space
	for (1 .. 100)
	{
		last unless -e "/sys/class/net/p$$" . 'h';
		usleep(20_000);
	}
}

1;
