# Numbers: least, median, 99th percentile, greatest.

package BenchStatistics;

use strict;
use warnings;

# Of a list of numbers; the 99th percentile is the smallest one that 99 % of them
# do not exceed, so with less than 100 runs it is the greatest.
sub summary
{
	my @sorted = sort { $a <=> $b } @_;
	my $n = @sorted or return;
	my $middle = int($n / 2);

	return {
		runs => $n,
		min => $sorted[0],
		median => $n % 2 ? $sorted[$middle] : ($sorted[ $middle - 1 ] + $sorted[$middle]) / 2,
		p99 => $sorted[ POSIX::ceil(0.99 * $n) - 1 ],
		max => $sorted[-1],
	};
}

1;
