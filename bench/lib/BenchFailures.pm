# Scenarios: the leader changes, because somebody wants it or because something
# has died or is cut off.

package BenchFailures;

use strict;
use warnings;

use BenchScenario;
use PatroniCluster;

our @scenarios = (
	switchover => {
		title => 'planned switchover',
		run => \&switchover,
	},
	postmaster => {
		title => 'postmaster of the primary killed (SIGKILL)',
		run => sub {
			return episode($_[0], paths => 1, do => sub { kill 'KILL', $_[0]->pids('postmaster') });
		},
	},
	node => {
		title => 'every process of the primary\'s node killed (SIGKILL)',
		run => sub { return episode($_[0], paths => 1, do => sub { $_[0]->kill9 }); },
	},
	cut => {
		title => 'the primary\'s node cut off by the network, packets dropped',
		if => sub { $_[0]{is_namespaced} ? undef : 'needs root and network namespaces' },
		run => \&cut,
	},
);

# To a named standby, as an operator asks for it.
sub switchover
{
	my ($cluster) = @_;
	my ($pid, $status, $candidate);
	my $result = episode($cluster, paths => 1, do => sub {
		my ($old) = @_;

		($candidate) = grep { $_ != $old } $cluster->nodes;
		$pid = $cluster->switchover($old, $candidate);
	}, until => sub {
		my ($client, $begin_us) = @_;

		$status = $? if !defined $status && waitpid($pid, POSIX::WNOHANG()) == $pid;
		die 'it was not carried out: ' . PatroniCluster::slurp($cluster->{switchover_log}) . "\n"
		  if defined $status && $status != 0;
		return defined $status && $client->errors_since($begin_us)
		  && $client->steady($begin_us) >= $BenchScenario::steady_acks;
	});

	die "the leader is $result->{new}{name} again\n" if $result->{new} == $result->{old};
	return { %$result, $cluster->phases($result->{new}, 'switchover') };
}

# One client has all the members and is not cut off, another one sits beside the
# old primary.
sub cut
{
	my ($cluster) = @_;

	return episode($cluster, pinned => 'inside', do => sub { $cluster->cut_off($_[0]) });
}

1;
