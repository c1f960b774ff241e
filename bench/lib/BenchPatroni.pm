# Drivers for patroni_bgw and for Debian's Patroni: one configuration file, one
# HTTP API, one layout of the store, so one driver.

package BenchPatroni;

use strict;
use warnings;

use BenchCluster;
use BenchPaths;
use JSON::PP ();
use PatroniCluster;

our @ISA = ('BenchCluster');

sub missing
{
	return system('patroni --version > /dev/null 2>&1') == 0 ? undef : 'patroni';
}

sub version
{
	my ($self) = @_;
	my ($version) = `patroni --version` =~ /([\d.]+)/;

	return "Patroni $version";
}

sub program { return 'patroni'; }

sub new
{
	my ($class, %option) = @_;
	my $self = BenchCluster::new($class, %option);

	for my $node ($self->nodes)
	{
		$self->configure($node);
		$node->write_config;
	}
	return $self;
}

sub configure
{
	my ($self, $node) = @_;

	# one password for all, and one that needs no care with quotes
	$node->{passwords}{$_} = $node->{config}{postgresql}{authentication}{$_}{password} = 'bench'
	  for qw(superuser replication rewind);
	$node->{config}{restapi}{authentication} = { username => 'bench', password => 'bench' };
	unshift @{ $node->{config}{postgresql}{pg_hba} }, 'host all postgres 0.0.0.0/0 trust';
}

sub up
{
	my ($self) = @_;
	my ($first, @others) = $self->nodes;

	$self->start_etcd;
	$self->start_node($first);
	$self->wait_for_leader;
	$self->start_node($_) for @others;
	$self->wait_until_streaming;
}

sub start_node
{
	my ($self, $node) = @_;

	$node->start(program => $self->program);
}

sub agent_pids
{
	my ($self, $node) = @_;

	return $self->agent_tree($node);
}

sub health_path { return '/primary'; }

sub switchover_command
{
	my ($self, $old, $candidate) = @_;

	return (PatroniCluster::as_user(), 'curl', '-s', '-S', '--fail-with-body', '-m', 120, '-u', 'bench:bench', '-X', 'POST', '-d',
		qq({"leader": "$old->{name}", "candidate": "$candidate->{name}"}), "http://$old->{host}:$old->{rest_port}/switchover");
}

sub set_failsafe
{
	my ($self, $on) = @_;

	$self->edit_config({ failsafe_mode => $on ? JSON::PP::true : JSON::PP::false });
	# the key is there once the leader has seen it
	$self->wait_for('failsafe mode is ' . ($on ? 'on' : 'off'), sub {
		my $members = $self->key_json('failsafe') // {};
		return !$on || keys %$members == $self->nodes;
	}, every_ms => 100);
	return 1;
}

package BenchOurs;

use strict;
use warnings;

our @ISA = ('BenchPatroni');

sub missing { return; }
sub program { return undef; }

sub version
{
	my ($self) = @_;
	my ($version) = `\$PATRONI_SUPERVISOR --version` =~ /([\d.]+)/;

	return 'patroni_bgw ' . ($version // '');
}

# It has PgBouncer hold the clients back while the leader changes.
sub configure
{
	my ($self, $node) = @_;
	my $section = BenchPaths::pgbouncer_section($self);

	$self->SUPER::configure($node);
	$node->{config}{pgbouncer} = $section if $section;
}

# Where the time of the last change of leader went, as a member tells: {phase_..._ms => ms}.
sub phases
{
	my ($self, $node, $kind) = @_;
	my $answer = $node->rest('/metrics');
	my %phases;

	$phases{"phase_$1_ms"} = $2 * 1000
	  while $answer->{content} =~ /^patroni_last_${kind}_seconds\{[^}]*phase="(\w+)"[^}]*\} ([\d.e+-]+)$/mg;
	return %phases;
}

# The supervisor, and the worker in the server.
sub agent_pids
{
	my ($self, $node) = @_;

	return ($self->agent_tree($node), $node->worker_pid // ());
}

1;
