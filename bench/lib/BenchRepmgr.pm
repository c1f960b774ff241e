# Driver for repmgr: three members, a repmgrd for each.  Its switchover runs
# commands on the other member by ssh; bench/lib/remote_shell.pl stands in for it,
# since the members are all on this machine, each in a network name space.

package BenchRepmgr;

use strict;
use warnings;

use BenchCluster;
use FindBin;
use PatroniCluster;
use Time::HiRes qw(usleep);

our @ISA = ('BenchCluster');

my $shell_port = 2022;

my %fast = (monitor_interval_secs => 1, reconnect_attempts => 2, reconnect_interval => 1);

sub missing { return -x "$ENV{PG_BINDIR}/repmgrd" ? undef : 'postgresql-15-repmgr'; }

sub version
{
	my ($version) = `"\$PG_BINDIR/repmgr" --version` =~ /([\d.]+)/;

	return "repmgr $version";
}

sub has_store { return 0; }

sub connection
{
	my ($node) = @_;

	return "host=$node->{host} port=$node->{port} user=repmgr dbname=repmgr connect_timeout=2";
}

sub configure
{
	my ($self, $node) = @_;
	my $here = $node->{directory};
	my $conf = "$here/repmgr.conf";
	my %settings = (
		node_id => $node->{number},
		node_name => $node->{name},
		conninfo => connection($node),
		data_directory => $node->{data_directory},
		pg_bindir => $ENV{PG_BINDIR},
		repmgr_bindir => $ENV{PG_BINDIR},
		failover => 'automatic',
		promote_command => "$ENV{PG_BINDIR}/repmgr standby promote -f $conf --log-to-file",
		follow_command => "$ENV{PG_BINDIR}/repmgr standby follow -f $conf --log-to-file --upstream-node-id=%n",
		(map { ("service_${_}_command" => "$here/service $_") } qw(start stop restart reload)),
		repmgrd_pid_file => "$here/repmgrd.pid",
		ssh_options => '-q',
		$self->{bench}{is_fast} ? %fast : ());

	$node->{conf} = $conf;
	PatroniCluster::spew($conf, join '', map { "$_='$settings{$_}'\n" } sort keys %settings);
	PatroniCluster::spew("$here/service", "#!/bin/sh\nmode=\n[ \$1 != stop ] && [ \$1 != restart ] || mode='-m fast'\n"
		  . "exec '$ENV{PG_BINDIR}/pg_ctl' -D '$node->{data_directory}' -l '$here/server.log' -w \$mode"
		  . " -o '-p $node->{port} -h $node->{host}' \$1\n");
	chmod 0700, "$here/service";
}

# The stand-in for ssh: a server at each member, and a program of that name in front of the PATH.
sub start_shells
{
	my ($self) = @_;
	my $directory = PatroniCluster::make_directory("$self->{base}/bin");
	my $program = PatroniCluster::slurp("$FindBin::RealBin/lib/remote_shell.pl");

	PatroniCluster::spew("$directory/ssh", $program);
	chmod 0700, "$directory/ssh";
	$self->{path} = "$directory:$ENV{PATH}";
	return unless $self->{is_namespaced};
	for my $node ($self->nodes)
	{
		push @{ $self->{helpers} }, PatroniCluster::spawn(
			[ $self->words_at($node->{name}, 'env', "PATH=$self->{path}", "$directory/ssh", '--serve', $node->{host}, $shell_port) ],
			"$self->{log_directory}/shell.$node->{name}.log");
	}
}

sub repmgr_words
{
	my ($self, $node, @words) = @_;

	return $self->words_at($node->{name}, 'env', "PATH=$self->{path}", "HOME=$node->{directory}",
		'REMOTE_SHELL_PORT=' . ($self->{is_namespaced} ? $shell_port : ''), 'repmgr', '-f', $node->{conf}, @words);
}

sub repmgr
{
	my ($self, $node, @words) = @_;
	my ($status, $out, $err) = PatroniCluster::run_command([ $self->repmgr_words($node, @words) ], timeout => 120);

	die "repmgr @words: status $status: $out $err\n" if $status != 0;
}

sub up
{
	my ($self) = @_;
	my ($first, @others) = $self->nodes;

	$self->start_shells;
	$self->configure($_) for $self->nodes;
	$self->run_at($first->{name}, 'initdb', '-D', $first->{data_directory}, '-k', '-A', 'trust', '-U', 'postgres',
		'-E', 'UTF8', '--locale=C');
	open(my $conf, '>>', "$first->{data_directory}/postgresql.conf") or die "could not write settings: $!\n";
	my %settings = (BenchCluster::parameters(%{ $self->{bench} }), shared_preload_libraries => 'repmgr',
		unix_socket_directories => $self->{sockets});
	print $conf map { "$_ = '$settings{$_}'\n" } sort keys %settings;
	close $conf;
	open($conf, '>>', "$first->{data_directory}/pg_hba.conf") or die "could not write settings: $!\n";
	print $conf "host all all 0.0.0.0/0 trust\nhost replication all 0.0.0.0/0 trust\n";
	close $conf;
	$self->start_server($first);
	$first->sql('CREATE ROLE repmgr SUPERUSER LOGIN');
	$first->sql('CREATE DATABASE repmgr OWNER repmgr');
	$self->repmgr($first, 'primary', 'register');
	$self->start_agent($first);
	$self->copy($_, $first) for @others;
	$self->wait_until_streaming;
}

sub start_server
{
	my ($self, $node) = @_;

	# not by way of a pipe: the server would keep it
	my $pid = PatroniCluster::spawn([ $self->words_at($node->{name}, "$node->{directory}/service", 'start') ], $node->{log});

	waitpid $pid, 0;
	die "the server of $node->{name} does not start\n" if $? != 0;
	$node->{is_started} = 1;
}

sub start_agent
{
	my ($self, $node) = @_;

	unlink "$node->{directory}/repmgrd.pid";
	$node->{supervisor_pid} = PatroniCluster::spawn(
		[ $self->words_at($node->{name}, 'env', "PATH=$self->{path}", "HOME=$node->{directory}",
			"$ENV{PG_BINDIR}/repmgrd", '-f', $node->{conf}, '--daemonize=false') ], $node->{log});
}

# A standby, from nothing.
sub copy
{
	my ($self, $node, $leader) = @_;

	if ($node->{supervisor_pid})
	{
		kill 'KILL', $node->{supervisor_pid};
		waitpid delete $node->{supervisor_pid}, 0;
	}
	if (my $postmaster = $node->postmaster_pid)
	{
		kill 'QUIT', $postmaster;
		$self->wait_for("the server of $node->{name} ends", sub { !$node->postmaster_pid });
	}
	system('rm', '-rf', $node->{data_directory});
	$self->repmgr($node, '-h', $leader->{host}, '-p', $leader->{port}, '-U', 'repmgr', '-d', 'repmgr',
		'standby', 'clone', '--fast-checkpoint');
	$self->start_server($node);
	$self->repmgr($node, 'standby', 'register', '--force', '--upstream-node-id=' . $leader->{number});
	$self->start_agent($node);
}

# The one that is not in recovery, on the highest timeline if there are two.
sub leader
{
	my ($self) = @_;
	my ($leader, $best) = (undef, 0);

	for my $node (grep { $_->postmaster_pid } $self->nodes)
	{
		my ($status, $out) = $node->try_sql(
			'SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()', timeout => 3);
		my ($in_recovery, $timeline) = split /\|/, $out;

		next if $status != 0 || $in_recovery ne 'f';
		($timeline) = hex(substr $node->sql('SELECT pg_walfile_name(pg_current_wal_lsn())'), 0, 8);
		($leader, $best) = ($node, $timeline) if $timeline > $best;
	}
	return $leader;
}

# It has no command that mends whatever happened: who does not stream is copied anew.
sub heal
{
	my ($self) = @_;

	$self->thaw_all;
	$self->join_all;
	my $leader = $self->wait_for_leader;
	my %streams;

	$self->wait_for('standbys stream', sub {
		my (undef, $out) = $leader->try_sql("SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'");

		%streams = map { $_ => 1 } split /\n/, $out;
		return keys %streams == $self->nodes - 1;
	}, timeout => 4, or_undef => 1, every_ms => 200);
	for my $node (grep { $_ != $leader } $self->nodes)
	{
		$self->copy($node, $leader) unless $streams{ $node->{name} };
	}
	for my $node ($self->nodes)
	{
		$self->start_agent($node) unless $node->supervisor_is_alive;
	}
	$self->wait_until_streaming;
	# repmgrd must know of it before the next blow
	$self->wait_for('repmgr knows its members', sub {
		my (undef, $out) = $leader->try_sql("SELECT count(*) FROM repmgr.nodes WHERE active", database => 'repmgr');
		return $out eq $self->nodes;
	}, every_ms => 200);
	usleep(3_000_000);
}

# Nobody starts a node by itself: heal() does.
sub start_node { }

sub agent_pids { my ($self, $node) = @_; return $self->agent_tree($node); }

sub switchover_command
{
	my ($self, $old, $candidate) = @_;

	return $self->repmgr_words($candidate, 'standby', 'switchover', '--siblings-follow', '--force-rewind');
}

1;
