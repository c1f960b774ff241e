# patroni_ctl when things are not as they should be: no store, no file, no reader, no terminal, a signal.
# Nobody runs the cluster, only the store holds it.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('trouble', members => 1);
my $ours = $ENV{PATRONI_CTL} // 'patroni_ctl';
my ($node) = $cluster->nodes;
my ($status, $out, $err);

# The program in the background, what it says in a file.
sub in_background
{
	my (@words) = @_;
	my $file = "$cluster->{base}/" . join '_', map { s/\W//gr } @words;

	return { file => $file, pid => PatroniCluster::spawn([ $ours, '-c', $node->{yaml}, @words ], $file) };
}

sub wait_until_it_says
{
	my ($run, $pattern, $after) = @_;

	return $cluster->wait_for("it says $pattern", sub { substr(PatroniCluster::slurp($run->{file}), $after // 0) =~ $pattern });
}

# How it ends, as a shell has it.
sub end_of
{
	my ($run) = @_;

	$cluster->wait_for('it ends', sub { waitpid($run->{pid}, POSIX::WNOHANG()) != 0 });
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

$cluster->start_etcd;
$cluster->put_key('config', '{"ttl": 30}');
$cluster->put_key('leader', 'node1');
$cluster->put_key('members/node1', '{"conn_url": "postgres://127.0.0.1:5432/postgres", "api_url": "http://127.0.0.1:1/patroni",'
	  . ' "state": "running", "role": "master", "timeline": 1}');

# --- who reads ---

# as a service manager starts it, SIGPIPE ignored, and as a shell does
for my $env ([], [ 'env', '--default-signal=PIPE' ])
{
	($status, $out) = PatroniCluster::run_command([ @$env, 'bash', '-c', '"$@" | head -n 1; echo "${PIPESTATUS[0]}"', 'bash', $ours,
			'-c', $node->{yaml}, 'list', '-w', '0.1' ], timeout => 15);
	like($out, @$env ? qr/\n141$/ : qr/\n1$/, 'list -w: ends when nobody reads on');
}
($status, $out, $err) = $cluster->patroni_ctl('switchover');
is($status, 1, 'no terminal, and no answer to a question');
like($err, qr/^Aborted!$/m, 'is an end');

# --- signals ---

my $run = in_background('list', '-w', '0.3');
wait_until_it_says($run, qr/^\+ Cluster/m);
kill 'INT', $run->{pid};
is(end_of($run), 1, 'Ctrl-C ends what is repeated');
like(PatroniCluster::slurp($run->{file}), qr/\nAborted!\n$/, 'and says so');
$run = in_background('list', '-W');
wait_until_it_says($run, qr/^\+ Cluster/m);
kill 'TERM', $run->{pid};
is(end_of($run), 128 + 15, 'so does another signal');

# --- files ---

sub complains
{
	my ($what, $file, $pattern) = @_;

	($status, $out, $err) = $cluster->patroni_ctl({ config => $file }, 'list');
	ok($status == 1 && $err =~ $pattern, $what) or diag("$status $out $err");
}

complains('no file', "$cluster->{base}/none.yml", qr/^Error: .*none\.yml not existing or no read rights/);
PatroniCluster::spew("$cluster->{base}/broken.yml", "scope: [1\n");
complains('broken YAML', "$cluster->{base}/broken.yml", qr/^Error: .*broken\.yml:\d+:\d+: cannot read the YAML/);
PatroniCluster::spew("$cluster->{base}/text.yml", "hello\n");
complains('no map', "$cluster->{base}/text.yml", qr/^Error: .*text\.yml: the file does not contain a map/);
PatroniCluster::spew("$cluster->{base}/none_there.yml", '');
complains('an empty file', "$cluster->{base}/none_there.yml", qr/^Error: .*the configuration is empty/);

# --- no store ---

my $watching = in_background('list', '-w', '0.2');
wait_until_it_says($watching, qr/^\+ Cluster/m);
$cluster->stop_etcd;
my $once = in_background('list');
my $explaining = in_background('explain');
wait_until_it_says($_, qr/^Error: could not read the store within 10 seconds: could not reach etcd at "http:/m)
  for $watching, $once, $explaining;
is(end_of($_), 1, 'without a store it ends after 10 seconds and says why') for $once, $explaining;
my $shown = -s $watching->{file};
$cluster->start_etcd;
ok(wait_until_it_says($watching, qr/^\+ Cluster/m, $shown), 'what is repeated outlives an outage');
kill 'TERM', $watching->{pid};
is(end_of($watching), 128 + 15, 'and ends when it is told to');

done_testing();
