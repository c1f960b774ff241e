# Clients that use up all connections of the primary keep nobody from asking for
# its status, from a switchover, or from a failover.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('connections', parameters => { max_connections => 25 });
$cluster->start;
my $leader = $cluster->leader;
my @clients;

sub exhaust
{
	my ($node) = @_;
	my ($status, $err) = (0, '');

	my $connect = sub {
		push @clients, PatroniCluster::spawn(
			[ 'psql', '-XAtq', '-d', "host=$cluster->{sockets} port=$node->{port} user=postgres dbname=postgres",
				'-c', 'SELECT pg_sleep(600)' ], "$cluster->{base}/clients.log");
	};
	$connect->() for 1 .. 25;
	$cluster->wait_for("$node->{name} has no connection left", sub {
		($status, undef, $err) = $node->try_sql('SELECT 1');
		return 1 if $err =~ /too many clients already|remaining connection slots/;
		$connect->();
		return 0;
	}, every_ms => 100);
}

sub collect { waitpid $_, 0 for @clients; @clients = (); }

exhaust($leader);
ok(1, 'no client can connect any more, not even a superuser');
my $answer = $leader->rest('/patroni');
is($answer->{json}{state}, 'running', 'the status is there all the same');
ok($answer->{json}{xlog}{location}, 'with the position in the WAL');
is($leader->rest('/primary')->{status}, 200, 'and the health check is good');
is(scalar @{ $answer->{json}{replication} }, 2, 'and the standbys');

my ($candidate) = $cluster->standbys;
$candidate->sql("SELECT patroni.switchover('$candidate->{name}')");
is($cluster->wait_for_leader(is => $candidate), $candidate, 'a switchover works');
collect();
$cluster->wait_until_streaming;

$leader = $cluster->leader;
exhaust($leader);
$leader->kill9;
my $new = $cluster->wait_for_leader(not => $leader);
ok($new, 'a failover works');
collect();
$leader->start;
$cluster->wait_until_streaming;

# A standby is full of readers: it can still be promoted.
my ($standby, $other) = $cluster->standbys;
exhaust($standby);
$other->sql("SELECT patroni.switchover('$standby->{name}')");
$cluster->wait_for('the full standby leads', sub { ($cluster->leader // 0) == $standby
	  && $standby->rest('/primary')->{status} == 200 });
ok(1, 'a standby that is full of readers can be promoted');

done_testing();
