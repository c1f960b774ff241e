# Scenarios: what a cluster costs that has nothing to do.

package BenchCost;

use strict;
use warnings;

use BenchScenario;
use PatroniCluster;

our @scenarios = (
	idle => {
		title => 'nothing to do: processor, memory, requests',
		runs => 3,
		run => \&idle,
	},
);

# Processor time of processes so far in us: their threads, and children that have ended.
sub spent_us
{
	my (@pids) = @_;
	my $us = 0;
	my $tick_us = 1e6 / POSIX::sysconf(POSIX::_SC_CLK_TCK());

	for my $pid (@pids)
	{
		my ($children) = PatroniCluster::slurp("/proc/$pid/stat") =~ /^\d+ \(.*\) \S (.*)/s or next;
		my @field = split / /, $children;

		for (glob "/proc/$pid/task/*/schedstat")
		{
			my ($ns) = PatroniCluster::slurp($_) =~ /^(\d+)/ or next;
			$us += $ns / 1000;
		}
		$us += ($field[12] + $field[13]) * $tick_us;	# cutime, cstime
	}
	return $us;
}

sub pss_kb
{
	my (@pids) = @_;
	my $sum = 0;

	for (@pids)
	{
		my ($kb) = PatroniCluster::slurp("/proc/$_/smaps_rollup") =~ /^Pss: +(\d+)/m or next;
		$sum += $kb;
	}
	return $sum;
}

# The sessions that the agents have in a server.
sub sessions
{
	my ($cluster, $node) = @_;
	my ($status, $out) = $node->try_sql(
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND usename <> 'writer'");

	return split /\n/, $out;
}

# Means over the members; a member's agent counts with its sessions in the
# server, and "node" is everything: agent and server.
sub idle
{
	my ($cluster, $option) = @_;
	my @nodes = $cluster->nodes;
	my (%agent, %all, %agent_us, %all_us);

	$cluster->wait_for_leader;
	# what was begun comes to rest: the server itself writes a little WAL for half a minute
	pause_until(now_us() + $option->{idle_s} * 0.5e6);
	for my $node (@nodes)
	{
		$agent{$node} = [ $cluster->agent_pids($node), sessions($cluster, $node) ];
		$all{$node} = [ $node->pids('all') ];
	}
	my $requests = $cluster->has_store ? $cluster->store_requests : 0;
	my $begin_us = now_us();
	for my $node (@nodes)
	{
		$agent_us{$node} = spent_us(@{ $agent{$node} });
		$all_us{$node} = spent_us(@{ $all{$node} });
	}
	pause_until($begin_us + $option->{idle_s} * 1e6);
	my $end_us = now_us();
	my %result = (agent_cpu_percent => 0, node_cpu_percent => 0, agent_pss_mb => 0);
	for my $node (@nodes)
	{
		my @still = grep { PatroniCluster::is_alive($_) } @{ $agent{$node} };

		$result{agent_cpu_percent} += (spent_us(@still) - $agent_us{$node}) / ($end_us - $begin_us) * 100 / @nodes;
		$result{node_cpu_percent} += (spent_us(@{ $all{$node} }) - $all_us{$node}) / ($end_us - $begin_us) * 100 / @nodes;
		$result{agent_pss_mb} += pss_kb(@still) / 1024 / @nodes;
	}
	# the question itself is no request: it is asked over another door, or counted out
	$result{requests_per_minute} = ($cluster->store_requests - $requests) / @nodes / (($end_us - $begin_us) / 60e6)
	  if $cluster->has_store;
	return \%result;
}

1;
