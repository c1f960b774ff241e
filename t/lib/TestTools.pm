# Builds the programs and libraries of test/tools where a test runs.

package TestTools;

use strict;
use warnings;

use Exporter 'import';
use FindBin;

our @EXPORT = qw(build_tool libpq_flags);

my $root = "$FindBin::RealBin/..";

# Build a program, or a library to be loaded when the name ends with .so, from
# files of the project and options for the compiler.  Its path.
sub build_tool
{
	my ($path, @sources) = @_;

	system($ENV{CC} // 'cc', '-std=gnu11', '-D_GNU_SOURCE', '-O2', "-I$root/src",
		$path =~ /\.so$/ ? ('-shared', '-fPIC') : (), '-o', $path,
		map { /^-/ ? $_ : "$root/$_" } @sources) == 0
	  or die "could not build $path";
	return $path;
}

sub libpq_flags
{
	chomp(my $include = `pg_config --includedir`);
	chomp(my $lib = `pg_config --libdir`);
	return ("-I$include", "-L$lib", '-lpq');
}

1;
