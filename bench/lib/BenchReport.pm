# BenchReport: results as JSON, as Markdown and, by BenchPlot, as a picture.
# Whatever is printed comes from the JSON; nobody edits numbers by hand.

package BenchReport;

use strict;
use warnings;
use utf8;

use BenchPlot;
use BenchStatistics;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(usleep);

my $json = JSON::PP->new->canonical->pretty;

sub read_text
{
	my ($path) = @_;

	open(my $file, '<:utf8', $path) or return;
	local $/;
	return scalar <$file>;
}

sub write_text
{
	my ($path, $text) = @_;

	make_path(dirname($path));
	open(my $file, '>:utf8', "$path.new") or die "could not write $path: $!\n";
	print $file $text;
	close $file or die "could not write $path: $!\n";
	rename "$path.new", $path or die "could not write $path: $!\n";
}

# What bench/many_clusters.sh has written; undef if it was never run.
sub load_many_clusters
{
	my ($path) = @_;
	my $text = read_text($path);

	return defined $text ? $json->decode($text) : undef;
}

sub load
{
	my ($path, $is_wanted) = @_;
	my $text = $is_wanted ? read_text($path) : undef;

	return defined $text ? $json->decode($text) : { products => {} };
}

# With the summary of each list of values beside it.
sub save
{
	my ($results, $path) = @_;

	for my $product (values %{ $results->{products} })
	{
		for my $slot (values %{ $product->{scenarios} // {} })
		{
			$slot->{summary}{$_} = BenchStatistics::summary(@{ $slot->{values}{$_} }) for keys %{ $slot->{values} // {} };
		}
	}
	write_text($path, $json->encode($results));
}

# How much of the processors others use, before we begin, in percent.
sub busy_percent
{
	my @before = split / +/, (split /\n/, read_text('/proc/stat'))[0];

	usleep(2_000_000);
	my @after = split / +/, (split /\n/, read_text('/proc/stat'))[0];
	my @spent = map { $after[$_] - $before[$_] } 1 .. 8;
	my $sum = 0;

	$sum += $_ for @spent;
	return 100 * ($sum - $spent[3] - $spent[4]) / $sum;
}

sub describe_machine
{
	my ($results, $option) = @_;
	my ($model) = (read_text('/proc/cpuinfo') // '') =~ /^model name\s*: (.*)/m;
	my ($kb) = read_text('/proc/meminfo') =~ /^MemTotal: +(\d+)/m;
	my ($postgres) = `"\$PG_BINDIR/postgres" --version` =~ /([\d.]+)/;
	my ($etcd) = `etcd --version` =~ /etcd Version: ([\d.]+)/;
	my $busy = busy_percent();

	$results->{machine} = {
		processors => POSIX::sysconf(84) + 0,		# _SC_NPROCESSORS_ONLN
		model => $model // 'unknown',
		memory_gb => int($kb / 1024 / 1024 + 0.5),
		kernel => (POSIX::uname())[2],
		postgresql => $postgres // '',
		etcd => $etcd // '',
		date => POSIX::strftime('%Y-%m-%d', gmtime),
		busy_percent => $busy > ($results->{machine}{busy_percent} // 0) ? $busy : $results->{machine}{busy_percent},
	};
	$results->{conditions} = { map { $_ => $option->{$_} } qw(runs rounds load fsync disk namespaces freeze_s outage_s idle_s) };
}

# --- tables ---

my %metric_title = (
	gap_ms => 'no write acknowledged for',
	gap_haproxy_ms => '… through HAProxy',
	gap_pgbouncer_ms => '… through PgBouncer',
	lost => 'acknowledged writes lost',
	lost_pinned => '… of a client beside the old primary',
	lost_haproxy => '… through HAProxy',
	lost_pgbouncer => '… through PgBouncer',
	errors => 'errors a client saw',
	errors_haproxy => '… through HAProxy',
	errors_pgbouncer => '… through PgBouncer',
	phase_handover_ms => 'from the request until the lease was given away',
	phase_election_ms => '… without a lease',
	phase_promotion_ms => '… until the new one was a primary',
	refused_after_ms => 'refused after',
	back_after_ms => 'back after the store\'s return',
	agent_cpu_percent => 'processor of an agent and its sessions, % of a core',
	node_cpu_percent => 'processor of a node with its server, % of a core',
	agent_pss_mb => 'memory of an agent and its sessions (PSS), MB',
	requests_per_minute => 'store requests a minute and node',
	rate => 'requests/s',
	rate_of_patroni => '… Patroni',
	p99_ms => '99th percentile',
	p99_of_patroni_ms => '… Patroni',
	cpu_per_request => 'processor time a request, us',
	cpu_per_request_of_patroni => '… Patroni',
	tps_both => 'transactions/s with the fence and patroni.wal_send_wait',
	tps_with => '… with the fence alone',
	tps_without => '… with neither',
	ratio => 'ratio of the fence alone to neither',
	ratio_send => 'ratio of both to the fence alone',
);
my @metric_order = qw(gap_ms gap_haproxy_ms gap_pgbouncer_ms phase_handover_ms phase_election_ms phase_promotion_ms
  refused_after_ms back_after_ms lost lost_pinned lost_haproxy
  lost_pgbouncer errors errors_haproxy errors_pgbouncer agent_cpu_percent node_cpu_percent agent_pss_mb requests_per_minute
  rate rate_of_patroni p99_ms p99_of_patroni_ms cpu_per_request cpu_per_request_of_patroni tps_both tps_with tps_without ratio ratio_send);

sub number
{
	my ($value, $metric) = @_;

	if ($metric =~ /_ms$/)
	{
		return $value < 9.95 ? sprintf('%.1f ms', $value) : $value < 9950 ? sprintf('%.0f ms', $value)
		  : sprintf('%.1f s', $value / 1000);
	}
	return sprintf('%.4f', $value) if $metric =~ /^ratio/;
	return $value == int($value) || $value >= 100 ? sprintf('%.0f', $value) : sprintf('%.2f', $value);
}

# How long as many runs as a function says would take, by those that were.
sub seconds
{
	my ($results, $runs_of) = @_;
	my $sum = 0;

	for my $product (keys %{ $results->{products} })
	{
		my $scenarios = $results->{products}{$product}{scenarios} // {};

		for my $scenario (grep { $scenarios->{$_}{seconds} } keys %$scenarios)
		{
			$sum += BenchStatistics::summary(@{ $scenarios->{$scenario}{seconds} })->{median} * $runs_of->($product, $scenario);
		}
	}
	return $sum;
}

# One table for each scenario: a line for each product and metric.
sub tables
{
	my ($results, $heading) = @_;
	my $text = '';

	for my $scenario (grep { $results->{scenarios}{$_} } @{ $results->{order} })
	{
		my @lines;

		for my $product (@{ $results->{product_order} })
		{
			my $entry = $results->{products}{$product} or next;
			my $slot = $entry->{scenarios}{$scenario} or next;
			my $first = $product;

			push @lines, "| $product | left out: $slot->{left_out} | | | | | |" if $slot->{left_out};
			for my $metric (grep { $slot->{summary}{$_} } @metric_order)
			{
				my $s = $slot->{summary}{$metric};

				push @lines, sprintf('| %s | %s | %s | %s | %s | %s | %d |', $first, $metric_title{$metric},
					(map { number($s->{$_}, $metric) } qw(min median p99 max)), $s->{runs});
				$first = '';
			}
			my %failures;
			$failures{$_}++ for @{ $slot->{failures} // [] };
			push @lines, "| $product | failed: $_ | | | | | $failures{$_} |" for sort keys %failures;
		}
		next unless @lines;
		$text .= "\n" . ($heading // '#') . " $scenario: $results->{scenarios}{$scenario}\n\n"
		  . "| product | | min | median | p99 | max | runs |\n|---|---|--:|--:|--:|--:|--:|\n" . join("\n", @lines) . "\n";
	}
	return $text;
}

# The medians of what matters most, a column for each product.
sub overview
{
	my ($results) = @_;
	my @products = grep { $results->{products}{$_} && $results->{products}{$_}{scenarios} } @{ $results->{product_order} };
	my $text = '| | ' . join(' | ', @products) . " |\n|---|" . ('--:|' x @products) . "\n";

	for my $scenario (grep { $results->{scenarios}{$_} } @{ $results->{order} })
	{
		my @cells = map {
			my $s = ($results->{products}{$_}{scenarios}{$scenario} // {})->{summary};
			my $lost = $s && $s->{lost} ? $s->{lost}{max} : 0;

			$lost += $s->{lost_pinned}{max} if $s && $s->{lost_pinned};
			$s && $s->{gap_ms} ? number($s->{gap_ms}{median}, 'gap_ms') . ($lost ? ", lost up to $lost" : '') : '–';
		} @products;

		next unless grep { $_ ne '–' } @cells;
		$text .= "| $results->{scenarios}{$scenario} | " . join(' | ', @cells) . " |\n";
	}
	return $text;
}

# What bench/many_clusters.sh has measured: a list, or undef.
sub many_clusters
{
	my ($list) = @_;
	my ($costs, $delays, %late) = ('', '');
	my $whole = sub { (my $n = sprintf('%.0f', $_[0])) =~ s/(?<=\d)(?=(\d{3})+$)/,/g; $n };

	return '' unless $list && @$list;
	for my $run (@$list)
	{
		my ($etcd, $known, $led) = @$run{qw(etcd key_gone_ms led_again_ms)};
		my $who = $whole->($run->{clusters}) . " | $run->{ttl_s} s | " . ($run->{writes_per_s} || '–');
		my $asked = $etcd->{requests_per_s};

		$costs .= sprintf("| %s | %.1f | %.1f | %.1f | %.2f | %.1f | %d MB | %s | %.1f | %.1f s |\n", $who, $etcd->{all_requests_per_s},
			$asked->{LeaseKeepAlive} // 0, ($asked->{Txn} // 0) + ($asked->{Range} // 0), 60 * $etcd->{all_requests_per_s} / $run->{members},
			$etcd->{cpu_percent}, $etcd->{rss_mb}, $whole->($etcd->{sockets}), $run->{homes_cpu_percent}, $run->{started_s});
		$delays .= sprintf("| %s | %s | %d | %s | %d | %.0f / %.0f ms |\n", $who, join(' | ', map { number($known->{$_}, 'x_ms') } qw(min median p99 max)),
			$known->{n}, join(' | ', map { number($led->{$_}, 'x_ms') } qw(min median p99 max)), $led->{n},
			@{ $etcd->{lease_ends_late_ms} }{qw(alone loaded)});
	}
	my $first = $list->[0];
	my ($busiest) = sort { $b <=> $a } map { $_->{others_busy_percent} } @$list;
	my $note = $busiest > 15 ? sprintf(' Other work used up to %.0f %% of the processors meanwhile.', $busiest) : '';

	$note .= " $first->{note}" if $first->{note};	# what has changed since
	return <<"END_OF_TEXT";

## Many idle clusters on one etcd

Clusters of three members, with nothing to do, on one etcd $first->{etcd}{version} with its default settings, its data ${\($first->{etcd}{data} eq 'disk'
	? 'on a disk' : 'in memory')},
all on the same $first->{processors} processors ($first->{date}). Engine, driver and HTTP are ours, twice for each member as in a node (worker and
supervisor); the servers are missing. `loop_wait` is 10 s with `ttl` 30 s, and half of `ttl` otherwise. Measured
for $first->{idle_s} s, one `ttl` after all have started.$note

| clusters | ttl | writes/s of others | requests/s | renewals | reads | a minute and member | etcd, % of a core | etcd's memory | sockets of etcd | all members, % of a core | all started within |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
$costs
Expected is that each leader renews its session every `loop_wait`, or third of `ttl` if that is less, each standby two times while
a leader does so three times (with a `ttl` of 10 s or more), and nothing else: a renewal
also shows that nobody wrote to the store since the watch has last told something, so that no read is needed, neither of the
leader key nor to check the watch. Where somebody else writes to the same etcd, as one busy cluster among them does, it does not
show that; then each leader reads its key with each renewal, and each standby looks every 7/12 of `ttl` whether its watch is right.
Not seen in these $first->{idle_s} s: each of a node's two processes asks for etcd's members every ten `ttl`. etcd needs two to three
sockets for each process: mind its limit of open files.

Then leaders fall silent, as when their hosts lose power. How long after the end of the lease, that is `ttl` after its last renewal was
sent, do the watches of the others know that the key has gone, and when does another member hold the lease?

| clusters | ttl | writes/s of others | a watcher knows: min | median | p99 | max | watchers | one leads again: min | median | p99 | max | takeovers | etcd itself, at most: alone / with all |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
$delays
etcd looks every half second which leases have ended, so that a key goes up to as much late. The last column is how late that is
at most without us: a key under a lease of 2 s, granted just after etcd has ended the one before, and asked for every 5 ms; the median
of seven, before the clusters have started and when all run. What the watchers wait is that: our share is what is beyond it.
END_OF_TEXT
}

# What bench/bench.pl has measured and, if there is any, what bench/many_clusters.sh has.
sub write_report
{
	my ($results, $directory, $many_clusters) = @_;
	my ($machine, $conditions) = @$results{qw(machine conditions)};
	my $is_busy = $machine->{busy_percent} > 15 || $conditions->{runs} < 20;
	my $note = $is_busy ? sprintf("**Preliminary**: %d run%s each, on a machine whose processors were %.0f %% busy with other work"
		  . " before the first one.\n\n", $conditions->{runs},
		$conditions->{runs} == 1 ? '' : 's', $machine->{busy_percent}) : '';

	$note .= "$conditions->{note}\n\n" if $conditions->{note};	# what is not as it says below
	my $load = $conditions->{load} eq 'full' ? '`pgbench -N -c 4` as fast as it can'
	  : $conditions->{load} ? "`pgbench -N -c 4 -R $conditions->{load}`" : 'nothing';
	my $products = join '', map {
		my $entry = $results->{products}{$_};
		!$entry ? '' : $entry->{left_out} ? "| $_ | left out: $entry->{left_out} | |\n"
		  : $entry->{version} ? "| $_ | $entry->{version} | $entry->{settings} |\n" : '';
	} @{ $results->{product_order} };

	my $text = <<"END_OF_TEXT";
# Benchmarks

This page is written by `make bench` from bench/results/benchmarks.json; nothing in it is edited by hand.

${note}Three members of each product on one machine ($machine->{processors} processors, $machine->{model}, $machine->{memory_gb} GB,
Linux $machine->{kernel}), one product at a time, in one run on $machine->{date}. PostgreSQL $machine->{postgresql} with the same settings
for all (asynchronous replication, `fsync` ${\($conditions->{fsync} ? 'on' : 'off')}, data directories ${\($conditions->{disk}
	? 'on a disk' : 'in memory, so that no disk has moods')}), etcd $machine->{etcd} with one member, in memory. ${\($conditions->{namespaces}
	? 'Every member has a network name space of its own.' : 'Without network name spaces.')}
A client (libpq, all members in its connection string, `target_session_attrs=read-write`) writes a row every 5 ms, gives an
answer up after 1 s, and connects again at once; beside it $load. "No write acknowledged for" is the longest time
between two acknowledgements; "lost" are acknowledged writes that are not in the table when all members run again.

| name | product | settings |
|---|---|---|
$products
What is frozen stands still for $conditions->{freeze_s} s, the store is gone for $conditions->{outage_s} s, an idle cluster is
watched for $conditions->{idle_s} s. "Through HAProxy": it asks `/primary` every second and cuts off whom a dead server had
(`inter 1s fall 2 rise 1 on-marked-down shutdown-sessions`). "Through PgBouncer": the client is connected to PgBouncer in
transaction mode (`server_login_retry = 0.02`), and that to the leader by a section of HAProxy of its own, which asks every 100 ms
(`inter 100ms fall 1 rise 1`, `retries 0`) and cuts nobody off: for all products the settings of [pgbouncer.md](pgbouncer.md). Only patroni_bgw
is told of PgBouncer, to pause it during a switchover; others have no such thing. Neither runs while an idle cluster is watched.
No product had a watchdog device. repmgr's commands reach another member by a stand-in for ssh that needs no time to log in.

## Overview

Median of the time without an acknowledged write, and the most that a run lost.

${\overview($results)}
![the time without an acknowledged write](benchmarks.svg)

A line goes from the shortest to the longest run, the dot is the median; the scale is logarithmic.

## All figures
${\tables($results, '###')}${\many_clusters($many_clusters)}
## Run it yourself

    make bench-quick      # a few minutes, prints tables, changes no file but bench/results/quick.json
    make bench            # hours; writes this page
    make bench-many       # half an hour; many idle clusters on one etcd, writes this page

Both need what `make` needs and, for products that are not left out, Debian's packages `patroni`, `etcd-server`,
`pg-auto-failover-cli postgresql-15-auto-failover` and `postgresql-15-repmgr`; as root also for the scenario `cut`.
`bench/bench.pl --help` lists products, scenarios and options, `bench/many_clusters.sh --help` those of many clusters.
END_OF_TEXT

	write_text("$directory/benchmarks.md", $text);
	write_text("$directory/benchmarks.svg", BenchPlot::svg($results));
}

1;
