# Scenarios: the processes that look after the primary stand still, and clients
# go on writing to it.

package BenchFrozen;

use strict;
use warnings;

use BenchScenario;

our @scenarios = (
	agent => {
		title => 'the primary\'s agent frozen (SIGSTOP), its server not',
		is_slow => 1,
		run => sub {
			my ($cluster, $option) = @_;

			return frozen($cluster, $option, sub { $cluster->freeze_pids($cluster->agent_pids($_[0])) });
		},
	},
	host => {
		title => 'every process of the primary\'s node frozen (SIGSTOP)',
		is_slow => 1,
		run => sub {
			my ($cluster, $option) = @_;

			return frozen($cluster, $option, sub { $cluster->freeze_pids($_[0]->pids('all')) for 1 .. 2; });
		},
	},
);

# One client knows all members, one only the old primary.  Whatever they were
# told in that time must be there afterwards.
sub frozen
{
	my ($cluster, $option, $freeze) = @_;
	my $is_thawed = 0;
	my $result = episode($cluster, pinned => 1, do => $freeze, bound => $option->{freeze_s} + 150, until => sub {
		my ($client, $begin_us) = @_;

		if (!$is_thawed)
		{
			pause_until($begin_us + $option->{freeze_s} * 1e6);
			$cluster->thaw_all;
			$is_thawed = now_us();
		}
		# time for an old primary to see what has become of it
		return now_us() > $is_thawed + 3e6 && $client->steady($is_thawed) >= $BenchScenario::steady_acks;
	});

	$result->{lost} += delete $result->{lost_pinned};
	return $result;
}

1;
