# HAProxy in front of a cluster leads clients to the primary and to the standbys,
# also while the primary changes: with Patroni's usual template, and with ours.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $haproxy = PatroniCluster::program('haproxy');
plan skip_all => 'haproxy or openssl is not installed'
  if !$haproxy || !PatroniCluster::program('openssl');

# node3 answers over HTTPS, and only to those who have a certificate; the others over HTTP.
my $cluster = PatroniCluster->new('haproxy', https => ['node3']);
my $certificate = $cluster->{certificate};

# --- its configuration: examples/haproxy.cfg, and what is in use with Patroni ---

my %port = map { $_ => PatroniCluster::free_port } qw(stats primary replicas template get head lag);
my $config = PatroniCluster::slurp('examples/haproxy.cfg');

# one listener as in Patroni's own example, with the checks that people have
sub listener
{
	my ($name, $check) = @_;

	return "\nlisten $name\n    bind *:5000\n    option httpchk$check\n    http-check expect status 200\n"
	  . "    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions\n"
	  . join('', map { "    server $_ 10.0.0.$_:5432 maxconn 100 check port 8008\n" } 1 .. 3);
}

like($config, qr/^listen primary\n(?:    .*\n)+\nlisten replicas\n(?:    .*\n)+\z/m, 'the example has both listeners');
is(PatroniCluster::slurp('docs/clients.md') =~ /^    (listen primary\n(?:    .*\n|\n)+?)(?=^\S)/m
	  ? $1 =~ s/^    //mgr =~ s/\n+\z/\n/r : '', $config =~ /^(listen primary\n.*)/ms ? $1 : '?',
	'docs/clients.md shows them as they are');

$config .= listener('template', '') . listener('get', ' GET /primary') . listener('head', ' HEAD /primary')
  . listener('lag', ' OPTIONS /replica?lag=16MB');
$config =~ s/^(global\n)/$1    log stdout format raw local0 notice\n/m;
$config =~ s/^(listen (\w+)\n(?:    mode http\n)?    bind )\*:\d+/${1}127.0.0.1:$port{$2}/mg;
$config =~ s{^    server (?:node)?(\d) 10\.0\.0\.\d:5432 (.*) port 8008$}{
	my $node = $cluster->node("node$1");
	my $tls = $1 == 3 ? " check-ssl verify required ca-file $certificate.crt crt $certificate.pem" : '';
	"    server $node->{name} $node->{host}:$node->{port} $2 port $node->{rest_port}$tls" }meg;
PatroniCluster::spew("$cluster->{base}/haproxy.cfg", $config);
PatroniCluster::spew("$certificate.pem", join '', map { PatroniCluster::slurp("$certificate.$_") } qw(crt key));

my ($status, $out, $err) = PatroniCluster::run_command([ $haproxy, '-c', '-f', "$cluster->{base}/haproxy.cfg" ]);
is($status, 0, 'haproxy takes the configuration') or diag("$out\n$err");

$cluster->start;
$cluster->create_writes_table;
$cluster->run_beside('haproxy', [ $haproxy, '-db', '-f', "$cluster->{base}/haproxy.cfg" ]);

# --- what it thinks, and where it leads to ---

# listener => "node1 node3": who is up
sub up
{
	my $csv = HTTP::Tiny->new(timeout => 3)->get("http://127.0.0.1:$port{stats}/;csv")->{content};
	my ($head, @lines) = split /\n/, $csv =~ s/^# //r;
	my @names = split /,/, $head;
	my %up = map { $_ => [] } keys %port;

	for (@lines)
	{
		my %row;

		@row{@names} = split /,/, $_, -1;
		push @{ $up{ $row{pxname} } }, $row{svname} if $row{svname} =~ /^node/ && $row{status} =~ /^UP/;
	}
	return { map { $_ => join(' ', sort @{ $up{$_} }) } keys %up };
}

sub wait_until_up
{
	my ($primary, @standbys) = @_;
	my $standbys = join ' ', sort map { $_->{name} } @standbys;
	my $up;

	$cluster->wait_for("haproxy has $primary->{name} as the primary, and as standbys $standbys", sub {
		$up = eval { up() } or return;
		return $up->{replicas} eq $standbys && $up->{lag} eq $standbys && !grep { $up->{$_} ne $primary->{name} } qw(primary template get head);
	}, every_ms => 100, or_undef => 1);
	is_deeply($up, { %$up, replicas => $standbys, lag => $standbys, map { $_ => $primary->{name} } qw(primary template get head) },
		"its checks find $primary->{name} to be the primary, by GET, HEAD, OPTIONS and HTTP/1.0");
}

# The member that one gets to, and whether it is a standby.
sub reached
{
	my ($listener) = @_;
	my ($status, $out) = PatroniCluster::run_command([ 'psql', '-XAtq', '-F', ' ', '-c',
			'SELECT inet_server_port(), pg_is_in_recovery()',
			"host=127.0.0.1 port=$port{$listener} user=writer dbname=postgres connect_timeout=3" ]);
	my ($at, $is_standby) = split / /, $out;
	my ($node) = grep { $status == 0 && $_->{port} == $at } $cluster->nodes;

	return $node ? "$node->{name} $is_standby" : 'nobody';
}

sub check_ways
{
	my ($what) = @_;
	my $leader = $cluster->leader;
	my %seen;

	is(reached($_), "$leader->{name} f", "$what: \"$_\" leads to the primary") for qw(primary template get head);
	$seen{ reached('replicas') }++ for 1 .. 4;
	is_deeply([ sort keys %seen ], [ map { "$_->{name} t" } sort { $a->{name} cmp $b->{name} } $cluster->standbys ],
		"$what: \"replicas\" to the standbys");
}

my $first = $cluster->leader;
wait_until_up($first, $cluster->standbys);
check_ways('at first');

# --- clients that write, and the primary changes ---

# They take whatever server they get, and never lose patience.
sub writer_through
{
	return $cluster->writer(nodes => [ { host => '127.0.0.1', port => $port{ $_[0] } } ], any => 1, patience_ms => 0);
}

my %writers = map { $_ => writer_through($_) } qw(primary template);

sub check_writers
{
	my ($what, $begin_us) = @_;

	for my $listener (sort keys %writers)
	{
		my $writer = $writers{$listener};

		$writer->wait_for_more(20);
		measured(sprintf('%s: no writes through "%s" for %.1f s', $what, $listener, $writer->longest_gap($begin_us) / 1000));
	}
}

my $second = $cluster->node('node3');
my $begin_us = PatroniCluster::now_us();
$first->try_sql("SELECT patroni.switchover('node3', wait => false)");
$cluster->wait_for_leader(is => $second);
$cluster->wait_until_streaming;
wait_until_up($second, $cluster->standbys);
check_writers('switchover', $begin_us);
check_ways('after a switchover, to a member with HTTPS');

$begin_us = PatroniCluster::now_us();
$second->kill9;
my $third = $cluster->wait_for_leader(not => $second);
wait_until_up($third, $cluster->standbys);
check_writers('killed primary', $begin_us);
$second->start;
$cluster->wait_until_streaming;

# One that hangs does not close its connections; HAProxy does, once its checks fail.
delete($writers{template})->stop;
$begin_us = PatroniCluster::now_us();
$third->freeze('all');
my $fourth = $cluster->wait_for_leader(not => $third);
$cluster->wait_for('haproxy has one primary', sub { up()->{primary} eq $fourth->{name} }, every_ms => 100);
check_writers('frozen primary', $begin_us);
is(reached('primary'), "$fourth->{name} f", 'after a frozen primary: "primary" leads to the new one');
$third->thaw;
$cluster->wait_until_streaming;

$_->stop for values %writers;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

# --- those who keep away ---

my ($tagged, $other) = $cluster->standbys;
$tagged->{config}{tags} = { noloadbalance => JSON::PP::true };
$tagged->write_config;
$tagged->reload;
$cluster->wait_for('a member that is tagged noloadbalance gets no clients', sub {
	up()->{replicas} eq $other->{name};
}, every_ms => 100);
ok(1, 'a member that is tagged noloadbalance gets no clients');

unlike(PatroniCluster::slurp($cluster->log_beside('haproxy')), qr/invalid response|protocol error/i, 'haproxy understood every answer');

done_testing();
