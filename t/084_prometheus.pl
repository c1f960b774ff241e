# A Prometheus server reads /metrics of all members, sees the primary move, and
# raises the alerts of our example when it should.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $prometheus = PatroniCluster::program('prometheus');
plan skip_all => 'prometheus or openssl is not installed'
  if !$prometheus || !PatroniCluster::program('openssl');

# node3 answers over HTTPS, and only to those who have a certificate; the others over HTTP.
my $cluster = PatroniCluster->new('prometheus', https => ['node3']);
my $certificate = $cluster->{certificate};

# --- examples/prometheus.yml, its addresses and its patience replaced ---

my $base = $cluster->{base};
my $port = PatroniCluster::free_port();
my $config = PatroniCluster::slurp('examples/prometheus.yml');
my $rules = PatroniCluster::slurp('examples/prometheus-rules.yml');
my ($jobs) = $config =~ /^(scrape_configs:\n.*)/ms;
my %instance = map { $_->{name} => "$_->{host}:$_->{rest_port}" } $cluster->nodes;

ok(index(PatroniCluster::slurp('docs/clients.md'), $jobs =~ s/^/    /mgr) >= 0, 'docs/clients.md shows the example as it is');
$config =~ s/^(  scrape_interval:) 15s$/$1 500ms\n  evaluation_interval: 500ms/m or die;
$config =~ s/\['10.*\]/['$instance{node1}', '$instance{node2}']/ or die;
$config .= <<"END_JOB";
  - job_name: patroni_tls
    scheme: https
    tls_config:
      ca_file: $certificate.crt
      cert_file: $certificate.crt
      key_file: $certificate.key
    static_configs:
      - targets: ['$instance{node3}']
END_JOB
$rules =~ s/^(        for:) \S+$/$1 0s/mg;
$rules =~ s/> 60$/> 3600/m or die;
PatroniCluster::spew("$base/prometheus.yml", $config);
PatroniCluster::spew("$base/prometheus-rules.yml", $rules);

$cluster->start;
my $data = PatroniCluster::make_directory("$base/prometheus");
$cluster->run_beside('prometheus', [ $prometheus, "--config.file=$base/prometheus.yml", "--storage.tsdb.path=$data",
		"--web.listen-address=127.0.0.1:$port", '--log.level=warn' ]);

# --- asking it ---

sub api
{
	my ($path, %parameters) = @_;
	my $http = HTTP::Tiny->new(timeout => 5);
	my $response = $http->get("http://127.0.0.1:$port/api/v1/$path?" . $http->www_form_urlencode(\%parameters));

	return $response->{success} ? JSON::PP::decode_json($response->{content})->{data} : undef;
}

# The values of a query by the name of the member (or the label given).
sub query
{
	my ($query, $label) = @_;
	my $data = api('query', query => $query) or return {};

	return { map { ($_->{metric}{ $label // 'name' } // '') => $_->{value}[1] } @{ $data->{result} } };
}

sub wait_for_query
{
	my ($what, $query, $expected, $label) = @_;
	my $got = {};

	$cluster->wait_for($what, sub {
		$got = query($query, $label);
		return join(' ', map { "$_=$got->{$_}" } sort keys %$got) eq
		  join(' ', map { "$_=$expected->{$_}" } sort keys %$expected);
	}, every_ms => 200, or_undef => 1);
	is_deeply($got, $expected, $what);
}

sub alerts { return join ' ', sort map { $_->{labels}{alertname} } grep { $_->{state} eq 'firing' } @{ api('alerts')->{alerts} }; }

# --- what it sees ---

my $first = $cluster->leader;
my ($second) = $cluster->standbys;
my %all = map { $_->{name} => 1 } $cluster->nodes;

wait_for_query('three members have been read several times', 'count_over_time(patroni_version[1h]) >= bool 4', \%all);
is_deeply([ map { "$_->{health} $_->{lastError}" } @{ api('targets')->{activeTargets} } ], [ ('up ') x 3 ], 'without an error');
is_deeply(query('min_over_time(up[1h])', 'instance'), { map { $_ => 1 } values %instance }, 'each time');
wait_for_query('one is the primary', 'patroni_primary', { map { $_->{name} => $_ == $first ? 1 : 0 } $cluster->nodes });
wait_for_query('the others are replicas that stream', 'patroni_replica * patroni_postgres_streaming',
	{ map { $_->{name} => $_ == $first ? 0 : 1 } $cluster->nodes });
wait_for_query('one may acknowledge writes', 'patroni_lease_remaining_seconds > bool 0',
	{ map { $_->{name} => $_ == $first ? 1 : 0 } $cluster->nodes });
is_deeply({ map { $_ => api('metadata', metric => $_)->{$_}[0]{type} } qw(patroni_primary patroni_xlog_location) },
	{ patroni_primary => 'gauge', patroni_xlog_location => 'counter' }, 'it knows the types');
is(alerts(), '', 'no alert');

$first->try_sql("SELECT patroni.switchover('$second->{name}', wait => false)");
$cluster->wait_for_leader(is => $second);
$cluster->wait_until_streaming;
wait_for_query('it sees the primary move', 'patroni_primary', { map { $_->{name} => $_ == $second ? 1 : 0 } $cluster->nodes });
wait_for_query('and all members tell how long that took', 'patroni_last_switchover_seconds{phase="total"} > bool 0', \%all);

# A dead member in the job that the alert looks at, the last one that is not there.
my ($dead) = grep { $_->{name} ne 'node3' } $second, $first;
$dead->kill9;
$cluster->wait_for('it sees that a member is dead', sub { alerts() eq 'PatroniMemberDown' }, every_ms => 200, or_undef => 1);
is(alerts(), 'PatroniMemberDown', 'a dead member raises an alert, and after the failover that one alone');
wait_for_query('it sees one primary', 'sum(patroni_primary)', { '' => 1 });

# Nobody can lead: no store.
$cluster->stop_etcd;
$cluster->wait_for('an alert that there is no primary', sub { alerts() =~ /PatroniNoPrimary/ }, every_ms => 200, or_undef => 1);
like(alerts(), qr/PatroniNoPrimary/, 'without the store there is no primary, which raises an alert');

done_testing();
