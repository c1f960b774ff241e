# run as root
# vip-manager keeps a virtual address on the primary: it moves at a switchover
# and when the primary's node is killed, frozen or cut off from the store.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $vip_manager = PatroniCluster::program('vip-manager');
plan skip_all => 'vip-manager is not installed' unless $vip_manager;
plan skip_all => 'network namespaces need root, and a machine that lets it'
  unless PatroniCluster::can_cut_networks;

# One port for all, which PostgreSQL serves at every address of the machine.
my $port = PatroniCluster::free_port();
my $cluster = PatroniCluster->new('vip', namespaces => 1, config => sub {
	my ($node, $config) = @_;

	$node->{port} = $port;
	$node->{sockets} = PatroniCluster::make_directory("$node->{cluster}{sockets}/$node->{number}");
	$config->{postgresql}{parameters} = { unix_socket_directories => $node->{sockets} };
	push @{ $config->{postgresql}{pg_hba} }, 'host all all 127.0.0.1/32 trust';
	$config->{postgresql}{listen} = "0.0.0.0:$port";
	$config->{postgresql}{connect_address} = "$node->{host}:$port";
});
my $vip = "$cluster->{subnet}.250.100";
$cluster->add_lan(250);
$cluster->start;
$cluster->create_writes_table;
$cluster->leader->sql('GRANT pg_monitor TO writer');		# it asks for data_directory

# --- examples/vip-manager.yml, with the addresses of the test ---

my $example = PatroniCluster::slurp('examples/vip-manager.yml');
for my $node ($cluster->nodes)
{
	my $config = $example;

	$config =~ s{http://10\.0\.0\.1:8008}{http://$node->{host}:$node->{rest_port}} or die;
	$config =~ s{/service/demo/}{/service/$cluster->{scope}/} or die;
	$config =~ s/^trigger-value: node1$/trigger-value: $node->{name}/m or die;
	$config =~ s/^ip: \S+$/ip: $vip/m or die;
	$config =~ s/^interface: \S+$/interface: lan/m or die;
	PatroniCluster::spew("$node->{directory}/vip-manager.yml", $config);
	$cluster->run_beside("vip-manager-$node->{name}",
		[ $vip_manager, '--config', "$node->{directory}/vip-manager.yml" ], in => $node->{name}, as_root => 1);
}

# Who has the address: "node1 node2".
sub holders
{
	return join ' ', map { $_->{name} }
	  grep { `ip -n $cluster->{subnet}-$_->{name} -4 -o addr show dev lan` =~ / inet \Q$vip\E\// } $cluster->nodes;
}

# Who answers there.
sub reached
{
	my ($status, $out) = PatroniCluster::run_command([ $cluster->in_namespace('hub'), 'psql', '-XAtq', '-c',
			"SELECT current_setting('data_directory')",
			"host=$vip port=$port user=writer dbname=postgres connect_timeout=2" ]);

	my ($node) = grep { $status == 0 && $_->{data_directory} eq $out } $cluster->nodes;

	return $node ? $node->{name} : 'nobody';
}

sub check_address
{
	my ($what, $node) = @_;
	my $holders;

	$cluster->wait_for("the address is on $node->{name}", sub { ($holders = holders()) eq $node->{name} },
		or_undef => 1);
	is($holders, $node->{name}, "$what: the address is on the primary alone");
	is(reached(), $node->{name}, "$what: who answers there");
}

my $first = $cluster->leader;
check_address('at first', $first);

# A client that knows only the address.
my $writer = $cluster->writer(nodes => [ { host => $vip, port => $port } ], in => 'hub', any => 1);

sub check_writes
{
	my ($what, $begin_us) = @_;

	$writer->wait_for_more;
	measured(sprintf('%s: no writes for %.1f s', $what, $writer->longest_gap($begin_us) / 1000));
}

my ($second) = $cluster->standbys;
my $begin_us = PatroniCluster::now_us();
$first->try_sql("SELECT patroni.switchover('$second->{name}', wait => false)");
$cluster->wait_for_leader(is => $second);
check_address('switchover', $second);
check_writes('switchover', $begin_us);
$cluster->wait_until_streaming;

# The node is gone, but the machine and vip-manager are there.
$begin_us = PatroniCluster::now_us();
$second->kill9;
my $third = $cluster->wait_for_leader(not => $second);
check_address('killed node', $third);
check_writes('killed node', $begin_us);
$second->start;
$cluster->wait_until_streaming;

# The member cannot reach the store: its lease ends.
$begin_us = PatroniCluster::now_us();
$cluster->cut($third, 'etcd');
my $fourth = $cluster->wait_for_leader(not => $third);
check_address('cut off from the store', $fourth);
check_writes('cut off from the store', $begin_us);
$cluster->join_again($third, 'etcd');
$cluster->wait_until_streaming;

# The member hangs, and its server with the connections; the machine does not.
$begin_us = PatroniCluster::now_us();
$fourth->freeze('all');
my $fifth = $cluster->wait_for_leader(not => $fourth);
check_address('frozen node', $fifth);
check_writes('frozen node', $begin_us);
$fourth->thaw;
$cluster->wait_until_streaming;
check_address('after all that', $fifth);

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
