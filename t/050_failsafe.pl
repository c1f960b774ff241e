# failsafe_mode: while the store is away the leader goes on as long as all members
# agree, and no client notices; with one of them gone it gives up in time, and the
# log says who it was.
#
# PATRONI_TEST_OUTAGE=60 makes the outages of the store that many seconds long,
# with a ttl of 30 (about four minutes in all) instead of three times a ttl of 4.
# run alone

use strict;
use warnings;

use PatroniCluster;
use Test::More;
use Time::HiRes qw(usleep);

my $outage = $ENV{PATRONI_TEST_OUTAGE};
my $ttl = $outage ? 30 : 4;
$outage //= 3 * $ttl;

my $cluster = PatroniCluster->new('failsafe', dcs => { ttl => $ttl, loop_wait => $ttl > 20 ? 10 : 1,
		retry_timeout => $ttl > 20 ? 10 : 1, failsafe_mode => JSON::PP::true });
$cluster->start;
$cluster->create_writes_table;
my $leader = $cluster->leader;

sub names { my ($json) = @_; return join ',', sort keys %{ $json // {} }; }

$cluster->wait_for('the failsafe key names all members',
	sub { names($cluster->key_json('failsafe')) eq 'node1,node2,node3' });
is_deeply($leader->rest('/failsafe')->{json}, $cluster->key_json('failsafe'), 'REST shows the failsafe key');
like($cluster->key_json('failsafe')->{node1}, qr{^http://.*/patroni$}, 'with the addresses of the members');
is($leader->rest('/failsafe', method => 'POST', body => { name => 'node2' })->{status}, 500,
	'a leader promises nothing');
is(($cluster->standbys)[0]->rest('/failsafe', method => 'POST', body => { name => 'node9' })->{status}, 409,
	'nobody promises anything to one who does not lead');

my $writer = $cluster->writer;

# The longest time without an acknowledgement, in ms.
sub longest_gap
{
	my ($from_us, $to_us) = @_;
	my $longest = 0;
	my $before = $from_us;

	for my $us ((grep { $_ > $from_us && $_ < $to_us } map { $_->{acked_us} } $writer->acks), $to_us)
	{
		$longest = $us - $before if $us - $before > $longest;
		$before = $us;
	}
	return $longest / 1000;
}

sub is_active { my ($node) = @_; return $node->rest('/patroni', timeout => 2)->{json}{failsafe_mode_is_active}; }

sub outage
{
	my ($what, $begin, $end) = @_;
	my $begin_us = PatroniCluster::now_us();

	$begin->();
	$writer->wait_for_acks(20, after_us => $begin_us + $ttl * 1.2e6, timeout => $ttl + 30);
	is(scalar(grep { is_active($_) } $cluster->nodes), 3, "$what: failsafe mode is active on all members");
	is($leader->rest('/primary')->{status}, 200, "$what: the leader is the primary for load balancers");
	is($leader->sql("SELECT count(*) FROM patroni.explain() WHERE reason LIKE 'all members agree%'"), '1',
		"$what: patroni.explain() says so");
	$writer->wait_for_acks(20, after_us => $begin_us + $outage * 1e6, timeout => $outage + 30);
	$end->();
	$cluster->wait_for("$what: the leader has its key again",
		sub { ($cluster->key('leader') // '') eq $leader->{name} && $leader->sql('SELECT is_open FROM patroni.lease') eq 't' });
	$cluster->wait_for("$what: failsafe mode is over", sub { !is_active($leader) });
	$writer->wait_for_acks(200, after_us => PatroniCluster::now_us() + 1e6);
	my $end_us = PatroniCluster::now_us();
	my $gap = longest_gap($begin_us, $end_us);
	cmp_ok($gap, '<', 300, "$what: no write waits for longer than 300 ms");
	is(scalar(grep { $_->{us} > $begin_us } $writer->errors), 0, "$what: no write is refused");
	measured(sprintf('%s: %.0f s without the store, the longest time without a write was %.0f ms',
			$what, ($end_us - $begin_us) / 1e6, $gap));
}

outage('store frozen', sub { $cluster->freeze_etcd }, sub { $cluster->thaw_etcd });
outage('store stopped', sub { $cluster->stop_etcd }, sub { $cluster->start_etcd });
is($cluster->leader, $leader, 'the leader is the same');

# --- one member is down as well ---

# what was promised in the outage is over; the lease is a fresh one
my ($down) = $cluster->standbys;
my $offset = $leader->log_size;
$down->freeze('all');
my $begin_us = PatroniCluster::now_us();
$cluster->freeze_etcd;
$leader->wait_for_sql('SELECT NOT is_open FROM patroni.lease', timeout => $ttl + 30);
my $last_us = (reverse $writer->acks)[0]{acked_us};
cmp_ok($last_us - $begin_us, '<', $ttl * 1e6, 'with one member down the leader gives up within the ttl');
$leader->wait_for_log(qr/not all members agree that this one goes on leading without the store: "$down->{name}" does not answer/, $offset);
ok(1, 'and the log says which member it was');
$leader->wait_for_log(qr/the store does not answer and the lease (?:may be over: writes are refused|is over); "$down->{name}" does not answer/, $offset);
ok(1, 'so does the decision');
measured(sprintf('one member down: the last write was acknowledged %.1f s after the store went, ttl %d',
		($last_us - $begin_us) / 1e6, $ttl));
$down->thaw;
$cluster->thaw_etcd;
$cluster->wait_for_leader;
$cluster->wait_until_streaming;
$writer->wait_for_more;

# --- and switched off ---

$cluster->leader->sql(q{SELECT patroni.edit_config('{"failsafe_mode": false}')});
$cluster->wait_for('the key is gone when the mode is off', sub { !defined $cluster->key('failsafe') });
is($cluster->leader->rest('/failsafe')->{status}, 502, 'and REST has none to show');
is(($cluster->standbys)[0]->rest('/failsafe', method => 'POST', body => { name => $cluster->leader->{name} })->{status},
	502, 'nor does anybody promise anything');

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
