# Scenarios that are programs of their own: bench/rest.sh and bench/fence_overhead.sh.

package BenchTools;

use strict;
use warnings;

use FindBin;

our @scenarios = (
	rest => {
		title => 'GET /primary under wrk -t1 -c16',
		runs => 1,
		alone => 1,
		products => { ours => 1 },
		run => sub {
			my ($cluster, $option) = @_;
			my $text = run_tool('rest.sh', $option->{quick} ? (1, 2) : (5, 5));
			my ($rate, $theirs) = $text =~ m{^median: ours ([\d.]+) requests/s, Patroni ([\d.]+)}m
			  or die "rest.sh says nothing\n";
			my ($p99, $their_p99) = $text =~ /99th percentile: ours ([\d.]+) ms, Patroni ([\d.]+) ms/;
			my ($us, $their_us) = $text =~ /processor time of a request: ours (\d+) us, Patroni (\d+) us/;

			return { rate => $rate, rate_of_patroni => $theirs, p99_ms => $p99, p99_of_patroni_ms => $their_p99,
				cpu_per_request => $us, cpu_per_request_of_patroni => $their_us };
		},
	},
	fence => {
		title => 'pgbench -N -c4 with one standby: what the write fence and patroni.wal_send_wait cost',
		runs => 1,
		alone => 1,
		products => { ours => 1 },
		run => sub {
			my ($cluster, $option) = @_;
			my $text = run_tool('fence_overhead.sh', $option->{quick} ? (2, 2) : (10, 8));
			my ($both, $fence, $neither, $ratio, $ratio_send) =
			  $text =~ /^median tps: both ([\d.]+), fence ([\d.]+), neither ([\d.]+), ratios ([\d.]+) ([\d.]+)/m
			  or die "fence_overhead.sh says nothing\n";

			return { tps_both => $both, tps_with => $fence, tps_without => $neither, ratio => $ratio, ratio_send => $ratio_send };
		},
	},
);

# What a script beside us prints.  It makes a stage of its own.
sub run_tool
{
	my ($name, @arguments) = @_;
	my $path = join ':', grep { !m{/patroni_bgw\.} } split /:/, $ENV{PATH};

	local $ENV{PATH} = $path;
	local $ENV{TMPDIR} = '/tmp';
	open(my $pipe, '-|', "$FindBin::RealBin/$name", @arguments) or die "could not run $name: $!\n";
	local $/;
	my $text = <$pipe>;

	close $pipe or die "$name failed\n";
	return $text;
}

1;
