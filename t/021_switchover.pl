# A planned change of leader loses nothing that was acknowledged, in whatever way
# clients write, and needs no pg_rewind.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('switchover');
$cluster->start;
$cluster->create_writes_table;

my %writers = map { $_ => $cluster->writer(mode => $_) } qw(simple extended explicit);

sub switch_over
{
	my ($name, $from, $candidate) = @_;
	my $old = $cluster->leader;
	my $begin_us = PatroniCluster::now_us();
	my ($status, undef, $err) =
	  $from->try_sql('SELECT patroni.switchover(' . ($candidate ? "'$candidate->{name}'" : '') . ')');

	# whoever is connected to the old leader is cut off
	ok($status == 0 || ($from == $old && $err =~ /terminating connection|closed the connection/),
		"$name: the command is carried out") or diag($err);
	my $new = $cluster->wait_for_leader($candidate ? (is => $candidate) : (not => $old));
	ok($new, "$name: there is a new leader");
	$_->wait_for_acks(20, from => $new, after_us => $begin_us) for values %writers;
	$cluster->wait_until_streaming;
	unlike($old->log_text, qr/pg_rewind/, "$name: the old leader follows without pg_rewind");
	for my $mode (sort keys %writers)
	{
		measured(sprintf('%s: no %s writes for %.0f ms', $name, $mode, $writers{$mode}->longest_gap($begin_us)));
	}
	return $new;
}

my $leader = $cluster->leader;
my ($one, $two) = $cluster->standbys;
switch_over('to a named member, asked of the leader', $leader, $one);
switch_over('to another, asked of a standby', $leader, $two);
switch_over('to whoever is best', $cluster->leader);

# What cannot be done is refused with the reason, and changes nothing.
$leader = $cluster->leader;
my ($standby) = $cluster->standbys;
for (
	[ 'a member that does not exist', "'nobody'", qr/cannot switch.*DETAIL:.*nobody/s ],
	[ 'the leader itself', "'$leader->{name}'", qr/cannot switch.*DETAIL:  The candidate is the leader already/s ],
	[ 'a time in the past', "'$standby->{name}', '2020-01-01 00:00:00+00'", qr/DETAIL:  The scheduled time is in the past/ ])
{
	my ($name, $arguments, $pattern) = @$_;
	my ($status, undef, $err) = $leader->try_sql("SELECT patroni.switchover($arguments)");

	isnt($status, 0, "a switchover to $name is refused");
	like($err, $pattern, 'with the reason');
}
is($cluster->leader, $leader, 'and the leader is the same');

$_->stop for values %writers;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');
for my $mode (sort keys %writers)
{
	measured("$mode: $writers{$mode}{answer}{acks} acknowledged, $writers{$mode}{answer}{errors} not");
}
is($leader->sql("SELECT count(*) FROM patroni.history"), '3', 'the history has every change of leader');

# The end of the checkpoint before a switchover is seen at once, also if there was another one just before.
my $least = 1e9;
for my $run (1 .. 2)
{
	my $new = (grep { $_ != $leader } $cluster->nodes)[0];

	$leader->sql('CHECKPOINT; CREATE TABLE IF NOT EXISTS filler(t text)');
	$leader->sql("INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 10000)");
	$leader->try_sql("SELECT patroni.switchover('$new->{name}')");
	$cluster->wait_for_leader(is => $new);
	$cluster->wait_until_streaming;
	my $took;
	$cluster->wait_for('it is measured', sub {
		($took) = $new->rest('/metrics')->{content} =~ /^patroni_last_switchover_seconds\{.*phase="handover"\} (\S+)$/m;
	});
	$least = $took if $took < $least;
	$leader = $new;
}
measured(sprintf('from a request after a checkpoint to the release of the lease %.0f ms', $least * 1000));
cmp_ok($least, '<', 0.9, 'and not only by the next look at the files, a second later');

done_testing();
