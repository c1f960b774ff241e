#!/usr/bin/perl
# bench.pl: patroni_bgw, Debian's Patroni, pg_auto_failover and repmgr side by
# side on this machine, as their clients see them.  --help says how.

use strict;
use warnings;

use FindBin;
my ($stage, $data);

# runs after the END of PatroniCluster, which comes later in the text
END
{
	my $status = $?;

	system('rm', '-rf', grep { defined && -d } $stage, $data);
	$? = $status;
}

use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../t/lib";

BEGIN
{
	if (grep { /^(-h|--help)$/ } @ARGV)
	{
		print <<'END_OF_HELP';
usage: bench/bench.pl [OPTION...]

Runs each scenario with each product, one product at a time, and prints a table.
Needs a build (make).  As root the servers run as an unprivileged user
($TEST_USER, postgres unless told), in network name spaces; otherwise the
scenario "cut" is left out.  Installs nothing; a product that is not installed
is left out, and it says which packages it needs.

  --runs N              each scenario N times (10); what takes minutes each a quarter of
                        that: products with their defaults, frozen ones, store outages
  --rounds N            in so many rounds, each with fresh clusters, so that the
                        moods of the machine hit all products (1)
  --products A,B,...    only these: ours, ours-30, patroni, patroni-20, auto_failover,
                        auto_failover-fast, repmgr, repmgr-fast
  --scenarios A,B,...   only these: switchover, postmaster, node, cut, agent, host,
                        store, failsafe, idle, rest, fence
  --only PATTERN        only what matches as PRODUCT.SCENARIO
  --quick               short: 1 run, the fast settings of each product, five scenarios;
                        what is frozen is so for 12 s instead of 60, and so on
  --freeze SECONDS      how long what is frozen is so (60), --outage SECONDS how long
                        the store is gone (45), --idle SECONDS how long an idle
                        cluster is watched (60)
  --load full|RATE|none pgbench -N -c 4 beside the client: as fast as it can, so
                        many transactions/s, or not at all (full)
  --disk                data directories in $TMPDIR, not in memory (/dev/shm)
  --no-fsync            all servers with fsync = off
  --no-namespaces       also as root
  --no-paths            no clients through HAProxy and PgBouncer
  --results FILE        results as JSON (bench/results/last.json); what is there
                        of other products and scenarios is kept with --keep
  --keep
  --report DIRECTORY    write benchmarks.md and benchmarks.svg there, also with what
                        bench/many_clusters.sh left in bench/results/many_clusters.json
  --report-only         no run: the report of the results that are there
  --keep-logs           leave the logs of all members and clients in /tmp
END_OF_HELP
		exit 0;
	}
}

use BenchCost;
use BenchFailures;
use BenchFrozen;
use BenchPaths;
use BenchReport;
use BenchStatistics;
use BenchStore;
use BenchTools;
use File::Temp ();
use Getopt::Long;
use JSON::PP ();
use PatroniCluster;
use POSIX ();

# A driver and its settings.  "Fast" is as short as the product lets its times
# be; one that is slow, with its defaults, gets a quarter of the runs.
my @products = (
	ours => { driver => 'BenchOurs', dcs => { ttl => 2, loop_wait => 1, retry_timeout => 1 },
		settings => 'ttl 2, loop_wait 1, retry_timeout 1' },
	'ours-30' => { driver => 'BenchOurs', dcs => { ttl => 30, loop_wait => 10, retry_timeout => 10 },
		is_slow => 1, settings => 'ttl 30, loop_wait 10, retry_timeout 10: its and Patroni\'s defaults' },
	'patroni-20' => { driver => 'BenchPatroni', dcs => { ttl => 20, loop_wait => 1, retry_timeout => 3 },
		settings => 'ttl 20, loop_wait 1, retry_timeout 3: the least it allows' },
	patroni => { driver => 'BenchPatroni', dcs => { ttl => 30, loop_wait => 10, retry_timeout => 10 },
		is_slow => 1, settings => 'ttl 30, loop_wait 10, retry_timeout 10: its defaults' },
	'auto_failover-fast' => { driver => 'BenchAutoFailover', is_fast => 1,
		settings => 'health_check_period 1 s, health_check_timeout 1 s, no retry, node_considered_unhealthy_timeout 3 s, primary_demote_timeout 5 s, network_partition_timeout 4 s' },
	auto_failover => { driver => 'BenchAutoFailover', is_slow => 1, settings => 'its defaults' },
	'repmgr-fast' => { driver => 'BenchRepmgr', is_fast => 1,
		settings => 'monitor_interval_secs 1, reconnect_attempts 2, reconnect_interval 1' },
	repmgr => { driver => 'BenchRepmgr', is_slow => 1,
		settings => 'its defaults: monitor_interval_secs 2, reconnect_attempts 6, reconnect_interval 10' },
);
my @scenarios = (@BenchFailures::scenarios, @BenchFrozen::scenarios, @BenchStore::scenarios,
	@BenchCost::scenarios, @BenchTools::scenarios);
my %option = (rounds => 1, load => 'full', fsync => 1, namespaces => 1, paths => 1,
	results => "$FindBin::RealBin/results/last.json");
my (@only_products, @only_scenarios);

GetOptions('runs=i' => \$option{runs}, 'rounds=i' => \$option{rounds}, 'products=s' => \@only_products,
	'scenarios=s' => \@only_scenarios, 'only=s' => \$option{only}, 'quick' => \$option{quick},
	'freeze=i' => \$option{freeze_s}, 'outage=i' => \$option{outage_s}, 'idle=i' => \$option{idle_s},
	'load=s' => \$option{load}, 'fsync!' => \$option{fsync}, 'disk' => \$option{disk}, 'paths!' => \$option{paths}, 'namespaces!' => \$option{namespaces},
	'results=s' => \$option{results}, 'keep' => \$option{keep}, 'report=s' => \$option{report},
	'report-only' => \$option{report_only}, 'keep-logs' => \$option{keep_logs})
  or die "bench.pl --help says how to use it\n";
@only_products = split /,/, join ',', @only_products;
@only_scenarios = split /,/, join ',', @only_scenarios;
if ($option{quick})
{
	$option{runs} //= 1;
	$option{freeze_s} //= 12;
	$option{$_} //= 8 for qw(outage_s idle_s);
	@only_products = qw(ours patroni-20 auto_failover-fast repmgr-fast) unless @only_products;
	@only_scenarios = qw(switchover postmaster node store idle) unless @only_scenarios;
}
$option{runs} //= 10;
$option{freeze_s} //= 60;
$option{outage_s} //= 45;
$option{idle_s} //= 60;
$option{load} = '' if $option{load} eq 'none';

my %product = @products;
my %scenario = @scenarios;
my @product_names = grep { !ref } @products;
my @scenario_names = grep { !ref } @scenarios;

for (@only_products) { die "there is no product \"$_\"\n" unless $product{$_}; }
for (@only_scenarios) { die "there is no scenario \"$_\"\n" unless $scenario{$_}; }
@product_names = grep { my $name = $_; grep { $_ eq $name } @only_products } @product_names if @only_products;
@scenario_names = grep { my $name = $_; grep { $_ eq $name } @only_scenarios } @scenario_names if @only_scenarios;

chdir "$FindBin::RealBin/.." or die "could not change directory: $!";
my $results = BenchReport::load($option{results}, $option{keep} || $option{report_only});
my $many_clusters = BenchReport::load_many_clusters('bench/results/many_clusters.json');

if ($option{report_only})
{
	BenchReport::write_report($results, $option{report} // 'docs', $many_clusters);
	exit 0;
}

# --- a private server with our libraries, that all products use ---

chomp($stage = `scripts/stage.sh`);
die "there is no build; run make\n" unless -d $stage && -x "$stage/bin/patroni_supervisor";
for (split /\0/, `sh -c '. $stage/env; env -0'`)
{
	my ($name, $value) = split /=/, $_, 2;

	$ENV{$name} = $value;
}
delete $ENV{$_} for qw(PGHOST PGPORT PGDATA PGUSER PGDATABASE PGSERVICE);
if (!$option{disk} && -w '/dev/shm')
{
	$ENV{TMPDIR} = $data = File::Temp::tempdir('patroni_bench.XXXXXX', DIR => '/dev/shm');
	chown((stat $stage)[ 4, 5 ], $data);
}
$option{disk} = defined $data ? 0 : 1;
$ENV{PATRONI_TEST_KEEP_LOGS} = 1 if $option{keep_logs};
$ENV{TESTLOGDIR} = "/tmp/patroni_bench_log.$$" if $option{keep_logs};
$PatroniCluster::default_timeout = 120;
$option{namespaces} = $option{namespaces} && PatroniCluster::can_cut_networks() ? 1 : 0;
$| = 1;
binmode STDOUT, ':utf8';

my $n_clusters = 0;

# A cluster of a product that runs and has its tables; undef and the reason.
sub make_cluster
{
	my ($name, $is_loaded) = @_;
	my $product = $product{$name};
	my $cluster = $product->{driver}->new(%option, %$product, load => $is_loaded ? $option{load} : '',
		label => "$name-" . ++$n_clusters);

	eval { BenchPaths::start($cluster); $cluster->up; $cluster->create_tables; 1 } or do {
		my $why = $@;

		$cluster->clean_up unless $option{keep_logs};
		die $why;
	};
	return $cluster;
}

sub say_result
{
	my ($product, $scenario, $run, $metrics) = @_;
	my @words = map { my $v = $metrics->{$_}; "$_ " . (int($v) == $v ? $v : sprintf('%.1f', $v)) }
	  grep { !ref $metrics->{$_} && !/_us$/ } sort keys %$metrics;

	printf "%s %s.%s run %d: %s\n", POSIX::strftime('%H:%M:%S', gmtime), $product, $scenario, $run, join(', ', @words);
}

sub is_wanted
{
	my ($product, $scenario) = @_;

	return !defined $option{only} || "$product.$scenario" =~ /$option{only}/;
}

# A quarter of the runs, at least one, for what takes minutes each.
sub runs_of
{
	my ($name, $scenario_name, $runs) = @_;
	my $scenario = $scenario{$scenario_name};
	my $is_slow = $product{$name}{is_slow} || ($scenario->{is_slow} && $name ne 'ours');
	my $n = $is_slow ? POSIX::ceil($runs / 4) : $runs;

	return $scenario->{runs} && $scenario->{runs} < $n ? $scenario->{runs} : $n;
}

# All runs of one product in one round.
sub run_product
{
	my ($name, $runs) = @_;
	my $entry = $results->{products}{$name} //= {};
	my $cluster;

	for my $scenario_name (grep { is_wanted($name, $_) } @scenario_names)
	{
		my $scenario = $scenario{$scenario_name};
		my $slot = $entry->{scenarios}{$scenario_name} //= {};
		my $n = runs_of($name, $scenario_name, $runs);
		my $n_failed = 0;

		next if $scenario->{products} && !$scenario->{products}{$name};
		for my $run (1 .. $n)
		{
			last if $n_failed >= 3;
			my $begin_us = PatroniCluster::now_us();
			my $metrics = eval {
				if (!$scenario->{alone} && !$cluster)
				{
					$cluster = make_cluster($name, 1);
					$entry->{version} = $cluster->version;
					$entry->{settings} = $product{$name}{settings};
				}
				my $why_not = $scenario->{if} && $scenario->{if}->($cluster);

				if ($why_not)
				{
					$slot->{left_out} = $why_not;
					{ left_out => 1 };
				}
				else { $scenario->{run}->($cluster, \%option); }
			};

			if ($metrics)
			{
				last if $metrics->{left_out};
				push @{ $slot->{seconds} }, (PatroniCluster::now_us() - $begin_us) / 1e6;
				say_result($name, $scenario_name, $run, $metrics);
				for my $metric (grep { !ref $metrics->{$_} && !/_us$/ } keys %$metrics)
				{
					push @{ $slot->{values}{$metric} }, $metrics->{$metric} + 0;
				}
			}
			else
			{
				my ($why) = split /\n/, $@;

				$n_failed++;
				push @{ $slot->{failures} }, $why;
				printf "%s %s.%s run %d: failed: %s\n", POSIX::strftime('%H:%M:%S', gmtime), $name, $scenario_name, $run, $why;
				# whatever state it is in, the next run shall not suffer from it
				$cluster->clean_up if $cluster;
				undef $cluster;
			}
			BenchReport::save($results, $option{results});
		}
	}
	$cluster->clean_up if $cluster;
}

BenchReport::describe_machine($results, \%option);
$results->{scenarios}{$_} = $scenario{$_}{title} for @scenario_names;
$results->{order} = [ grep { !ref } @scenarios ];
$results->{product_order} = [ grep { !ref } @products ];
my @present;
for my $name (@product_names)
{
	my $driver = $product{$name}{driver};
	(my $file = { BenchOurs => 'BenchPatroni' }->{$driver} // $driver) =~ s/$/.pm/;

	require $file;
	my $missing = $driver->missing;
	if ($missing)
	{
		print "$name is left out; it needs: apt-get install $missing\n";
		$results->{products}{$name} = { left_out => "not installed: $missing" };
		next;
	}
	push @present, $name;
}
print "without network name spaces, which need root: no scenario \"cut\"\n" unless $option{namespaces};

if (my @missing = $option{paths} ? BenchPaths::missing() : ())
{
	print "without clients through them; apt-get install @missing\n";
}

for my $round (1 .. $option{rounds})
{
	my $runs = int($option{runs} * $round / $option{rounds}) - int($option{runs} * ($round - 1) / $option{rounds});

	run_product($_, $runs) for @present;
}
BenchReport::save($results, $option{results});
BenchReport::write_report($results, $option{report}, $many_clusters) if $option{report};
print "\n", BenchReport::tables($results), "\nresults are in $option{results}\n";
printf "--runs 20 of these products and scenarios would take about %.1f hours\n", BenchReport::seconds($results, sub { runs_of(@_, 20) }) / 3600
  unless $option{quick};
exit 0;
