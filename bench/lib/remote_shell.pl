#!/usr/bin/perl
# remote_shell.pl: a stand-in for ssh between the name spaces of one machine.
#
#   ssh --serve ADDRESS PORT       run what others ask for
#   ssh [OPTION...] HOST COMMAND   have it run there; here if $REMOTE_SHELL_PORT is not set
#
# The answer is the output of the command, a NUL and its exit status.

use strict;
use warnings;

use IO::Socket::INET;

if (@ARGV && $ARGV[0] eq '--serve')
{
	my $listener = IO::Socket::INET->new(LocalAddr => $ARGV[1], LocalPort => $ARGV[2], Listen => 5, ReuseAddr => 1)
	  or die "could not listen: $!\n";

	$SIG{CHLD} = 'IGNORE';
	while (my $client = $listener->accept)
	{
		next if fork;
		$SIG{CHLD} = 'DEFAULT';
		local $/ = "\0";
		chomp(my $command = <$client> // '');
		open(my $output, '-|', 'sh', '-c', "$command") or exit 1;
		local $/;
		my $text = <$output> // '';
		close $output;
		print $client $text, "\0", $? >> 8;
		exit 0;
	}
	exit 0;
}

while (@ARGV && $ARGV[0] =~ /^-/)
{
	my $option = shift @ARGV;

	shift @ARGV if $option =~ /^-[opliFJLRWbcDEeIkmQSw]$/;
}
my ($host, @command) = @ARGV;

exec 'sh', '-c', "@command" unless $ENV{REMOTE_SHELL_PORT};
$host =~ s/.*@//;
my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $ENV{REMOTE_SHELL_PORT}, Timeout => 5) or exit 255;

print $socket "@command\0";
$socket->flush;
local $/;
my ($text, $status) = (<$socket> // '') =~ /^(.*)\0(\d+)$/s or exit 255;
print $text;
exit $status;
