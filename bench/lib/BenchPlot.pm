# BenchPlot: the longest time without an acknowledged write as an SVG picture, a
# group of lines for each scenario, a line for each product, on a logarithmic scale.

package BenchPlot;

use strict;
use warnings;

my @colours = map { "#$_" } qw(1b7837 7fbf7b 2166ac 92c5de b2182b f4a582 762a83 c2a5cf);
my ($left, $right, $top, $line, $between) = (250, 780, 46, 17, 14);
my ($from_ms, $to_ms) = (10, 200_000);

sub x_of
{
	my ($ms) = @_;

	$ms = $from_ms if $ms < $from_ms;
	$ms = $to_ms if $ms > $to_ms;
	return sprintf '%.1f', $left + ($right - $left) * log($ms / $from_ms) / log($to_ms / $from_ms);
}

sub escape
{
	my ($text) = @_;

	$text =~ s/&/&amp;/g;
	$text =~ s/</&lt;/g;
	return $text;
}

sub svg
{
	my ($results) = @_;
	my ($marks, $y) = ('', $top);
	my %colour;

	@colour{ @{ $results->{product_order} } } = @colours;
	for my $scenario (grep { $results->{scenarios}{$_} } @{ $results->{order} })
	{
		my @shown = grep { (($results->{products}{$_}{scenarios} // {})->{$scenario} // {})->{summary}{gap_ms} }
		  grep { $results->{products}{$_} } @{ $results->{product_order} };

		next unless @shown;
		$marks .= sprintf(qq(<text x="8" y="%d" font-weight="bold">%s</text>\n), $y + 4, escape($results->{scenarios}{$scenario}));
		$y += $line;
		for my $product (@shown)
		{
			my $s = $results->{products}{$product}{scenarios}{$scenario}{summary}{gap_ms};
			my ($x1, $x, $x2) = map { x_of($_) } @$s{qw(min median max)};

			$marks .= qq(<g stroke="$colour{$product}" fill="$colour{$product}"><line x1="$x1" y1="$y" x2="$x2" y2="$y" stroke-width="3"/>)
			  . qq(<circle cx="$x" cy="$y" r="5"/></g>)
			  . sprintf(qq(<text x="%d" y="%d" text-anchor="end">%s</text>), $left - 10, $y + 4, $product)
			  . sprintf(qq(<text x="%.1f" y="%d">%s</text>\n), $x2 + 9, $y + 4,
				$s->{median} < 9950 ? sprintf('%.0f ms', $s->{median}) : sprintf('%.1f s', $s->{median} / 1000));
			$y += $line;
		}
		$y += $between;
	}
	my $grid = join '', map {
		my ($x, $label) = (x_of($_), $_ < 1000 ? "$_ ms" : $_ / 1000 . ' s');
		sprintf(qq(<line x1="%s" y1="26" x2="%s" y2="%d" stroke="#ddd"/><text x="%s" y="18" text-anchor="middle">%s</text>\n),
			$x, $x, $y, $x, $label);
	} 10, 100, 1000, 10_000, 100_000;

	return sprintf(qq(<svg xmlns="http://www.w3.org/2000/svg" width="860" height="%d" viewBox="0 0 860 %d" font-family="sans-serif" font-size="12">\n)
		  . qq(<rect width="860" height="%d" fill="#fff"/>\n%s%s</svg>\n), $y + 6, $y + 6, $y + 6, $grid, $marks);
}

1;
