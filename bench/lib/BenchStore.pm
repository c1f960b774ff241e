# Scenarios: the consensus store (etcd; for pg_auto_failover its monitor) is gone
# for a while, and all members are well.

package BenchStore;

use strict;
use warnings;

use BenchScenario;

our @scenarios = (
	store => {
		title => 'the store is gone for a while',
		is_slow => 1,
		if => sub { $_[0]->has_store ? undef : 'has no store' },
		run => sub {
			my ($cluster, $option) = @_;

			$cluster->set_failsafe(0);
			return outage($cluster, $option);
		},
	},
	failsafe => {
		title => 'the same, with failsafe_mode on',
		is_slow => 1,
		if => sub { $_[0]->can('set_failsafe') == \&BenchCluster::set_failsafe ? 'has no failsafe mode' : undef },
		run => sub {
			my ($cluster, $option) = @_;

			$cluster->set_failsafe(1);
			my $result = outage($cluster, $option);
			$cluster->set_failsafe(0);
			return $result;
		},
	},
);

sub outage
{
	my ($cluster, $option) = @_;
	my $back_us;
	my $result = episode($cluster, bound => $option->{outage_s} + 150, do => sub {
		$cluster->{store_is_down} = 1;
		$cluster->stop_store;
	}, until => sub {
		my ($client, $begin_us) = @_;

		if (!$back_us)
		{
			pause_until($begin_us + $option->{outage_s} * 1e6);
			$cluster->start_store;
			$back_us = now_us();
			$cluster->{store_is_down} = 0;
		}
		return now_us() > $back_us + 2e6 && $client->steady($back_us) >= $BenchScenario::steady_acks;
	});
	my ($refused) = $result->{client}->errors_since($result->{begin_us});
	my ($first) = grep { $_->{us} > $back_us } $result->{client}->acks;

	if ($refused)
	{
		$result->{refused_after_ms} = ($refused->{us} - $result->{begin_us}) / 1000;
		$result->{back_after_ms} = ($first->{us} - $back_us) / 1000;
	}
	return $result;
}

1;
