# A lease page of its own for servers that no supervisor manages, and the
# programs of test/tools that move it and that write under it.

package LeasePage;

use strict;
use warnings;

use Exporter 'import';
use FindBin;

use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(lease lease_counter $lease_page $lease_tool $commit_burst);

our $lease_page = "/patroni.test.$$";
our ($lease_tool, $commit_burst);

sub build
{
	my $root = "$FindBin::RealBin/..";
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my @cc = ($ENV{CC} // 'cc', '-std=gnu11', '-D_GNU_SOURCE', '-O2', "-I$root/src");

	chomp(my $libpq_include = `pg_config --includedir`);
	chomp(my $libpq_lib = `pg_config --libdir`);
	($lease_tool, $commit_burst) = ("$directory/lease_tool", "$directory/commit_burst");
	system(@cc, '-o', $lease_tool, "$root/test/tools/lease_tool.c",
		"$root/src/base/error.c", "$root/src/base/lease_page.c") == 0
	  or BAIL_OUT('could not build lease_tool');
	system(@cc, "-I$libpq_include", '-o', $commit_burst,
		"$root/test/tools/commit_burst.c", "-L$libpq_lib", '-lpq') == 0
	  or BAIL_OUT('could not build commit_burst');
}

# One command of lease_tool; its output.
sub lease
{
	my $command = join ' ', $lease_tool, $lease_page, @_;
	my $output = `$command`;

	die "$command failed" if $? != 0;
	chomp $output;
	return $output;
}

sub lease_counter
{
	my ($name) = @_;
	my ($value) = lease('show') =~ /^\Q$name\E=(\d+)$/m;

	return $value;
}

# after the INIT of PostgreSQL::Test::Utils, which says where temporary directories are made
INIT { build(); }

END
{
	local $?;
	system($lease_tool, $lease_page, 'remove') if defined $lease_tool && -x $lease_tool;
}

1;
