# Over HTTP and with patronictl a member is restarted, now or at a time, under
# conditions, and reinitialized; the leader stays the leader.

use strict;
use warnings;

use PatroniCluster;
use Test::More;
use Time::HiRes qw(time);

my $auth = 'operator:rest';
my $cluster = PatroniCluster->new('restart', members => 2, config => sub {
	my ($node, $config) = @_;

	$config->{restapi}{authentication} = { username => 'operator', password => 'rest' };
});
$cluster->start;
my ($leader, $standby) = $cluster->nodes;

sub call
{
	my ($node, $method, $path, $body) = @_;
	my $response = $node->rest($path, method => $method, auth => $auth, body => $body, timeout => 60);

	return "$response->{status} $response->{content}";
}

# --- now ---

for my $node ($leader, $standby)
{
	my $old = $node->postmaster_pid;
	my $begin = time;

	is(call($node, 'POST', '/restart'), '200 restarted successfully', "$node->{name} is restarted");
	isnt($node->postmaster_pid, $old, 'it is another server');
	measured(sprintf('restart of %s: %.2f s', $node->{name}, time - $begin));
	ok($node->sql('SELECT 1'), 'and takes clients');
	$cluster->wait_until_streaming;
}
is($cluster->leader, $leader, 'the leader is the same');
is($leader->sql('SELECT timeline_id FROM pg_control_checkpoint()'), 1, 'on the same timeline');

# --- conditions ---

my $pid = $standby->postmaster_pid;
for (
	[ { role => 'primary' }, qr/^503 restart conditions are not satisfied: the member's role is another one$/ ],
	[ { restart_pending => JSON::PP::true }, qr/^503 restart conditions are not satisfied: no restart is pending$/ ],
	[ { postgres_version => '9.6.1' }, qr/^503 restart conditions are not satisfied: / ],
	[ { postgres_version => '16' }, qr/^400 Invalid PostgreSQL version format/ ],
	[ { reason => 'none' }, qr/^400 Unknown filter/ ])
{
	my ($body, $pattern) = @$_;

	like(call($standby, 'POST', '/restart', $body), $pattern, 'not with ' . JSON::PP::encode_json($body));
}
is($standby->postmaster_pid, $pid, 'and nothing was restarted');
is(call($standby, 'POST', '/restart', { role => 'replica', postgres_version => '99.0' }), '200 restarted successfully',
	'what fits is restarted');
$cluster->wait_until_streaming;

# --- at a time ---

sub in_seconds { return $leader->sql("SET TimeZone TO 'UTC'; SELECT to_char(now() + interval '$_[0] s', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || '+00:00'"); }

$pid = $leader->postmaster_pid;
is(call($leader, 'DELETE', '/restart'), '404 no restarts are scheduled', 'nothing is scheduled');
is(call($leader, 'POST', '/restart', { schedule => in_seconds(3600), role => 'primary' }), '202 Restart scheduled', 'a restart is scheduled');
is(call($leader, 'POST', '/restart', { schedule => in_seconds(7200) }), '409 Another restart is already scheduled', 'only one');
my $shown = $cluster->wait_for('/patroni shows it', sub { $leader->rest('/patroni')->{json}{scheduled_restart} });
is_deeply([ sort keys %$shown ], [qw(role schedule)], 'when, and under which condition');
is($cluster->key_json("members/$leader->{name}")->{scheduled_restart}{role}, 'primary', 'the member key has it');
SKIP:
{
	skip 'patronictl is not installed', 3 if system('patronictl version > /dev/null 2>&1') != 0;
	my ($status, $out) = $cluster->patronictl('list', '-e');

	like($out, qr/Scheduled restart/, 'patronictl list shows it');
	($status, $out) = $cluster->patronictl('flush', $cluster->{scope}, $leader->{name}, 'restart', '--force');
	like($out, qr/Success: flush scheduled restart/, 'patronictl flush forgets it') or diag($out);
	($status, $out) = $cluster->patronictl('restart', $cluster->{scope}, $standby->{name}, '--force');
	like($out, qr/Success: restart on member $standby->{name}/, 'patronictl restart') or diag($out);
}
call($leader, 'DELETE', '/restart');
is($leader->postmaster_pid, $pid, 'what was forgotten did not happen');
is(call($leader, 'POST', '/restart', { schedule => in_seconds(2) }), '202 Restart scheduled', 'another one is scheduled');
$cluster->wait_for('it happens', sub { ($leader->postmaster_pid // $pid) != $pid });
$cluster->wait_for('and is not shown any more', sub { !$leader->rest('/patroni')->{json}{scheduled_restart} });
is($cluster->wait_for_leader(is => $leader), $leader, 'without a change of the leader');
$cluster->wait_until_streaming;

# --- reinitialize ---

is(call($leader, 'POST', '/reinitialize'), '503 I am the leader, can not reinitialize', 'the leader is not reinitialized');
$leader->sql('CREATE TABLE kept AS SELECT 1 AS x');
my $left_behind = "$standby->{data_directory}/left_behind";
PatroniCluster::spew($left_behind, '');
is(call($standby, 'POST', '/reinitialize', { from_leader => JSON::PP::true }), '200 reinitialize started', 'a standby is reinitialized');
$cluster->wait_for('it has a new data directory',
	sub { !-e $left_behind && -e "$standby->{data_directory}/PG_VERSION" });
$cluster->wait_until_streaming;
$standby->wait_for_sql('SELECT x = 1 FROM kept');
ok(1, 'and has everything');
SKIP:
{
	skip 'patronictl is not installed', 1 if system('patronictl version > /dev/null 2>&1') != 0;
	my ($status, $out) = $cluster->patronictl('reinit', $cluster->{scope}, $standby->{name}, '--force');

	like($out, qr/Success: reinitialize for member $standby->{name}/, 'patronictl reinit') or diag($out);
	$cluster->wait_until_streaming;
}

# --- the rest ---

is(call($leader, 'POST', '/sigterm'), '202 shutdown scheduled', '/sigterm is answered');
is(call($leader, 'POST', '/mpp', { type => 'after_promote' }), '200 OK', '/mpp is answered');
is(call($leader, 'POST', '/reload'), '202 reload scheduled', '/reload is answered');
is($leader->rest('/primary')->{status}, 200, 'and the node goes on');
is($standby->rest('/restart', method => 'POST')->{status}, 401, 'nothing without the password');

done_testing();
