# One member of Debian's Patroni and one of ours: synchronous mode, failover and failsafe mode, with a leader of each kind.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

plan skip_all => 'patroni is not installed'
  if system('patroni --version > /dev/null 2>&1') != 0;

# Patroni 3.0 takes a ttl below 20 as it is; the names need quotes in SQL
my $ttl = 6;
my $cluster = PatroniCluster->new('sync', members => 0,
	dcs => { ttl => $ttl, loop_wait => 1, retry_timeout => 2 }, parameters => { wal_retrieve_retry_interval => '200ms' },
	config => sub {
		my ($node, $config) = @_;

		$config->{restapi}{authentication} = { username => 'operator', password => 'ctl secret' };
	});
my ($theirs, $ours) = map { $cluster->add_node($_) } 'Their-1', 'Our-2';
my $scope = $cluster->{scope};
my %kind = ($theirs->{name} => 'Patroni', $ours->{name} => 'ours');
my ($status, $out, $err);

sub patronictl { ($status, $out, $err) = $cluster->patronictl(@_); return $out; }
sub patroni_ctl { ($status, $out, $err) = $cluster->patroni_ctl(@_); return $out; }
sub seen { diag("status $status\n$out\n$err"); return; }
sub other { my ($node) = @_; return $node == $ours ? $theirs : $ours; }
sub member { my ($node) = @_; return $cluster->key_json("members/$node->{name}") // {}; }
sub start { my ($node) = @_; $node->start($node == $theirs ? (program => 'patroni') : ()); return; }

$cluster->start_etcd;
start($theirs);
$cluster->wait_for_leader;
start($ours);
$cluster->wait_until_published;
$cluster->create_writes_table;
my $writer = $cluster->writer;

# --- synchronous mode ---

sub sync_is
{
	my ($leader, $what) = @_;
	my $standby = other($leader);
	my $key;

	$cluster->wait_for("$what: $standby->{name} is the synchronous standby", sub {
		$key = $cluster->key_json('sync') or return;
		return ($key->{leader} // '') eq $leader->{name} && ($key->{sync_standby} // '') eq $standby->{name};
	});
	is($leader->sql('SHOW synchronous_standby_names'), qq("$standby->{name}"), "$what: its name as Patroni writes it");
	$leader->wait_for_sql("SELECT sync_state = 'sync' FROM pg_stat_replication WHERE application_name = '$standby->{name}'");
	$cluster->wait_for("$what: health checks know it", sub {
		$standby->rest('/sync')->{status} == 200 && $leader->rest('/sync')->{status} == 503
	});
}

sub switch_to
{
	my ($to, $program) = @_;

	$cluster->wait_until_published;
	$program->('switchover', $scope, '--candidate', $to->{name}, '--force');
	ok($status == 0 && $out =~ /Successfully (switched|failed) over to "$to->{name}"/, "switchover to $kind{$to->{name}}") or seen;
	$cluster->wait_for_leader(is => $to);
	$writer->wait_for_acks(20, after_us => PatroniCluster::now_us(), from => $to);
}

patroni_ctl('edit-config', $scope, '--force', '-s', 'synchronous_mode=true');
is($status, 0, 'synchronous_mode is switched on') or seen;
sync_is($theirs, 'Patroni leads');
like(patronictl('list'), qr/$ours->{name} +\| \S+ +\| Sync Standby/, 'patronictl shows it');
switch_to($ours, \&patronictl);
sync_is($ours, 'ours leads');
like(patroni_ctl('list'), qr/$theirs->{name} +\| \S+ +\| Sync Standby/, 'patroni_ctl shows it');
is(patronictl('list', '-f', 'tsv'), patroni_ctl('list', '-f', 'tsv'), 'both command lines show the same');
switch_to($theirs, \&patroni_ctl);
sync_is($theirs, 'Patroni leads again');

# a member tagged nosync is not chosen, by a leader of either kind
sub nosync
{
	my ($node, $word) = @_;

	$node->{config}{tags} = { nosync => $word };
	$node->write_config;
	$node->reload;
}

sub nosync_is_heeded
{
	my ($leader) = @_;
	my $standby = other($leader);

	nosync($standby, JSON::PP::true);
	$cluster->wait_for("$kind{$leader->{name}} leads: nosync", sub {
		!(($cluster->key_json('sync') // {})->{sync_standby}) && $leader->sql('SHOW synchronous_standby_names') eq '';
	});
	ok(1, "$kind{$leader->{name}} leads: a member tagged nosync is not chosen");
	nosync($standby, JSON::PP::false);
	sync_is($leader, "$kind{$leader->{name}} leads without the tag");
}

nosync_is_heeded($theirs);

# --- failover: all of the leader's node is killed ---

sub fail_over
{
	my ($old) = @_;
	my $new = other($old);

	sync_is($old, "before the failover to $kind{$new->{name}}");
	$writer->wait_for_more;
	$old->kill9;
	$cluster->wait_for_leader(is => $new);
	$writer->wait_for_acks(20, after_us => PatroniCluster::now_us(), from => $new);
	my ($last) = reverse grep { $_->{port} == $old->{port} } $writer->acks;
	my ($first) = grep { $_->{port} == $new->{port} && $_->{us} > $last->{us} } $writer->acks;
	measured(sprintf('failover from %s to %s: %.1f s without a write, ttl %d', $kind{ $old->{name} }, $kind{ $new->{name} },
			($first->{us} - $last->{us}) / 1e6, $ttl));
	is($cluster->lost_writes, 0, "failover to $kind{$new->{name}}: no acknowledged write is lost");
	start($old);
	sync_is($new, "after the failover to $kind{$new->{name}}");
}

fail_over($theirs);
nosync_is_heeded($ours);
fail_over($ours);

# --- failsafe mode: the store is away for longer than the ttl ---

sub longest_gap_ms
{
	my ($from_us) = @_;
	my ($longest, $before) = (0, $from_us);

	for my $us (map { $_->{acked_us} } grep { $_->{acked_us} > $from_us } $writer->acks)
	{
		$longest = $us - $before if $us - $before > $longest;
		$before = $us;
	}
	return $longest / 1000;
}

sub outage
{
	my ($leader) = @_;
	my $standby = other($leader);
	my $what = "$kind{$leader->{name}} leads";

	$cluster->wait_until_published;
	my $answer = $standby->rest('/failsafe', method => 'POST', auth => 'operator:ctl%20secret', body => {
		name => $leader->{name}, conn_url => member($leader)->{conn_url}, api_url => member($leader)->{api_url}, slots => {} });
	is("$answer->{status} $answer->{content}", '200 Accepted', "$what: the other accepts POST /failsafe");
	is($leader->rest('/failsafe', method => 'POST', auth => 'operator:ctl%20secret', body => {
		name => $standby->{name}, conn_url => member($standby)->{conn_url}, api_url => member($standby)->{api_url} })->{status},
		500, 'the leader does not');
	my $begin_us = PatroniCluster::now_us();
	$cluster->stop_etcd;
	$writer->wait_for_acks(20, after_us => $begin_us + $ttl * 1.3e6);
	is(join(',', map { $_->rest('/patroni')->{json}{failsafe_mode_is_active} ? 1 : 0 } $leader, $standby), '1,1',
		"$what: without the store failsafe mode is active on both");
	$cluster->start_etcd;
	$cluster->wait_for("$what: the leader has its key", sub { ($cluster->key('leader') // '') eq $leader->{name} });
	$cluster->wait_for("$what: failsafe mode is over", sub { !$leader->rest('/patroni')->{json}{failsafe_mode_is_active} });
	$writer->wait_for_acks(20, after_us => PatroniCluster::now_us(), from => $leader);
	is(scalar(grep { $_->{us} > $begin_us } $writer->errors), 0, "$what: no write is refused");
	measured(sprintf('%s: %.0f s without the store, the longest time without a write was %.0f ms', $what,
			(PatroniCluster::now_us() - $begin_us) / 1e6, longest_gap_ms($begin_us)));
}

patronictl('edit-config', $scope, '--force', '-s', 'failsafe_mode=true');
$cluster->wait_for('the key "failsafe" names both', sub { 2 == keys %{ $cluster->key_json('failsafe') // {} } });
$cluster->wait_for('Patroni has read it', sub { 2 == keys %{ $theirs->rest('/failsafe')->{json} // {} } });
is_deeply($_->rest('/failsafe')->{json}, $cluster->key_json('failsafe'), "GET /failsafe of $kind{$_->{name}}") for $theirs, $ours;
outage($theirs);
switch_to($ours, \&patronictl);
outage($ours);

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
