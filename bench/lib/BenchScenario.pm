# BenchScenario: what all scenarios have in common.  A scenario is an entry in
# the table of its group's file:
#
#   name => {
#       title => what happens, in words,
#       run => sub ($cluster, $option) { ... return { metric => number, ... } },
#       runs => how often at most,
#       is_slow => it takes a minute or more,
#       if => sub ($cluster) { why it cannot be run with this product, or nothing },
#   }
#
# A metric that ends in _ms is a time; "lost" counts acknowledged writes that the
# cluster does not have in the end; "errors" counts writes that were refused, cut
# off or given up.

package BenchScenario;

use strict;
use warnings;

use Exporter qw(import);
our @EXPORT = qw(episode now_us pause_until);

use List::Util qw(max);
use PatroniCluster;
use Time::HiRes qw(usleep);

our $steady_acks = 100;		# half a second of them

sub now_us { return PatroniCluster::now_us(); }

sub pause_until
{
	my ($us) = @_;
	my $left = $us - now_us();

	usleep($left) if $left > 0;
}

# How many of its acknowledged writes are not there; also says when that was.
# What happened took from begin_us to done_us.
sub count_lost
{
	my ($name, $client, $leader, $begin_us, $done_us) = @_;
	my @lost = sort { $a->{us} <=> $b->{us} } $client->lost($leader);

	printf "# %s: %d lost, acknowledged %.1f to %.1f ms after it began, it was done after %.1f ms\n", $name, scalar @lost,
	  map { ($_ - $begin_us) / 1000 } $lost[0]{us}, $lost[-1]{us}, $done_us
	  if @lost;
	return scalar @lost;
}

# Clients write, something is done to the cluster, and it is waited until the
# first client writes again as before.  Options:
#
#   do      sub ($old): what happens; returns when it has begun
#   until   sub ($client, $begin_us): is it over?
#   pinned  also a client that knows the old leader only: 1, or 'inside' for
#           one that stays on its side of the network
#   paths   also clients by way of load balancers
#   bound   after so many seconds nobody waits any longer
#
# Returns the metrics; {begin_us}, {end_us} and {client} for those who want more.
sub episode
{
	my ($cluster, %option) = @_;
	my $old = $cluster->wait_for_leader;
	my $client = $cluster->client;
	my $pinned = $option{pinned}
	  && $cluster->client(hosts => [ [ $old->{host}, $old->{port} ] ], any => 1, patience_ms => 0,
		namespace => $option{pinned} eq 'inside' ? $old->{name} : undef);
	my %paths = $option{paths} ? map { $_ => $cluster->client(hosts => [ $cluster->{paths}{$_} ], any => 1, patience_ms => 5000, retry_ms => 20) }
	  sort keys %{ $cluster->{paths} // {} } : ();
	my %result;

	$cluster->start_load;
	my $started_us = now_us();
	$cluster->wait_for('clients write', sub {
		!grep { $_ && $_->steady($started_us + 500_000) < $steady_acks } $client, $pinned, values %paths;
	}, every_ms => 50, timeout => 30);

	my $begin_us = now_us();
	$option{do}->($old);
	my $done_us = now_us();
	my $until = $option{until} // sub { $_[0]->errors_since($begin_us) && $_[0]->steady($begin_us) >= $steady_acks };
	$cluster->wait_for('clients write again', sub { $until->($client, $begin_us) },
		every_ms => 50, timeout => $option{bound} // 150);
	# one that was held back may have had no error, and may have begun to wait before the outage
	my $outage_us = max($begin_us, $client->last_error_us);
	$cluster->wait_for("clients write again by way of $_", sub { $paths{$_}->steady($outage_us) >= $steady_acks },
		every_ms => 50, timeout => 60) for sort keys %paths;
	my $end_us = now_us();

	$cluster->stop_load;
	$client->stop;
	$_->stop for values %paths;
	$cluster->heal;
	$pinned->stop if $pinned;
	my $leader = $cluster->wait_for_leader;

	$result{gap_ms} = $client->gap_ms($begin_us, $end_us);
	$result{errors} = $client->errors_since($begin_us);
	$result{lost} = count_lost('client', $client, $leader, $begin_us, $done_us);
	for (keys %paths)
	{
		$result{"gap_${_}_ms"} = $paths{$_}->gap_ms($begin_us, $end_us);
		$result{"errors_$_"} = $paths{$_}->errors_since($begin_us);
		$result{"lost_$_"} = count_lost("client through $_", $paths{$_}, $leader, $begin_us, $done_us);
	}
	$result{lost_pinned} = count_lost('client of the old primary', $pinned, $leader, $begin_us, $done_us) if $pinned;
	return { %result, begin_us => $begin_us, end_us => $end_us, client => $client, old => $old, new => $leader };
}

1;
