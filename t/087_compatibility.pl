# The REST API answers as that of Debian's Patroni does, in every state of a
# node, but for what t/lib/IntendedDifferences.pm lists.
#
# Two clusters of two members, theirs and ours, are led through the same states
# and asked for the same.  PATRONI_TEST_ALL_STATES=yes: also with the store down, and
# calls that really move the leader or copy a member again.
# PATRONI_WRITE_COMPATIBILITY=FILE writes what was found as docs/compatibility.md
# ("make compatibility").

use strict;
use warnings;

use Compatibility;
use PatroniCluster;
use Test::More;
use Time::HiRes qw(time usleep);

plan skip_all => 'patroni is not installed'
  if system('patroni --version > /dev/null 2>&1') != 0;

my @programs = ('patroni', undef);
my $credentials = 'operator:compatible';
my $table = Compatibility->new;
my $begun = time;
my $with_all = $ENV{PATRONI_TEST_ALL_STATES};

my @clusters = map {
	PatroniCluster->new($_, members => 2, dcs => { ttl => 5, loop_wait => 1, retry_timeout => 2 }, config => sub {
		my ($node, $config) = @_;
		my $block = "$node->{directory}/block";

		$config->{restapi}{authentication} = { username => 'operator', password => 'compatible' };
		$config->{tags} = { rack => 'b', nice => JSON::PP::true, number => 7 };
		# lets a test hold a start for as long as this file is there
		$config->{postgresql}{recovery_conf} =
		  { restore_command => "sh -c 'while test -e $block; do sleep 0.05; done; false'" };
	})
} 'theirs', 'ours';
my %names;		# of a cluster: {node1 => 'LEADER', node2 => 'STANDBY'}

sub start { my ($c, $name) = @_; $clusters[$c]->node($name)->start($programs[$c] ? (program => $programs[$c]) : ()); }

# For both clusters, numbered.
sub both { my ($do) = @_; $do->($_) for 0, 1; }

sub wait_both
{
	my ($what, $check) = @_;

	both(sub { my ($c) = @_; $clusters[$c]->wait_for("$clusters[$c]{name}: $what", sub { $check->($c) }, every_ms => 50); });
}

sub status_of { my ($node, $path) = @_; return $node->rest($path)->{status}; }
sub document { my ($node) = @_; return $node->rest('/patroni')->{json} // {}; }

my (@primary, @standby);

# Stop the server of a paused member, as an operator does.  Patroni takes a postmaster
# for running until its parent, init, has taken note of its end, and would start it
# again: so it does not look before that.
sub stop_paused
{
	my ($c, $node) = @_;

	for (1 .. 5)
	{
		my $pid = $node->postmaster_pid;

		$node->freeze('supervisor') if $programs[$c];
		$node->stop_server;
		for (1 .. 200) { last unless -e "/proc/$pid"; usleep(50_000); }
		$node->thaw;
		$clusters[$c]->wait_for("$node->{name} is shown as stopped, or started again", sub {
			(document($node)->{state} // '') eq 'stopped' || $node->postmaster_pid;
		}, every_ms => 50);
		return unless $node->postmaster_pid;
		$clusters[$c]->wait_for("$node->{name} runs again", sub { (document($node)->{state} // '') eq 'running' });
	}
	die "the server of $node->{name} is not seen to be stopped\n";
}

# Find out who leads; the roles of the clusters need not be those of the same names.
sub find_roles
{
	both(sub {
		my ($c) = @_;

		$primary[$c] = $clusters[$c]->wait_for_leader;
		($standby[$c]) = grep { $_ != $primary[$c] } $clusters[$c]->nodes;
		$names{$c} = { $primary[$c]{name} => 'LEADER', $standby[$c]{name} => 'STANDBY' };
	});
}

sub wait_until_streaming
{
	find_roles();
	$_->wait_until_streaming for @clusters;
	# for xlog.replayed_timestamp: a commit since the start
	$_->sql('SELECT pg_current_xact_id()') for @primary;
	wait_both('both members are shown as running', sub {
		my ($c) = @_;
		my $members = $primary[$c]->rest('/cluster')->{json}{members} // [];

		return status_of($primary[$c], '/primary') == 200 && status_of($standby[$c], '/replica') == 200
		  && 2 == grep { $_->{state} =~ /^(running|streaming)$/ && $_->{timeline} } @$members;
	});
}

sub column
{
	my ($id, $title, $nodes) = @_;

	$table->add_column($id, $title);
	return [ $id, @$nodes, [ @names{ 0, 1 } ] ];
}

sub is_compatible
{
	for my $column (@_)
	{
		my @found = $table->unintended($column->[0]);

		is(scalar @found, 0, "$table->{title}{$column->[0]}: " . $table->count($column->[0]) . ' answers') or diag(map { "  $column->[0] $_\n" } @found);
	}
	note(sprintf '%.1f s', time - $begun);
}

sub configure
{
	my ($patch) = @_;

	both(sub {
		my ($c) = @_;
		my $response = $clusters[$c]->node('node1')->rest('/config', method => 'PATCH', auth => $credentials, body => $patch);

		is($response->{status}, 200, "$clusters[$c]{name}: configuration changed") or diag($response->{content});
	});
}

# --- what is asked for ---

my @paths = qw(/ /primary /master /read-write /leader /standby-leader /standby_leader /replica /read-only /health /sync
  /synchronous /async /asynchronous /quorum /read-only-sync /read-only-synchronous /read-only-quorum /liveness /readiness
  /patroni /cluster /history /config /metrics /failsafe /nothing);
my @parameters = qw(/replica?lag=100kB /replica?lag=100MB /replica?lag=0.5MB /replica?lag=nonsense /replica?lag=
  /replica?lag=100kB&lag=100MB /read-only?lag=100kB /async?lag=100kB /sync?lag=100kB /readiness?lag=100kB
  /readiness?mode=write&lag=100kB /replica?replication_state=streaming /replica?replication_state=in+archive+recovery
  /replica?tag_rack=b /replica?tag_rack=c /replica?tag_rack= /replica?tag_nice=true /replica?tag_nice=True /replica?tag_number=7
  /replica?tag_rack=b&tag_number=8 /replica?tag_absent=1 /primary?tag_rack=c /health?tag_rack=c /read-only?tag_rack=c /async?tag_rack=b
  /replica?other=1 /replica/x /x/replica/y /primary/x /patroni/x /cluster/x /Primary);
my @checks = map { my $method = $_; map { [ "$method $_", Compatibility::request_bytes($method, $_) ] }
	  ($method eq 'GET' ? (@paths, @parameters) : (@paths, '/replica?lag=100kB', '/replica?tag_rack=c')) } qw(GET HEAD OPTIONS);
push @checks, [ 'OPTIONS / HTTP/1.0', "OPTIONS / HTTP/1.0\r\n\r\n" ], [ 'HEAD /replica HTTP/1.0', "HEAD /replica HTTP/1.0\r\n\r\n" ];

sub call
{
	my ($column, $what, $body, %option) = @_;
	my ($method, $path) = split / /, $what;
	my @texts = map {
		my $text = ref $body ? $body->[$_] : $body;
		my %real = reverse %{ $names{$_} };

		$text =~ s/\b(LEADER|STANDBY)\b/$real{$1}/g if defined $text;
		Compatibility::request_bytes($method, $path, credentials => $credentials, %option, body => $text)
	} 0, 1;

	return $table->call($column, $what . (ref $body ? ' (the same)' : defined $body ? " $body" : '') . ($option{name} // ''), @texts);
}

# --- nobody has made the cluster ---

$_->start_etcd for @clusters;
$_->put_key('initialize', '') for @clusters;
both(sub { start($_[0], 'node1') });
%names = (0 => {}, 1 => {});
wait_both('waits for others', sub { (document($clusters[ $_[0] ]->node('node1'))->{dcs_last_seen} // 0) > 0 });
my $w = column('W', 'waits for the cluster to be made', [ map { $_->node('node1') } @clusters ]);
$table->probe([$w], \@checks);
is_compatible($w);
$_->delete_key('initialize') for @clusters;
find_roles();
both(sub { start($_[0], 'node2') });
wait_until_streaming();

# --- all is well ---

my $p = column('P', 'primary', \@primary);
my $s = column('S', 'standby', \@standby);
$table->probe([ $p, $s ], \@checks);

# who may change something
my @calls = ('PATCH /config', 'PUT /config', 'POST /reload', 'POST /switchover', 'POST /failover', 'DELETE /switchover',
	'POST /restart', 'DELETE /restart', 'POST /reinitialize', 'POST /sigterm', 'POST /citus', 'POST /mpp', 'POST /failsafe');
for my $what (@calls)
{
	call($p, $what, undef, credentials => undef, name => ' without credentials');
	call($p, $what, undef, credentials => 'operator:wrong', name => ' with wrong credentials');
}
call($p, 'POST /reload', undef, credentials => undef, headers => "Authorization: Bearer x\r\n", name => ' with another kind of credentials');
call($p, 'POST /reload', undef, credentials => '', name => ' with empty credentials');

# bodies that are none
for my $what (@calls)
{
	next if $what =~ /reload|DELETE|sigterm|reinitialize/;
	for my $body (undef, '', '{}', '[]', '"x"', '{', "\xff\xfe")
	{
		next if $what =~ /restart/ && ($body // '') =~ /^(\{\})?$/;		# that is a restart
		call($p, $what, $body, name => !defined $body ? ' without a body' : $body eq '' ? ' with an empty body'
			: $body =~ /\xff/ ? '' : '');
	}
}
call($p, 'POST /reinitialize', $_) for '[]', '{';
call($p, 'POST /reinitialize', undef);

# what is no path or no method
call($p, $_, undef) for 'POST /', 'POST /nothing', 'PUT /nothing', 'PATCH /nothing', 'DELETE /nothing', 'DELETE /config', 'PUT /restart',
  'PATCH /restart', 'GET /restart', 'GET /switchover', 'POST /config', 'POST /patroni', 'POST /cluster', 'FOO /', 'get /primary',
  'TRACE /', 'CONNECT /', 'POST /reload/x', 'POST /reload?x=1';
for my $raw ([ 'GET', "GET\r\n\r\n" ], [ 'GET /primary (HTTP/0.9)', "GET /primary\r\n\r\n" ], [ 'GET /primary HTTP/3', "GET /primary HTTP/3\r\n\r\n" ],
	[ 'GET /primary HTTP/2.0', "GET /primary HTTP/2.0\r\n\r\n" ], [ 'GET /primary HTTP/x.y', "GET /primary HTTP/x.y\r\n\r\n" ],
	[ 'GET /primary FTP/1.0', "GET /primary FTP/1.0\r\n\r\n" ], [ 'GET  /primary  HTTP/1.0 (blanks)', "GET  /primary  HTTP/1.0\r\n\r\n" ],
	[ 'GET /primary HTTP/1.1 (without Host)', "GET /primary HTTP/1.1\r\nConnection: close\r\n\r\n" ],
	[ 'GET /primary HTTP/1.0 more', "GET /primary HTTP/1.0 more\r\n\r\n" ],
	[ 'GET http://host/primary', "GET http://host/primary HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n" ],
	[ 'GET //primary', "GET //primary HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n" ],
	[ 'GET primary', "GET primary HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n" ],
	[ 'GET /%70rimary', "GET /%70rimary HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n" ],
	[ 'OPTIONS *', "OPTIONS * HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n" ],
	[ 'GET /primary (lines end with LF)', "GET /primary HTTP/1.0\n\n" ],
	[ 'an empty line', "\r\n\r\n" ], [ 'bytes that are no text', "\x16\x03\x01\x02\x00\x01\xfc\r\n\r\n" ],
	[ 'a path of 2000 bytes', 'GET /' . 'x' x 2000 . " HTTP/1.0\r\n\r\n" ],
	[ 'a path of 70000 bytes', 'GET /' . 'x' x 70000 . " HTTP/1.0\r\n\r\n" ],
	[ 'a header of 70000 bytes', "GET /primary HTTP/1.0\r\nX: " . 'x' x 70000 . "\r\n\r\n" ],
	[ '101 headers', "GET /primary HTTP/1.0\r\n" . "X: x\r\n" x 101 . "\r\n" ],
	[ 'a header without colon', "GET /primary HTTP/1.0\r\nnothing\r\n\r\n" ],
	[ 'GET /primary with a body', Compatibility::request_bytes('GET', '/primary', body => 'nothing') ],
	map { my ($name, $headers) = @$_; [ "POST /switchover, $name", Compatibility::request_bytes('POST', '/switchover', credentials => $credentials, headers => $headers) ] }
	  [ 'Content-Length: x', "Content-Length: x\r\n" ],
	  [ 'chunked', "Transfer-Encoding: chunked\r\n" ])
{
	$table->call($p, @$raw);
}

# calls that are refused, or nothing to do
call($p, 'POST /reload', undef);
call($s, 'POST /reload', undef);
call($p, 'POST /sigterm', undef);
call($p, 'POST /citus', '{"type": "after_promote", "group": 1, "leader": "x", "timeout": 1, "cooldown": 1}');
call($p, 'POST /mpp', '{"type": "after_promote", "group": 1, "leader": "x", "timeout": 1, "cooldown": 1}');
call($p, 'POST /failsafe', '{"name": "LEADER", "conn_url": "x", "api_url": "x"}');
call($s, 'POST /failsafe', '{"name": "LEADER", "conn_url": "x", "api_url": "x"}');
call($_, 'PATCH /config', '{"loop_wait": 1}') for $p, $s;
call($p, 'PATCH /config', '{"mine": {"of": 1}}');
call($p, 'PATCH /config', '{"mine": {"of": null, "other": [1, "x", true]}}');
call($p, 'PATCH /config', '{"mine": null}');
call($p, 'PATCH /config', '{"loop_wait": "x"}');
call($p, 'PATCH /config', '{"loop_wait": 1}', name => ' (back)');
call($_, 'PUT /config', [ map { $_->key('config') } @clusters ]) for $p, $s;
call($_, 'POST /restart', '{"role": "replica"}') for $p;
call($_, 'POST /restart', '{"role": "primary"}') for $s;
call($_, 'POST /restart', '{"role": "master"}') for $s;
for my $node ($p, $s)
{
	call($node, 'POST /restart', $_) for '{"role": "x"}', '{"role": "standby_leader"}', '{"role": 1}', '{"postgres_version": "16"}', '{"postgres_version": "a.b"}',
	  '{"postgres_version": "9.6.1"}', '{"postgres_version": 16.1}', '{"restart_pending": true}', '{"restart_pending": false}', '{"timeout": "x"}', '{"timeout": 0}',
	  '{"timeout": -1}', '{"unknown": 1}', '{"schedule": "2099-01-01T00:00"}', '{"schedule": "2000-01-01T00:00:00Z"}',
	  '{"schedule": "rubbish"}', '{"schedule": 1}', '{"schedule": null}';
	call($node, 'DELETE /restart', undef, name => ' (there is none)');
	call($node, 'POST /restart', '{"schedule": "2099-01-01T00:00:00+00:00", "postgres_version": "15.9", "restart_pending": true}');
	call($node, 'POST /restart', '{"schedule": "2099-01-01T00:00:00+00:00"}', name => ' (another)');
}
call($p, 'POST /switchover', $_) for '{"leader": ""}', '{"candidate": "STANDBY"}', '{"leader": "LEADER", "candidate": "absent"}',
  '{"leader": "STANDBY"}', '{"leader": "absent", "candidate": "STANDBY"}', '{"leader": "LEADER", "candidate": "LEADER"}',
  '{"leader": 1}', '{"leader": "LEADER", "scheduled_at": "2099-01-01T00:00"}',
  '{"leader": "LEADER", "scheduled_at": "2000-01-01T00:00Z"}', '{"leader": "LEADER", "scheduled_at": "rubbish"}';
call($p, 'POST /failover', $_) for '{"leader": "LEADER"}', '{"candidate": "absent"}', '{"candidate": ""}',
  '{"candidate": "STANDBY", "scheduled_at": "2099-01-01T00:00Z"}', '{"leader": "LEADER", "candidate": "absent"}',
  '{"leader": "STANDBY", "candidate": "STANDBY"}';
call($s, 'DELETE /switchover', undef, name => ' (there is none)');
call($s, 'POST /switchover', '{"leader": "LEADER", "candidate": "STANDBY", "scheduled_at": "2099-01-01T00:00:00+00:00"}');

# with a restart and a switchover scheduled, and a setting that waits for a restart
configure({ postgresql => { parameters => { max_connections => 120 } } });
wait_both('both wait for a restart', sub { my ($c) = @_; 2 == grep { document($_)->{pending_restart} } $clusters[$c]->nodes });
wait_both('the schedules are seen', sub {
	my $cluster = $standby[ $_[0] ]->rest('/cluster')->{json};
	return $cluster->{scheduled_switchover} && 2 == grep { $_->{scheduled_restart} && $_->{pending_restart} } @{ $cluster->{members} };
});
my $rp = column('PR', 'primary, with a restart pending and one scheduled, and a switchover scheduled', \@primary);
my $rs = column('SR', 'standby, likewise', \@standby);
my @documents = grep { $_->[0] =~ m{^GET /(patroni|cluster|config|metrics|history|primary|replica|health)?$} } @checks;
$table->probe([ $rp, $rs ], \@documents);
call($rp, 'DELETE /switchover', undef);
call($_, 'DELETE /restart', undef) for $rp, $rs;
call($rp, 'POST /restart', '{"restart_pending": true, "role": "master"}');
call($rs, 'POST /restart', undef);
is_compatible($p, $s, $rp, $rs);
wait_until_streaming();

# --- a standby that lags ---

# both have replayed a transaction since they were restarted
both(sub { $primary[ $_[0] ]->sql('CREATE TABLE one (x int)') });
wait_both('a transaction is replayed', sub { defined document($standby[ $_[0] ])->{xlog}{replayed_timestamp} });
# (one whose replay is paused goes on: both see to that)
$_->freeze_replay for @standby;
both(sub { $primary[ $_[0] ]->sql('CREATE TABLE much AS SELECT generate_series(1, 30000) AS x') });
wait_both('it is seen to lag', sub { status_of($standby[ $_[0] ], '/replica?lag=100kB') == 503 });
my $l = column('L', 'standby that has not replayed 1 MB', \@standby);
$table->probe([$l], \@checks);
is_compatible($l);
$_->thaw for @standby;

# --- synchronous replication ---

configure({ synchronous_mode => JSON::PP::true });
wait_both('it is a synchronous standby', sub { status_of($standby[ $_[0] ], '/sync') == 200 });
my $yp = column('PY', 'primary with a synchronous standby', \@primary);
my $ys = column('SY', 'synchronous standby', \@standby);
$table->probe([ $yp, $ys ], \@checks);
call($yp, 'POST /switchover', '{"leader": "LEADER", "candidate": "absent"}');
is_compatible($yp, $ys);
configure({ synchronous_mode => undef });

# --- pause ---

configure({ pause => JSON::PP::true });
wait_both('both are paused', sub { my ($c) = @_; 2 == grep { document($_)->{pause} } $clusters[$c]->nodes });
my $pp = column('PP', 'primary in pause mode', \@primary);
my $ps = column('SP', 'standby in pause mode', \@standby);
$table->probe([ $pp, $ps ], \@checks);
call($pp, 'POST /restart', '{"schedule": "2099-01-01T00:00:00+00:00"}');
call($pp, 'POST /switchover', '{"leader": "LEADER"}');
call($pp, 'POST /switchover', '{"leader": "LEADER", "candidate": "STANDBY", "scheduled_at": "2099-01-01T00:00:00+00:00"}');
is_compatible($pp, $ps);

# the server is stopped, and stays so
stop_paused($_, $standby[$_]) for 0, 1;
my $ts = column('ST', 'stopped standby (in pause mode)', \@standby);
$table->probe([$ts], \@checks);
call($ts, 'POST /restart', '{"role": "primary"}');
call($ts, 'POST /restart', undef);
is_compatible($ts);

configure({ pause => undef });
wait_until_streaming();
configure({ pause => JSON::PP::true });
wait_both('both are paused again', sub { my ($c) = @_; 2 == grep { document($_)->{pause} } $clusters[$c]->nodes });

# --- nobody leads ---

stop_paused($_, $primary[$_]) for 0, 1;
wait_both('nobody leads', sub {
	my ($c) = @_;
	return document($standby[$c])->{cluster_unlocked} && document($primary[$c])->{cluster_unlocked};
});
my $np = column('PN', 'stopped primary (in pause mode), nobody leads', \@primary);
my $ns = column('SN', 'standby (in pause mode), nobody leads', \@standby);
$table->probe([ $np, $ns ], \@checks);
call($ns, 'POST /reinitialize', undef);
call($ns, 'POST /switchover', '{"leader": "LEADER"}');
call($ns, 'POST /switchover', '{"leader": "LEADER", "candidate": "STANDBY"}');
call($np, 'POST /restart', undef);
is_compatible($np, $ns);
configure({ pause => undef });
wait_both('nobody is paused', sub { my ($c) = @_; !grep { document($_)->{pause} } $clusters[$c]->nodes });
wait_until_streaming();

# --- a server that starts ---

PatroniCluster::spew("$_->{directory}/block", '') for @standby;
$_->stop_server('immediate') for @standby;
wait_both('the standby starts', sub { document($standby[ $_[0] ])->{state} eq 'starting' });
my $b = column('B', 'standby whose server starts', \@standby);
$table->probe([$b], \@checks);
call($b, 'POST /restart', undef);
unlink "$_->{directory}/block" for @standby;
is_compatible($b);
wait_until_streaming();

# --- PATRONI_TEST_ALL_STATES, as this takes a minute and a half more ---

if ($with_all)
{
	# --- and what really changes something ---

	$p = column('P', 'primary', \@primary);
	call($p, 'POST /switchover', '{"leader": "LEADER", "candidate": "STANDBY"}');
	wait_until_streaming();
	$p = column('P', 'primary', \@primary);
	$s = column('S', 'standby', \@standby);
	call($s, 'POST /failover', '{"candidate": "STANDBY"}');
	wait_until_streaming();
	$s = column('S', 'standby', \@standby);
	my @before = map { document($_)->{postmaster_start_time} } @standby;
	call($s, 'POST /reinitialize', '{"force": true}');
	is_compatible($p, $s);
	wait_both('it runs again', sub { (document($standby[ $_[0] ])->{postmaster_start_time} // $before[ $_[0] ]) ne $before[ $_[0] ] });
	wait_until_streaming();

	# --- the store is down, in failsafe mode ---

	configure({ failsafe_mode => JSON::PP::true });
	wait_both('failsafe mode is on', sub { my ($c) = @_; 2 == grep { status_of($_, '/failsafe') == 200 } $clusters[$c]->nodes });
	my $fp = column('PF', 'primary in failsafe mode, store down', \@primary);
	my $fs = column('SF', 'standby in failsafe mode, store down', \@standby);
	$_->stop_etcd for @clusters;
	wait_both('the primary leads on, and the cluster has not been seen for long', sub {
		my ($c) = @_;
		return document($primary[$c])->{failsafe_mode_is_active} && 2 == grep { document($_)->{cluster_unlocked} } $clusters[$c]->nodes;
	});
	$table->probe([ $fp, $fs ], \@checks, patience => 6);
	for my $node ($fp, $fs)
	{
		call($node, 'POST /failsafe', '{"name": "LEADER", "conn_url": "x", "api_url": "x"}');
		call($node, 'POST /failsafe', '{"name": "absent", "conn_url": "x", "api_url": "x"}');
		call($node, 'POST /failsafe', $_) for '{"conn_url": "x"}', '{', '{}', '[]', '{"name": 1}';
	}
	call($fp, 'PATCH /config', '{"loop_wait": 1}');
	call($fp, 'POST /switchover', '{"leader": "LEADER", "candidate": "STANDBY"}');
	is_compatible($fp, $fs);
	$_->start_etcd for @clusters;
	wait_both('the store is back', sub { my ($c) = @_; !grep { my $d = document($_); $d->{failsafe_mode_is_active} || $d->{cluster_unlocked} } $clusters[$c]->nodes });
	configure({ failsafe_mode => undef });
	wait_both('failsafe mode is off', sub {
		my ($c) = @_;
		2 == grep {
			$_->rest('/failsafe', method => 'POST', auth => $credentials, body => { name => 'absent' })->{status} == 502
		} $clusters[$c]->nodes;
	});

	configure({ pause => JSON::PP::true });
	# (our server's worker, too: it has a lease without end)
	wait_both('both are paused', sub {
		my ($c) = @_;
		return (!$c || !defined document($primary[$c])->{patroni_bgw}{lease_remaining_ms})
		  && 2 == grep { document($_)->{pause} } $clusters[$c]->nodes;
	});
	$_->stop_etcd for @clusters;
	wait_both('both have not seen the store for long', sub { my ($c) = @_; 2 == grep { document($_)->{cluster_unlocked} } $clusters[$c]->nodes });
	my $op = column('PO', 'primary in pause mode, store down', \@primary);
	my $os = column('SO', 'standby in pause mode, store down', \@standby);
	$table->probe([ $op, $os ], \@checks, patience => 6);
	is_compatible($op, $os);
	$_->start_etcd for @clusters;
	wait_both('the store is back', sub { my ($c) = @_; !grep { document($_)->{cluster_unlocked} } $clusters[$c]->nodes });
	configure({ pause => undef });
	# (our server's worker, too: it has a lease that ends)
	wait_both('nobody is paused', sub {
		my ($c) = @_;
		return (!$c || defined document($primary[$c])->{patroni_bgw}{lease_remaining_ms})
		  && !grep { document($_)->{pause} } $clusters[$c]->nodes;
	});

	# the store is down, without all that

	$_->stop_etcd for @clusters;
	wait_both('the primary is none any more', sub {
		my $d = document($primary[ $_[0] ]);
		return status_of($primary[ $_[0] ], '/primary') == 503 && $d->{state} eq 'running' && $d->{role} eq 'replica'
		  && $d->{cluster_unlocked} && document($standby[ $_[0] ])->{cluster_unlocked};
	});
	my $dp = column('PD', 'former primary, store down', \@primary);
	my $ds = column('SD', 'standby, store down', \@standby);
	$table->probe([ $dp, $ds ], \@checks, patience => 15);
	call($ds, 'PATCH /config', '{"loop_wait": 1}');
	call($ds, 'POST /switchover', '{"leader": "LEADER", "candidate": "STANDBY"}');
	call($ds, 'POST /reinitialize', undef);
	is_compatible($dp, $ds);
}

is_deeply([ $table->unused(outages => $with_all) ], [], 'every intended difference is still seen');
$table->write($ENV{PATRONI_WRITE_COMPATIBILITY}, `patroni --version` =~ /(\d\S*)/ ? $1 : '') if $ENV{PATRONI_WRITE_COMPATIBILITY};
done_testing();
