# Driver for pg_auto_failover: a monitor where others have their store, and three
# members whose servers pg_autoctl runs.  All are outside of the write quorum, so
# replication is asynchronous as with the other products.

package BenchAutoFailover;

use strict;
use warnings;

use BenchCluster;
use PatroniCluster;

our @ISA = ('BenchCluster');

# What makes it fast; the others are its defaults.  A primary that does not reach
# the monitor steps down by itself before another one is promoted.
my $partition_timeout_s = 4;
my %fast = (
	'pgautofailover.health_check_period' => 1000,
	'pgautofailover.health_check_timeout' => 1000,
	'pgautofailover.health_check_max_retries' => 0,
	'pgautofailover.health_check_retry_delay' => 0,
	'pgautofailover.node_considered_unhealthy_timeout' => 3000,
	'pgautofailover.primary_demote_timeout' => 5000);

sub missing
{
	return system('pg_autoctl version > /dev/null 2>&1') == 0 && -e "$ENV{PG_BINDIR}/../lib/pgautofailover.so"
	  ? undef : 'pg-auto-failover-cli postgresql-15-auto-failover';
}

sub version
{
	my ($version) = `pg_autoctl version` =~ /version ([\d.]+)/;

	return "pg_auto_failover $version";
}

sub monitor_directory { return "$_[0]{base}/monitor"; }

# pg_autoctl of a member, or of the monitor, with files of its own.
sub autoctl
{
	my ($self, $name, @arguments) = @_;
	my $home = "$self->{base}/xdg.$name";

	PatroniCluster::make_directory("$home/$_") for '', qw(config data run);
	return $self->words_at($name eq 'monitor' ? 'etcd' : $name, 'env', "HOME=$home", "XDG_CONFIG_HOME=$home/config",
		"XDG_DATA_HOME=$home/data", "XDG_RUNTIME_DIR=$home/run", "PG_REGRESS_SOCK_DIR=$self->{sockets}",
		'PGUSER=postgres', "PGHOST=$self->{sockets}", 'pg_autoctl', @arguments);
}

sub autoctl_now
{
	my ($self, @words) = @_;
	my ($status, $out, $err) = PatroniCluster::run_command([ $self->autoctl(@words) ], timeout => 90);

	die "pg_autoctl @words: status $status: $out $err\n" if $status != 0;
}

sub settings_file
{
	my ($directory, %settings) = @_;

	open(my $file, '>>', "$directory/postgresql.conf") or die "could not write $directory/postgresql.conf: $!\n";
	print $file map { "$_ = '$settings{$_}'\n" } sort keys %settings;
	close $file;
	open($file, '>>', "$directory/pg_hba.conf") or die "could not write $directory/pg_hba.conf: $!\n";
	print $file "local all all trust\nhost all all 0.0.0.0/0 trust\nhost replication all 0.0.0.0/0 trust\n";
	close $file;
}

sub node_words
{
	my ($self, $node) = @_;

	return ('--pgdata', $node->{data_directory}, '--pgctl', "$ENV{PG_BINDIR}/pg_ctl", '--pgport', $node->{port},
		'--hostname', $node->{host}, '--listen', $node->{host}, '--name', $node->{name}, '--dbname', 'postgres',
		'--username', 'postgres', '--monitor',
		"postgres://autoctl_node\@$self->{etcd_host}:$self->{etcd_port}/pg_auto_failover?sslmode=prefer",
		'--auth', 'trust', '--no-ssl', '--replication-quorum', 'false');
}

sub up
{
	my ($self) = @_;
	my ($first, @others) = $self->nodes;
	my $monitor = $self->monitor_directory;

	$self->autoctl_now('monitor', 'create', 'monitor', '--pgdata', $monitor, '--pgctl', "$ENV{PG_BINDIR}/pg_ctl",
		'--pgport', $self->{etcd_port}, '--hostname', $self->{etcd_host}, '--auth', 'trust', '--no-ssl');
	settings_file($monitor, dynamic_shared_memory_type => 'mmap', shared_buffers => '32MB',
		$self->{bench}{is_fast} ? %fast : ());
	$self->start_store;
	$self->autoctl_now($first->{name}, 'create', 'postgres', $self->node_words($first));
	$self->run_at($first->{name}, 'pg_checksums', '--enable', '-D', $first->{data_directory});
	settings_file($first->{data_directory}, BenchCluster::parameters(%{ $self->{bench} }));
	$self->start_node($first);
	$self->wait_for('the first member is there', sub { $self->leader }, timeout => 60);
	for my $node (@others)
	{
		$self->autoctl_now($node->{name}, 'create', 'postgres', $self->node_words($node));
		$self->start_node($node);
	}
	$self->wait_until_streaming;
}

sub start_node
{
	my ($self, $node) = @_;

	$self->autoctl_now($node->{name}, 'config', 'set', '--pgdata', $node->{data_directory},
		'timeout.network_partition_timeout', $partition_timeout_s) if $self->{bench}{is_fast};
	$node->{supervisor_pid} = PatroniCluster::spawn(
		[ $self->autoctl($node->{name}, 'run', '--pgdata', $node->{data_directory}) ], $node->{log});
	$node->{is_started} = 1;
}

sub start_store
{
	my ($self) = @_;

	$self->{etcd_log} = "$self->{log_directory}/monitor.log";
	$self->{monitor_pid} = PatroniCluster::spawn(
		[ $self->autoctl('monitor', 'run', '--pgdata', $self->monitor_directory) ], $self->{etcd_log});
	$self->wait_for('the monitor answers', sub { defined $self->ask_monitor('SELECT 1') }, every_ms => 100);
}

# As with etcd: killed, all of it.
sub stop_store
{
	my ($self) = @_;
	my ($postmaster) = PatroniCluster::slurp($self->monitor_directory . '/postmaster.pid') =~ /^(\d+)/;

	return unless $self->{monitor_pid};
	kill 'KILL', PatroniCluster::process_tree($self->{monitor_pid}, $postmaster);
	waitpid delete $self->{monitor_pid}, 0;
}

sub ask_monitor
{
	my ($self, $sql) = @_;
	my ($status, $out) = PatroniCluster::run_command(
		[ 'psql', '-XAtq', '-d', "host=$self->{sockets} port=$self->{etcd_port} user=autoctl_node dbname=pg_auto_failover",
			'-c', $sql ], timeout => 5);

	return $status == 0 ? $out : undef;
}

sub leader
{
	my ($self) = @_;
	my $name = $self->ask_monitor("SELECT nodename FROM pgautofailover.node WHERE reportedstate = goalstate"
		  . " AND goalstate IN ('single', 'wait_primary', 'primary') LIMIT 1");

	return defined $name && $name ne '' ? $self->node($name) : undef;
}

# Everybody has got where the monitor wants it.
sub wait_until_streaming
{
	my ($self, %option) = @_;

	$self->wait_for('all members are where they should be', sub {
		($self->ask_monitor("SELECT count(*) FROM pgautofailover.node WHERE reportedstate = goalstate"
				  . " AND goalstate IN ('primary', 'secondary')") // 0) == $self->nodes;
	}, every_ms => 300, %option);
	$self->BenchCluster::wait_until_streaming(%option);
}

# The monitor does not count requests: transactions in its database, ours taken off.
sub store_requests
{
	my ($self) = @_;

	return ($self->ask_monitor('SELECT xact_commit + xact_rollback FROM pg_stat_database'
			  . " WHERE datname = 'pg_auto_failover'") // 0) - $self->{n_asked}++;
}

sub agent_pids { my ($self, $node) = @_; return $self->agent_tree($node); }

sub switchover_command
{
	my ($self, $old, $candidate) = @_;

	return $self->autoctl('monitor', 'perform', 'promotion', '--pgdata', $self->monitor_directory,
		'--name', $candidate->{name});
}

sub clean_up
{
	my ($self) = @_;

	return if $self->{is_gone};
	$self->stop_store;
	$self->BenchCluster::clean_up;
}

1;
