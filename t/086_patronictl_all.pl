# Every command of Patroni's command line does its work on our members: those that
# t/035_patronictl.pl leaves out.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

plan skip_all => 'patronictl is not installed'
  if system('patronictl version > /dev/null 2>&1') != 0;

my $cluster = PatroniCluster->new('ctlall', members => 2, config => sub {
	my ($node, $config) = @_;

	$config->{restapi}{authentication} = { username => 'operator', password => 'ctl secret' };
});
$cluster->start;
my $scope = $cluster->{scope};
my $first = $cluster->leader;
my ($second) = $cluster->standbys;
my ($one, $two) = ($first->{name}, $second->{name});
my ($status, $out, $err);

# Run it; it must succeed, and say that.
sub ctl
{
	my ($what, $pattern, @words) = @_;

	($status, $out, $err) = $cluster->patronictl(@words);
	shift @words if ref $words[0];
	ok($status == 0 && $out =~ $pattern, "$words[0]: $what") or diag("status $status\n$out\n$err");
}

sub started_at { return $_[0]->sql('SELECT pg_postmaster_start_time()'); }

sub history { return scalar @{ $cluster->key_json('history') // [] }; }

# --- what is shown ---

$cluster->wait_for('both have said that they run', sub {
	2 == grep { ($cluster->key_json("members/$_->{name}") // {})->{state} eq 'running'
		  && $cluster->key_json("members/$_->{name}")->{version} } $cluster->nodes;
});
ctl('its own', qr/^patronictl version \d+\.\d+\.\d+$/, 'version');
ctl('of each member', qr/^\Q$one\E: Patroni \d+\.\d+\.\d+ PostgreSQL 15\.\d+$/m, 'version', $scope);
like($out, qr/^\Q$two\E: Patroni \d+\.\d+\.\d+ PostgreSQL 15\.\d+$/m, 'version: of the other one');
ctl('of one member', qr/^\Q$two\E: Patroni \S+ PostgreSQL 15\.\d+$/m, 'version', $scope, $two);
unlike($out, qr/^\Q$one\E:/m, 'version: of that one alone');
ctl('who follows whom', qr/^\| \Q$one\E +\| \S+ +\| Leader +\| running +\|  1 \| +\|\n\| \+ \Q$two\E +\| \S+ +\| Replica +\| (running|streaming) +\|  1 \| +0 \|$/m,
	'topology', $scope);
ctl('of the leader', qr/^host=$first->{host} port=$first->{port}$/, 'dsn', $scope);
ctl('of a standby', qr/^host=$second->{host} port=$second->{port}$/, 'dsn', $scope, '-r', 'replica');
$first->sql('CREATE ROLE reader LOGIN');
is((PatroniCluster::run_command([ 'psql', '-XAtqc', 'SELECT pg_is_in_recovery()',
			($cluster->patronictl('dsn', $scope, '-m', $one))[1] . ' user=reader dbname=postgres' ]))[1], 'f', 'dsn: one can connect with it');
my %as = (environment => { PGUSER => 'postgres', PGPASSWORD => $first->{passwords}{superuser} });
ctl('the primary', qr/^in\nFalse$/, \%as, 'query', $scope, '-c', 'SELECT pg_is_in_recovery() AS "in"', '-d', 'postgres');
ctl('a standby', qr/^in\nTrue$/, \%as, 'query', $scope, '-r', 'replica', '-c', 'SELECT pg_is_in_recovery() AS "in"', '-d', 'postgres');
ctl('a table', qr/^\| a \| b \|$/m, \%as, 'query', $scope, '-m', $two, '-c', 'SELECT 1 AS a, 2 AS b', '-d', 'postgres', '--format', 'pretty');

# --- settings ---

PatroniCluster::spew("$cluster->{base}/patch.yml", "postgresql:\n  parameters:\n    work_mem: 9MB\n    max_connections: 130\n");
ctl('a file', qr/^\+    work_mem: 9MB$/m, 'edit-config', $scope, '--apply', "$cluster->{base}/patch.yml", '--force');
like($out, qr/Configuration changed/, 'edit-config: says so');
$_->wait_for_sql("SELECT setting = '9216' FROM pg_settings WHERE name = 'work_mem'") for $cluster->nodes;
ok(1, 'and every member takes it over');
ctl('shows it', qr/^    max_connections: 130$/m, 'show-config', $scope);
($status, $out, $err) = $cluster->patronictl({ input => "n\n" }, 'edit-config', $scope, '-s', 'ttl=40');
is($cluster->key_json('config')->{ttl}, 3, 'edit-config: who says no changes nothing');

$second->{config}{tags} = { zone => 'blue' };
$second->write_config;
ctl('one member', qr/^Reload request received for member \Q$two\E and will be processed within 1 seconds$/m, 'reload', $scope, $two, '--force');
$cluster->wait_for('reload: the member reads its file', sub {
	(($cluster->key_json("members/$two") // {})->{tags} // {})->{zone};
}, or_undef => 1);
is($cluster->key_json("members/$two")->{tags}{zone}, 'blue', 'reload: the member reads its file');

# --- restarts ---

$cluster->wait_for('a restart is pending', sub {
	2 == grep { ($cluster->key_json("members/$_->{name}") // {})->{pending_restart} } $cluster->nodes;
});
my $before = started_at($first);
ctl('those that wait for it', qr/^Success: restart on member \Q$two\E$/m, 'restart', $scope, '--pending', '-r', 'replica', '--force');
is($second->sql('SHOW max_connections'), 130, 'restart: with the new setting');
is(started_at($first), $before, 'restart: not the other role');
ctl('the leader', qr/^Success: restart on member \Q$one\E$/m, 'restart', $scope, $one, '--force', '--timeout', 30);
isnt(started_at($first), $before, 'restart: happens');
is($cluster->wait_for_leader, $first, 'restart: who led leads');
ctl('a version', qr/Failed: restart for member \Q$one\E, status code=503, \(restart conditions are not satisfied/, 'restart', $scope, $one,
	'--force', '--pg-version', '9.5.2');
$cluster->wait_until_streaming;

# what is scheduled is shown, forgotten, and at another time done
sub in_seconds { return $_[0]->sql("SET TimeZone TO 'UTC'; SELECT to_char(now() + interval '$_[1] s', 'YYYY-MM-DD\"T\"HH24:MI:SS')"); }

my $time = in_seconds($first, 3600);
ctl('at a time', qr/^Success: restart scheduled on member \Q$two\E$/m, 'restart', $scope, $two, '--force', '--scheduled', "$time+00:00");
$cluster->wait_for('it is published', sub { ($cluster->key_json("members/$two") // {})->{scheduled_restart} });
ctl('shows the time', qr/^\| \Q$two\E +\| .* \Q$time\E(?:\.0+)?\+00:00 \|/m, 'list', $scope, '-e');
ctl('a restart', qr/^Success: flush scheduled restart for member \Q$two\E$/m, 'flush', $scope, $two, 'restart', '--force');
$cluster->wait_for('it is forgotten', sub { !($cluster->key_json("members/$two") // {})->{scheduled_restart} });
$before = started_at($second);
$time = in_seconds($first, 8);
ctl('soon', qr/^Success: restart scheduled on member \Q$two\E$/m, 'restart', $scope, $two, '--force', '--scheduled', "$time+00:00");
$cluster->wait_for('a scheduled restart', sub {
	my ($status, $out) = $second->try_sql('SELECT pg_postmaster_start_time()', timeout => 3);
	return $status == 0 && $out ne $before;
});
is($second->sql("SELECT pg_postmaster_start_time() >= '$time+00:00'"), 't', 'restart: at its time');

# --- pause: nobody takes over ---

$cluster->wait_until_streaming;
ctl('waits', qr/^'pause' request sent, waiting until it is recognized by all nodes\nSuccess: cluster management is paused$/, 'pause', $scope, '--wait');
ctl('is shown', qr/^ Maintenance mode: on$/m, 'list', $scope);
$first->kill9_part('postmaster');
$cluster->wait_for('the leader key is given up', sub { !defined $cluster->key('leader') });
is($second->sql('SELECT pg_is_in_recovery()'), 't', 'pause: a dead primary has no successor');
is(history(), 0, 'pause: the cluster is as it was');
ctl('waits', qr/^'resume' request sent, waiting until it is recognized by all nodes\nSuccess: cluster management is resumed$/, 'resume', $scope, '--wait');
my $leader = $cluster->wait_for_leader;
my ($standby) = grep { $_ != $leader } $cluster->nodes;
$cluster->wait_until_streaming;
ok($leader, 'resume: somebody leads');

# --- another leader ---

my $n = history();
ctl('a candidate', qr/Successfully (failed|switched) over to "\Q$standby->{name}\E"/, 'failover', $scope, '--candidate', $standby->{name}, '--force');
is($cluster->wait_for_leader(is => $standby), $standby, 'failover: it leads');
$cluster->wait_until_streaming;
$cluster->wait_for('the history has it', sub { history() > $n });
ctl('who it was', qr/^\| +\d+ \| +\d+ \| no recovery target specified \| \S+ \| \Q$standby->{name}\E +\|$/m, 'history', $scope);
($leader, $standby) = ($standby, $leader);
ctl('at a time', qr/Switchover scheduled$/m, 'switchover', $scope, '--leader', $leader->{name}, '--candidate', $standby->{name}, '--force', '--scheduled',
	in_seconds($leader, 8) . '+00:00');
is($cluster->wait_for_leader(is => $standby), $standby, 'switchover: happens by itself');
($leader, $standby) = ($standby, $leader);
$cluster->wait_until_streaming;

# --- a new copy ---

PatroniCluster::spew("$standby->{data_directory}/left_behind", '');
ctl('waits', qr/^Success: reinitialize for member \Q$standby->{name}\E\nWaiting for reinitialize to complete on: \Q$standby->{name}\E\nReinitialize is completed on: \Q$standby->{name}\E$/m,
	'reinit', $scope, $standby->{name}, '--force', '--wait');
ok(!-e "$standby->{data_directory}/left_behind", 'reinit: the data directory is a new one');
$cluster->wait_until_streaming;

# --- the end of the cluster ---

($status, $out, $err) = $cluster->patronictl({ input => "$scope\nYes I am aware\nnobody\n" }, 'remove', $scope);
isnt($status, 0, 'remove: not without the name of the leader');
is($cluster->key('leader'), $leader->{name}, 'remove: who says no removes nothing');
$_->stop for $standby, $leader;
ctl('what nobody runs', qr/Yes I am aware/, { input => "$scope\nYes I am aware\n" }, 'remove', $scope);
is($cluster->key($_), undef, "remove: $_ is gone") for qw(config initialize history status leader), "members/$one";

done_testing();
