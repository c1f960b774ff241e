# BenchPaths: other ways to the leader than libpq's list of hosts: HAProxy, which
# asks the product's health check, and PgBouncer with an HAProxy of its own.
#
# PgBouncer is set up as docs/pgbouncer.md says, the same for each product that
# has a health check; only that it is told of a switchover is ours alone.

package BenchPaths;

use strict;
use warnings;

use PatroniCluster;

# Which of their packages are missing, for a line that says so.
sub missing
{
	return grep { !PatroniCluster::program($_) } qw(haproxy pgbouncer);
}

# Choose what is installed: {paths} of the cluster gets name => [host, port].  That is
# before anything is started, so that members can be told where PgBouncer will be.
sub choose
{
	my ($cluster) = @_;
	my %missing = map { $_ => 1 } missing();

	return if !defined $cluster->health_path || $missing{haproxy};
	$cluster->{paths}{haproxy} = [ '127.0.0.1', PatroniCluster::free_port() ];
	return if $missing{pgbouncer};
	# we are the router of the members' networks, where 127.0.0.1 is their own
	$cluster->{paths}{pgbouncer} =
	  [ $cluster->{is_namespaced} ? "$cluster->{subnet}.0.1" : '127.0.0.1', PatroniCluster::free_port() ];
	$cluster->{pgbouncer_server} = [ '127.0.0.1', PatroniCluster::free_port() ];
}

# For a member's configuration: where to pause and resume; undef: nowhere.
sub pgbouncer_section
{
	my ($cluster) = @_;
	my $path = $cluster->{paths}{pgbouncer};

	return $path && {
		username => 'patroni',
		password => $cluster->{password},
		instances => { bench => { host => $path->[0], port => $path->[1], database => $cluster->{database},
				probe_database => "$cluster->{database}_probe" } },
	};
}

# They may be there before the members are.
sub start
{
	my ($cluster) = @_;

	start_haproxy($cluster) if $cluster->{paths}{haproxy};
	start_pgbouncer($cluster) if $cluster->{paths}{pgbouncer};
}

# For good.
sub stop
{
	my ($cluster) = @_;

	delete $cluster->{paths};
	$cluster->stop_beside($_, 'KILL') for qw(pgbouncer haproxy);
}

# A way through HAProxy to the server whose health check says that it leads.
sub section
{
	my ($cluster, $name, $address, $retries, $defaults) = @_;
	my $path = $cluster->health_path;
	my $servers = join '', map { "\tserver $_->{name} $_->{host}:$_->{port} check port $_->{rest_port}\n" } $cluster->nodes;

	return <<"END_OF_TEXT";
listen $name
	bind $address->[0]:$address->[1]
	option httpchk OPTIONS $path
	http-check expect status 200
	retries $retries
	default-server maxconn 100 $defaults
$servers
END_OF_TEXT
}

# For clients the configuration of Patroni's documentation, but asking every
# second; for PgBouncer that of docs/pgbouncer.md.
sub start_haproxy
{
	my ($cluster) = @_;
	my $sections = section($cluster, 'clients', $cluster->{paths}{haproxy}, 2,
		'inter 1s fall 2 rise 1 on-marked-down shutdown-sessions');

	$sections .= section($cluster, 'pgbouncer', $cluster->{pgbouncer_server}, 0, 'inter 100ms fall 1 rise 1')
	  if $cluster->{pgbouncer_server};
	PatroniCluster::spew("$cluster->{base}/haproxy.cfg", <<"END_OF_TEXT");
global
	maxconn 200
defaults
	mode tcp
	timeout client 30m
	timeout connect 1s
	timeout server 30m
	timeout check 1s
$sections
END_OF_TEXT
	$cluster->run_beside('haproxy', [ PatroniCluster::program('haproxy'), '-db', '-f', "$cluster->{base}/haproxy.cfg" ]);
}

# In transaction mode, as applications that want to feel nothing use it.
sub start_pgbouncer
{
	my ($cluster) = @_;

	$cluster->run_pgbouncer('pgbouncer', listen => $cluster->{paths}{pgbouncer}, server => $cluster->{pgbouncer_server},
		database => $cluster->{database}, users => { map { $_ => $cluster->{password} } qw(patroni writer) });
}

1;
