# A lease page of its own for servers that no supervisor manages, and the
# programs of test/tools that move it and that write under it.

package LeasePage;

use strict;
use warnings;

use Exporter 'import';

use PostgreSQL::Test::Utils;
use TestTools;
use Test::More;

our @EXPORT = qw(lease lease_counter $lease_page $lease_tool $commit_burst);

our $lease_page = "/patroni.test.$$";
our ($lease_tool, $commit_burst);

sub build
{
	my $directory = PostgreSQL::Test::Utils::tempdir();

	$lease_tool = build_tool("$directory/lease_tool", 'test/tools/lease_tool.c', 'src/base/error.c', 'src/base/lease_page.c');
	$commit_burst = build_tool("$directory/commit_burst", 'test/tools/commit_burst.c', libpq_flags());
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
