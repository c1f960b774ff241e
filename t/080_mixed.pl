# One member of Debian's Patroni and one of ours in one cluster: each follows and succeeds the other, and what is
# asked of one by the other's command line or HTTP is done.  Faults and synchronous mode: 092_mixed_sync.pl.

use strict;
use warnings;

use PatroniCluster;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'patroni is not installed'
  if system('patroni --version > /dev/null 2>&1') != 0;

# Patroni 3.0 takes a ttl below 20 as it is
my $cluster = PatroniCluster->new('mixed', members => 2, dcs => { ttl => 6, loop_wait => 1, retry_timeout => 2 },
	parameters => { wal_retrieve_retry_interval => '200ms' },
	config => sub {
		my ($node, $config) = @_;

		$config->{restapi}{authentication} = { username => 'operator', password => 'ctl secret' };
	});
my ($theirs, $ours) = $cluster->nodes;
my $scope = $cluster->{scope};
my %name = ($theirs->{name} => 'Patroni', $ours->{name} => 'ours');
my ($status, $out, $err);

my $slowest_s = 0;	# of Patroni's command line: where the machine is busy it takes seconds

sub patronictl
{
	my $begin_s = time;

	($status, $out, $err) = $cluster->patronictl(@_);
	$slowest_s = time - $begin_s if time - $begin_s > $slowest_s;
	return $out;
}

sub patroni_ctl { ($status, $out, $err) = $cluster->patroni_ctl(@_); return $out; }
sub seen { diag("status $status\n$out\n$err"); return; }
sub member { my ($node) = @_; return $cluster->key_json("members/$node->{name}") // {}; }

sub started_at { return $_[0]->sql('SELECT pg_postmaster_start_time()'); }

# --- our member joins a cluster that Patroni made ---

$cluster->start_etcd;
$theirs->start(program => 'patroni');
$cluster->wait_for_leader;
$ours->start;
$cluster->wait_until_published;
ok(1, 'ours copies a Patroni leader and streams from it');
$cluster->create_writes_table;
my $writer = $cluster->writer;
is($cluster->key('leader'), $theirs->{name}, 'Patroni leads');
is($theirs->sql("SELECT active FROM pg_replication_slots WHERE slot_name = '$ours->{name}'"), 't', 'ours uses the slot that Patroni made');
$cluster->is_shown_alike('list', '-f', 'tsv');
$cluster->is_shown_alike('topology');
is($theirs->rest('/primary')->{status} . $ours->rest('/replica')->{status}, '200200', 'health checks');

# --- switchover in both directions, by either command line ---

# Patroni writes the history a turn of its loop after its promotion; who has lost the
# leader key until then is never named.
sub wait_until_led_by
{
	my ($to) = @_;

	$cluster->wait_for_leader(is => $to);
	$cluster->wait_for("the history names $to->{name}", sub {
		my ($last) = reverse @{ $cluster->key_json('history') // [] };

		$last && ($last->[4] // '') eq $to->{name};
	});
}

sub switch_to
{
	my ($to, $program) = @_;
	my $from = $to == $ours ? $theirs : $ours;

	$program->('switchover', $scope, '--candidate', $to->{name}, '--force');
	ok($status == 0 && $out =~ /Successfully (switched|failed) over to "$to->{name}"/, "switchover to $name{$to->{name}}") or seen;
	wait_until_led_by($to);
	$writer->wait_for_acks(20, after_us => PatroniCluster::now_us(), from => $to);
	$cluster->wait_until_published;
	my ($last) = reverse grep { $_->{port} == $from->{port} } $writer->acks;
	my ($first) = grep { $_->{port} == $to->{port} && $_->{us} > $last->{us} } $writer->acks;
	measured(sprintf('switchover from %s to %s: %.1f s without a write', $name{ $from->{name} }, $name{ $to->{name} },
			($first->{us} - $last->{us}) / 1e6));
}

# --- configuration, with a leader of ours and of Patroni ---

sub pending { return join ',', map { $_->{name} } grep { member($_)->{pending_restart} } $theirs, $ours; }

sub change_configuration
{
	my ($leader, $value, $edit, %restart) = @_;
	my $standby = $leader == $ours ? $theirs : $ours;
	my $what = "$name{$leader->{name}} leads";

	$edit->('edit-config', $scope, '--force', '-p', "work_mem=${value}kB", '-p', "max_connections=$value");
	is($status, 0, "$what: the configuration is changed") or seen;
	$_->wait_for_sql("SELECT setting = '$value' FROM pg_settings WHERE name = 'work_mem'") for $theirs, $ours;
	$cluster->wait_for("$what: a restart is pending on both", sub { pending() eq "$theirs->{name},$ours->{name}" });
	ok(1, "$what: a restart is pending on both");
	$cluster->is_shown_alike('list', '-f', 'tsv') if $leader == $theirs;
	# the standby first, as a larger value asks for
	for my $node ($standby, $leader)
	{
		my $before = started_at($node);

		$restart{ $node->{name} }->('restart', $scope, $node->{name}, '--pending', '--force');
		like($out, qr/^Success: restart on member $node->{name}$/m, "$what: restart of $name{$node->{name}}") or seen;
		isnt(started_at($node), $before, 'it has been restarted');
		is($node->sql('SHOW max_connections'), $value, 'with the new value');
	}
	$cluster->wait_for("$what: no restart is pending", sub { pending() eq '' });
	is($cluster->wait_for_leader, $leader, "$what: a restart does not change the leader");
	$cluster->wait_until_published;
	$writer->wait_for_more;
}

# --- a restart over HTTP, asked for by the other ---

sub restart_over_http
{
	my ($node) = @_;
	my $before = started_at($node);
	my $answer = $node->rest('/restart', method => 'POST', body => {}, auth => 'operator:ctl%20secret', timeout => 30);

	is($answer->{status}, 200, "POST /restart to $name{$node->{name}}");
	isnt(started_at($node), $before, 'it has been restarted');
	$cluster->wait_for_leader(is => $node);
	$cluster->wait_until_published;
}

# --- pause ---

sub pause_and_resume
{
	my ($leader, $pause, $resume) = @_;
	my $what = "$name{$leader->{name}} leads";

	$pause->('pause', $scope, '--wait');
	like($out, qr/Success: cluster management is paused/, "$what: paused, and both say so") or seen;
	is(join(',', map { member($_)->{pause} ? 1 : 0 } $theirs, $ours), '1,1', 'in their keys');
	# without its key the primary stays one, and takes it again
	$cluster->delete_key('leader');
	$cluster->wait_for('the key is there again', sub { ($cluster->key('leader') // '') eq $leader->{name} });
	$writer->wait_for_acks(20, after_us => PatroniCluster::now_us(), from => $leader);
	ok(1, "$what: without its key the primary stays one");
	$resume->('resume', $scope, '--wait');
	like($out, qr/Success: cluster management is resumed/, "$what: resumed") or seen;
}

# --- a scheduled switchover, in both directions ---

sub schedule
{
	my ($to, $program) = @_;
	my $from = $to == $ours ? $theirs : $ours;
	my $when_s = int(time + 3 + 2 * $slowest_s);
	my ($s, $m, $h, $day, $month, $year) = gmtime $when_s;
	my $when = sprintf '%d-%02d-%02dT%02d:%02d:%02d+00:00', $year + 1900, $month + 1, $day, $h, $m, $s;

	$program->('switchover', $scope, '--candidate', $to->{name}, '--scheduled', $when, '--force');
	like($out, qr/Switchover scheduled/, "a switchover to $name{$to->{name}} is scheduled") or seen;
	like(patroni_ctl('list'), qr/Switchover scheduled at: \S+\s+from: $from->{name}\s+to: $to->{name}/, 'and shown');
	wait_until_led_by($to);
	cmp_ok(time, '>=', $when_s, 'it is carried out, not before its time');
	$cluster->wait_until_published;
	$writer->wait_for_acks(20, after_us => PatroniCluster::now_us(), from => $to);
}

# --- tags ---

sub set_tags
{
	my ($node, %tags) = @_;

	$node->{config}{tags} = \%tags;
	$node->write_config;
	$node->reload;
	$cluster->wait_for("the tags of $node->{name} are in the store", sub {
		JSON::PP->new->canonical->encode(member($node)->{tags} // {}) eq JSON::PP->new->canonical->encode(\%tags);
	});
}

sub nofailover
{
	my ($leader, $program) = @_;
	my $standby = $leader == $ours ? $theirs : $ours;

	set_tags($standby, nofailover => JSON::PP::true, zone => 'b');
	$program->('switchover', $scope, '--candidate', $standby->{name}, '--force');
	like("$out$err", qr/No candidates found to switchover to/, "$name{$leader->{name}} leads: no switchover to a member tagged nofailover") or seen;
	my $answer = $leader->rest('/switchover', method => 'POST', auth => 'operator:ctl%20secret',
		body => { leader => $leader->{name}, candidate => $standby->{name} });
	is($answer->{status}, 412, 'nor over HTTP') or diag($answer->{content});
	is($cluster->leader, $leader, 'it goes on leading');
	$cluster->is_shown_alike('list', '-e', '-f', 'tsv') if $leader == $ours;
	set_tags($standby);
}

# --- reinitialize, by the other's command line ---

sub reinitialize
{
	my ($node, $program) = @_;

	PatroniCluster::spew("$node->{data_directory}/marker", '');
	$program->('reinit', $scope, $node->{name}, '--force', '--wait');
	like($out, qr/Reinitialize is completed on: $node->{name}/, "reinitialize $name{$node->{name}}") or seen;
	$cluster->wait_until_published;
	ok(!-e "$node->{data_directory}/marker", 'its data directory is another one');
}

# --- Patroni leads ---

change_configuration($theirs, 120, \&patroni_ctl, $theirs->{name} => \&patroni_ctl, $ours->{name} => \&patronictl);
pause_and_resume($theirs, \&patroni_ctl, \&patronictl);
nofailover($theirs, \&patronictl);
reinitialize($ours, \&patronictl);

# --- switchover while the cluster is paused, there and back ---

patroni_ctl('pause', $scope, '--wait');
switch_to($ours, \&patronictl);
switch_to($theirs, \&patroni_ctl);
patronictl('resume', $scope, '--wait');

# --- ours leads ---

switch_to($ours, \&patronictl);
is($theirs->rest('/replica')->{status} . $ours->rest('/primary')->{status}, '200200', 'health checks');
change_configuration($ours, 130, \&patronictl, $ours->{name} => \&patronictl, $theirs->{name} => \&patroni_ctl);
restart_over_http($ours);
pause_and_resume($ours, \&patronictl, \&patroni_ctl);
nofailover($ours, \&patroni_ctl);
reinitialize($theirs, \&patroni_ctl);

# --- and back: at a time, at once ---

schedule($theirs, \&patronictl);
restart_over_http($theirs);
schedule($ours, \&patroni_ctl);
switch_to($theirs, \&patroni_ctl);

# --- history ---

my @leaders = map { $_->{name} } ($ours, $theirs) x 3;
$cluster->wait_for('the history is complete', sub { 6 == grep { $_->[4] } @{ $cluster->key_json('history') // [] } });
is_deeply([ map { $_->[4] } @{ $cluster->key_json('history') } ], \@leaders, 'history: who led from then on');
$cluster->is_shown_alike('history', '-f', 'json');
$cluster->wait_for('both show the history', sub {
	2 == grep { 6 == grep { $_->[4] } @{ $_->rest('/history')->{json} // [] } } $theirs, $ours;
});
is_deeply($theirs->rest('/history')->{json}, $ours->rest('/history')->{json}, 'history: the same over HTTP');

$writer->wait_for_more;
$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');
is_deeply([ $ours->passwords_in($ours->log_text) ], [], 'our log has no passwords');

done_testing();
