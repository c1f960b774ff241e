# BenchPaths: other ways to the leader than libpq's list of hosts: HAProxy, which
# asks the product's health check, and PgBouncer in front of that.

package BenchPaths;

use strict;
use warnings;

use PatroniCluster;

# Which of their packages are missing, for a line that says so.
sub missing
{
	return grep { system("command -v $_ > /dev/null || [ -x /usr/sbin/$_ ]") != 0 } qw(haproxy pgbouncer);
}

# Start what is installed; {paths} of the cluster gets name => [host, port].
sub start
{
	my ($cluster) = @_;
	my %missing = map { $_ => 1 } missing();

	return unless defined $cluster->health_path && !$missing{haproxy};
	$cluster->{paths}{haproxy} = start_haproxy($cluster);
	$cluster->{paths}{pgbouncer} = start_pgbouncer($cluster, $cluster->{paths}{haproxy}[1]) unless $missing{pgbouncer};
}

# The configuration of Patroni's documentation, but asking every second.
sub start_haproxy
{
	my ($cluster) = @_;
	my $port = PatroniCluster::free_port();
	my $path = $cluster->health_path;
	my $servers = join '', map {
		"\tserver $_->{name} $_->{host}:$_->{port} maxconn 100 check port $_->{rest_port}\n"
	} $cluster->nodes;

	PatroniCluster::spew("$cluster->{base}/haproxy.cfg", <<"END_OF_TEXT");
global
	maxconn 200
defaults
	mode tcp
	retries 2
	timeout client 30m
	timeout connect 1s
	timeout server 30m
	timeout check 1s
listen primary
	bind 127.0.0.1:$port
	option httpchk OPTIONS $path
	http-check expect status 200
	default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
$servers
END_OF_TEXT
	push @{ $cluster->{helpers} }, PatroniCluster::spawn(
		[ PatroniCluster::as_user(), 'env', 'PATH=/usr/sbin:/usr/bin:/bin', 'haproxy', '-db', '-f', "$cluster->{base}/haproxy.cfg" ],
		"$cluster->{log_directory}/haproxy.log");
	return [ '127.0.0.1', $port ];
}

# In transaction mode, as applications that want to feel nothing use it.
sub start_pgbouncer
{
	my ($cluster, $server_port) = @_;
	my $port = PatroniCluster::free_port();
	my $base = $cluster->{base};

	PatroniCluster::spew("$base/users.txt", qq("writer" ""\n));
	PatroniCluster::spew("$base/pgbouncer.ini", <<"END_OF_TEXT");
[databases]
$cluster->{database} = host=127.0.0.1 port=$server_port user=writer
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
auth_file = $base/users.txt
pool_mode = transaction
server_login_retry = 1
server_round_robin = 0
server_check_delay = 0
ignore_startup_parameters = extra_float_digits
END_OF_TEXT
	push @{ $cluster->{helpers} }, PatroniCluster::spawn(
		[ PatroniCluster::as_user(), 'env', 'PATH=/usr/sbin:/usr/bin:/bin', 'pgbouncer', "$base/pgbouncer.ini" ],
		"$cluster->{log_directory}/pgbouncer.log");
	return [ '127.0.0.1', $port ];
}

1;
