# run alone
# curl gets on with every endpoint, in whatever way it is called; and wrk, which
# asks as fast as it can while the primary changes, disturbs nothing.

use strict;
use warnings;

use IO::Socket::INET;
use PatroniCluster;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'curl is not installed' unless PatroniCluster::program('curl');

my $cluster = PatroniCluster->new('clients', members => 2, dcs => { ttl => 8, loop_wait => 2, retry_timeout => 2 },
	config => sub {
		my ($node, $config) = @_;

		$config->{restapi}{authentication} = { username => 'operator', password => 'curl secret' };
	});
$cluster->start;
my ($leader) = $cluster->leader;
my ($standby) = $cluster->standbys;

# (exit status, what it wrote)
sub curl
{
	my ($node, $path, @options) = @_;
	my ($status, $out) = PatroniCluster::run_command([ 'curl', '-sS', '-m', 10, @options,
			"http://$node->{host}:$node->{rest_port}$path" ]);

	return ($status, $out);
}

# --- every health check: curl -f fails where a load balancer would go elsewhere ---

$cluster->wait_for('the standby is ready', sub { $standby->rest('/readiness')->{status} == 200 });
for (
	[ '++', qw(/health /read-only /liveness /readiness /read-only?lag=1GB) ],
	[ '+-', qw(/ /primary /master /leader /read-write /read-only-sync /read-only-quorum) ],
	[ '-+', qw(/replica /async /asynchronous /replica?lag=100MB /replica?replication_state=streaming) ],
	[ '--', qw(/standby-leader /standby_leader /sync /synchronous /quorum /nothing /replica?tag_zone=a) ])
{
	my ($expected, @paths) = @$_;

	for my $path (@paths)
	{
		my @got = map { (curl($_, $path, '-f', '-o', '/dev/null'))[0] } $leader, $standby;

		is("@got", join(' ', map { $_ eq '+' ? 0 : 22 } split //, $expected), "curl -f $path: primary, standby");
	}
}
for my $path (qw(/patroni /cluster /history /config /metrics))
{
	my ($status, $out) = curl($standby, $path, '-f', '-w', '\n%{content_type} %{http_code}');
	my ($body, $type, $code) = $out =~ /^(.*)\n(\S+) (\d+)$/s;

	is("$status $code", '0 200', "curl -f $path");
	$path eq '/metrics' ? like($body, qr/^# TYPE /m, 'has series')
	  : ok($type eq 'application/json' && ref JSON::PP::decode_json($body), 'is JSON');
}

# --- in whatever way ---

my @write = ('-o', '/dev/null', '-w', '%{http_code} %{size_download} %{num_connects} ');
is((curl($leader, '/primary', '-I', @write))[1], '200 0 1 ', 'curl -I (HEAD)');
is((curl($standby, '/primary', '-I', @write))[1], '503 0 1 ', 'curl -I, of a standby');
is((curl($leader, '/primary', '-X', 'OPTIONS', @write))[1], '200 0 1 ', 'curl -X OPTIONS');
is((curl($leader, '/', '-X', 'OPTIONS', '--http1.0', @write))[1], '200 0 1 ', 'curl --http1.0 -X OPTIONS');
like((curl($leader, '/primary', '--http1.0', @write))[1], qr/^200 [1-9]\d+ 1 $/, 'curl --http1.0');
like((curl($leader, '/primary', '--compressed', '-L', @write))[1], qr/^200 [1-9]\d+ 1 $/, 'curl --compressed -L');

# A connection goes on when it is asked by GET, and ends without an error after anything else.
my $url = "http://$leader->{host}:$leader->{rest_port}/primary";
like((curl($leader, '/primary', @write, $url, '-o', '/dev/null', $url, '-o', '/dev/null'))[1],
	qr/^200 [1-9]\d+ 1 (?:200 [1-9]\d+ 0 ){2}$/, 'curl with three addresses: one connection');
like((curl($leader, '/primary', '-H', 'Connection: close', @write, $url, '-o', '/dev/null'))[1],
	qr/^200 [1-9]\d+ 1 200 [1-9]\d+ 1 $/, 'with Connection: close: one each');
like((curl($leader, '/primary', '-X', 'OPTIONS', @write, $url, '-o', '/dev/null'))[1], qr/^200 0 1 200 0 1 $/, 'and with OPTIONS');

# Who sends several requests at once gets the first one's answer, whole.
{
	my $n_whole = 0;

	for (1 .. 20)
	{
		my $socket = IO::Socket::INET->new(PeerAddr => $leader->{host}, PeerPort => $leader->{rest_port}) or die;
		my $answer = '';

		print $socket "GET /primary HTTP/1.1\r\nHost: x\r\n\r\n" x 50;
		1 while sysread $socket, $answer, 65536, length $answer;
		$n_whole++ if $answer =~ m{\AHTTP/1\.0 200 } && (() = $answer =~ m{HTTP/1}g) == 1
		  && eval { JSON::PP::decode_json((split /\r\n\r\n/, $answer, 2)[1]) };
	}
	is($n_whole, 20, 'requests in a row: the first one is answered');
}

# --- calls that change something ---

my @as = ('-u', 'operator:curl secret');
is((curl($leader, '/config', '-f', '-X', 'PATCH', '-d', '{"ttl": 9}'))[0], 22, 'without the password: refused');
is((curl($leader, '/config', @as, '-X', 'PATCH', '-d', '{"ttl": 9}', @write))[0], 0, 'with it: done');
my $begin = time;
like((curl($leader, '/config', '-f', @as, '-X', 'PATCH', '-H', 'Expect: 100-continue', '-d', '{"ttl": 8}'))[1], qr/"ttl": 8\b/,
	'with Expect: 100-continue');
cmp_ok(time - $begin, '<', 4, 'which waits for that no longer than curl does by itself');
is((curl($leader, '/config', @as, '-X', 'PATCH', '-H', 'Transfer-Encoding: chunked', '-d', '{"ttl": 9}', @write))[1] =~ /^(\d+)/
	  ? $1 : '', '411', 'in chunks: refused at once');
is((curl($leader, '/config', @as, '-X', 'DELETE', @write))[1] =~ /^(\d+)/ ? $1 : '', '501', 'a method that is none');
is($cluster->key_json('config')->{ttl}, 8, 'and only what was accepted was done');

# --- wrk ---

SKIP:
{
	skip 'wrk is not installed', 1 unless PatroniCluster::program('wrk');

	# it counts what it gets, and prints that when it is told to end
	PatroniCluster::spew("$cluster->{base}/count.lua", <<'LUA');
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() seen = {} end
function response(status)
	local key = tostring(status)
	seen[key] = (seen[key] or 0) + 1
end
function done(summary, latency)
	local errors = summary.errors
	for _, thread in ipairs(threads) do
		for status, count in pairs(thread:get("seen")) do io.write("status ", status, " ", count, "\n") end
	end
	io.write("failed ", errors.connect + errors.read + errors.write + errors.timeout, "\n")
	io.write("p99 ", latency:percentile(99) / 1000, "\n")
end
LUA

	# Change the primary over: how long that took by its own word, and the least that was left of the lease, in s.
	my $switch_over = sub {
		my $old = $cluster->leader;
		my ($new) = $cluster->standbys;
		my $measured = sub {
			return $new->rest('/metrics')->{content} =~ /^patroni_last_switchover_seconds\{.*phase="total"\} (\S+)$/m ? $1 : 0;
		};
		my $before = $measured->();

		$old->try_sql("SELECT patroni.switchover('$new->{name}', wait => false)");
		$cluster->wait_for_leader(is => $new);
		$cluster->wait_until_streaming;
		$cluster->wait_for('it is measured', sub { $measured->() != $before });
		return $measured->();
	};
	my $least = sub {
		my $node = $cluster->leader;
		my $least = 1e9;

		for (1 .. 60)
		{
			my ($left) = $node->rest('/metrics')->{content} =~ /^patroni_lease_remaining_seconds\{.*\} (\S+)$/m;

			$least = $left if $left < $least;
			Time::HiRes::usleep(50_000);
		}
		return $least;
	};
	my ($free, $loaded) = (1e9, 1e9);
	my @offsets = map { $_->log_size } $cluster->nodes;

	for (1 .. 2) { my $took = $switch_over->(); $free = $took if $took < $free; }
	my $least_free = $least->();
	$cluster->run_beside("wrk-$_->{name}", [ 'wrk', '-t1', '-c16', '-d', '300s', '--latency', '-s', "$cluster->{base}/count.lua",
			"http://$_->{host}:$_->{rest_port}/primary" ]) for $cluster->nodes;
	for (1 .. 2) { my $took = $switch_over->(); $loaded = $took if $took < $loaded; }
	my $least_loaded = $least->();
	for my $node ($cluster->nodes)
	{
		$cluster->stop_beside("wrk-$node->{name}", 'INT');
		my $said = PatroniCluster::slurp($cluster->log_beside("wrk-$node->{name}"));
		my %seen = $said =~ /^status (\d+) (\d+)$/mg;
		my ($p99) = $said =~ /^p99 (\S+)$/m;
		my ($rate) = $said =~ m{^Requests/sec:\s*(\S+)}m;

		is_deeply([ sort keys %seen ], [ 200, 503 ], "$node->{name}: wrk gets 200 and 503, and nothing else") or diag($said);
		like($said, qr/^failed 0$/m, 'and no errors') or diag($said);
		measured(sprintf('%s: %.0f requests/s, 99 %% within %.1f ms', $node->{name}, $rate, $p99));
	}
	measured(sprintf('the best of two switchovers: %.3f s without load, %.3f s under load', $free, $loaded));
	measured(sprintf('what was left of the lease at least: %.2f s without load, %.2f s under load (ttl 8, loop_wait 2)',
			$least_free, $least_loaded));
	cmp_ok($loaded, '<', 2 * $free + 0.3, 'a switchover takes no longer under load');
	cmp_ok($least_loaded, '>', 4, 'the lease is renewed in time under load');
	my @nodes = $cluster->nodes;
	my @late = grep { $_ ne '' } map { $nodes[$_]->log_text($offsets[$_]) =~ /^(.*lease is over.*|.*store does not answer.*)$/m ? $1 : '' } 0, 1;

	is_deeply(\@late, [], 'and nobody noticed anything');
}

unlike($_->log_text, qr/curl secret/, "the password is not in the log of $_->{name}") for $cluster->nodes;

done_testing();
