# docs/migrate-from-patroni.md, step by step: three members of Debian's Patroni are moved to ours one by one while a client writes,
# then one is moved back.  No write is lost, no data directory is copied or rewound.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

plan skip_all => 'patroni is not installed'
  if system('patroni --version > /dev/null 2>&1') != 0;

# The configuration of one is outside of the data directory, as Debian's pg_createcluster makes it.
sub own_config_directory
{
	my ($node, $config) = @_;
	my $directory = $config->{postgresql}{config_dir} = PatroniCluster::make_directory("$node->{directory}/etc");

	PatroniCluster::spew("$directory/postgresql.conf", "data_directory = '$node->{data_directory}'\n"
		  . "hba_file = '$directory/pg_hba.conf'\nident_file = '$directory/pg_ident.conf'\nwork_mem = '5MB'\n");
	PatroniCluster::spew("$directory/pg_ident.conf", '');
}

# Patroni 3.0 takes a ttl below 20 as it is
my $cluster = PatroniCluster->new('migrate', dcs => { ttl => 6, loop_wait => 1, retry_timeout => 2 },
	node => { node3 => { config => \&own_config_directory } }, parameters => { wal_retrieve_retry_interval => '200ms' },
	config => sub {
		my ($node, $config) = @_;

		$config->{restapi}{authentication} = { username => 'operator', password => 'ctl secret' };
	});
my ($first, $second, $third) = $cluster->nodes;
my $scope = $cluster->{scope};

sub member { my ($node) = @_; return $cluster->key_json("members/$node->{name}") // {}; }

# As the page says: "patronictl list" shows all as running or streaming, without lag.
sub wait_until_listed
{
	my ($program) = @_;

	$cluster->wait_until_streaming;
	$cluster->wait_for('all members are known to run', sub {
		3 == grep { (member($_)->{state} // '') =~ /^(running|streaming)$/ } $cluster->nodes;
	});
	$cluster->wait_for("$program list shows all members without lag", sub {
		my ($status, $out) = $cluster->$program('list', '-f', 'json');

		return $status == 0 && 3 == grep { $_->{State} =~ /^(running|streaming)$/ && !$_->{'Lag in MB'} }
		  @{ JSON::PP::decode_json($out) };
	}, every_ms => 200);
}

$cluster->start_etcd;
$first->start(program => 'patroni');
$cluster->wait_for_leader;
$_->start(program => 'patroni') for $second, $third;
wait_until_listed('patronictl');
is($cluster->leader, $first, 'a cluster of three Patroni members');
$cluster->create_writes_table;
my $writer = $cluster->writer;

# a copy would remove it, and so would pg_rewind
PatroniCluster::spew("$_->{data_directory}/marker", '') for $cluster->nodes;
sub is_same_data { my ($node) = @_; return -e "$node->{data_directory}/marker"; }

# What happened to the client during a step.
sub gap_of
{
	my ($what, $step) = @_;
	my $begin_us = PatroniCluster::now_us();
	my ($longest, $before) = (0, $begin_us);

	$step->();
	$writer->wait_for_more;
	for my $us (map { $_->{acked_us} } grep { $_->{acked_us} > $begin_us } $writer->acks)
	{
		$longest = $us - $before if $us - $before > $longest;
		$before = $us;
	}
	measured(sprintf('%s: the longest time without a write was %.0f ms', $what, $longest / 1000));
}

# Steps 3 and 4 of the page; and back.
sub move
{
	my ($node, $program) = @_;
	my $what = "$node->{name} to " . ($program eq 'patroni' ? 'Patroni' : 'ours');

	isnt($cluster->leader, $node, "$what: it does not lead");
	gap_of($what, sub {
		is($node->stop, 0, "$what: stopped");
		$node->start($program eq 'patroni' ? (program => $program) : ());
		wait_until_listed('patronictl');
	});
	ok(is_same_data($node), "$what: its data directory is the same");
	is($node->sql('SHOW work_mem'), '5MB', "$what: with its own postgresql.conf") if $node == $third;
	is($node->sql('SHOW shared_preload_libraries'), $program eq 'patroni' ? '' : 'patroni_bgw', "$what: it is another program");
}

sub switch_to
{
	my ($node, $program) = @_;
	my $old = $cluster->leader;

	gap_of("switchover from $old->{name} to $node->{name}", sub {
		my ($status, $out, $err) = $cluster->$program('switchover', $scope, '--candidate', $node->{name}, '--force');

		is($status, 0, "switchover to $node->{name}") or diag("$out\n$err");
		$cluster->wait_for_leader(is => $node);
		wait_until_listed($program);
	});
}

# --- there ---

for my $node ($cluster->nodes)
{
	my ($status, undef, $err) = $cluster->run_supervisor('--validate', $node->{yaml});

	is($status, 0, "$node->{name}: Patroni's file can be used") or diag($err);
}
move($third, 'ours');
move($second, 'ours');
switch_to($second, 'patronictl');
move($first, 'ours');
$cluster->leader->sql('CREATE EXTENSION patroni_bgw');
is($cluster->leader->sql("SELECT count(*) FROM patroni.member WHERE state IN ('running', 'streaming')"), '3', 'the views show three members');
my ($status, $out) = $cluster->patroni_ctl('version', $scope);
is(scalar(() = $out =~ /^node\d: Patroni /mg), 3, 'patroni_ctl reaches all') or diag($out);
switch_to($first, 'patroni_ctl');

# --- and one back ---

move($third, 'patroni');
switch_to($third, 'patronictl');
($status, $out, my $err) = $third->try_sql('SELECT * FROM patroni.member');
like($err, qr/patroni_bgw is not loaded/, 'the views need our library');
$third->sql('DROP EXTENSION patroni_bgw');
$writer->wait_for_more;
ok(is_same_data($_), "$_->{name}: its data directory was never copied") for $cluster->nodes;

my $told = $writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');
measured(sprintf('the whole move: %d writes, the longest time without one was %.0f ms', $told->{acks}, $told->{longest_gap_ms}));

done_testing();
