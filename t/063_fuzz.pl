# Thousands of malformed requests do not disturb a node: it misses no renewal of
# its lease, acknowledges writes, and answers those who ask properly.
#
# FUZZ_REQUESTS says how many, of which half go to each member.  "make fuzz-node"
# sends 100,000 to supervisors that are built with the sanitizers; what these
# find is in the log and in the exit status, and both are looked at.

use strict;
use warnings;

use File::Temp ();
use PatroniCluster;
use POSIX ();
use TestTools;
use Test::More;
use Time::HiRes qw(usleep);

my $requests = $ENV{FUZZ_REQUESTS} // 5000;
my $directory = File::Temp::tempdir('pc_fuzz.XXXXXX', TMPDIR => 1, CLEANUP => 1);

build_tool("$directory/http_fuzzer", 'test/tools/http_fuzzer.c');

my $cluster = PatroniCluster->new('fuzz', members => 2, config => sub {
	my ($node, $config) = @_;

	$config->{restapi}{authentication} = { username => 'operator', password => 'nobody knows it' };
});
$cluster->start;
$cluster->create_writes_table;
my ($leader, $standby) = $cluster->nodes;
my $writer = $cluster->writer;
my $lowest = 1e9;

# The longest time between two renewals, in s, as the lease page shows them: how
# often its deadline moves, by a process that does nothing but look at it.
my $result = "$directory/renewals";
my $watcher = fork // die "could not fork: $!";

if (!$watcher)
{
	my ($before, $since, $longest, $count) = (0, undef, 0, 0);
	my $is_over = 0;

	$SIG{TERM} = sub { $is_over = 1; };
	open(my $page, '<:raw', '/dev/shm' . $leader->page_name) or POSIX::_exit(1);
	until ($is_over)
	{
		my $now = PatroniCluster::now_us();

		sysseek $page, 8, 0;
		sysread $page, my $word, 8;
		my $deadline = unpack('Q', $word) & ((1 << 48) - 1);
		if ($deadline != $before)
		{
			$longest = $now - $since if defined $since && $now - $since > $longest;
			($before, $since, $count) = ($deadline, $now, $count + 1);
		}
		usleep(5000);
	}
	my $last = PatroniCluster::now_us() - $since;
	PatroniCluster::spew($result, sprintf('%d %.3f', $count, ($last > $longest ? $last : $longest) / 1e6));
	POSIX::_exit(0);
}

for my $round (1 .. 5)
{
	for my $node ($leader, $standby)
	{
		my ($status, $out, $err) = PatroniCluster::run_command(
			[ "$directory/http_fuzzer", $node->{host}, $node->{rest_port}, int($requests / 10), $round ], timeout => 60 + $requests / 100);

		is($status, 0, "$node->{name}, round $round: every answer is one") or diag("$out\n$err");
		measured("$node->{name}: $out") if $round == 1;
		is($node->rest($node == $leader ? '/primary' : '/replica')->{status}, 200, 'and it answers as ever');
		next if $node != $leader;
		my ($remaining) = $node->rest('/metrics')->{content} =~ /^patroni_lease_remaining_seconds\S* (\S+)$/m;

		$lowest = $remaining if $remaining < $lowest;
	}
}
kill 'TERM', $watcher;
waitpid $watcher, 0;
my ($renewals, $longest) = split / /, PatroniCluster::slurp($result);
measured("$renewals renewals of the lease meanwhile, at most $longest s between two");
cmp_ok($renewals, '>', 1, 'the lease was renewed');
cmp_ok($longest, '<', 2, 'no renewal was missed: they are due each second');
measured(sprintf('the lease had at least %.2f s left whenever it was looked at', $lowest));
cmp_ok($lowest, '>', 0.5, 'the lease was renewed all the time');
my ($refused) = $leader->rest('/metrics')->{content} =~ /^patroni_fence_refused_commits_total\S* (\d+)$/m;
is($refused, 0, 'no commit was refused');
ok(PatroniCluster::is_alive($_->{supervisor_pid}), "the supervisor of $_->{name} lives") for $leader, $standby;
is($cluster->leader, $leader, 'the leader is the same');
is($leader->sql('SELECT timeline_id FROM pg_control_checkpoint()'), 1, 'nobody was promoted');
is($standby->sql("SELECT patroni.config() ->> 'ttl'"), 3, 'the configuration is the same');
$writer->wait_for_acks(20, from => $leader, after_us => PatroniCluster::now_us());
$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

for my $node ($standby, $leader)
{
	is($node->stop, 0, "$node->{name} ends in order");
	unlike($node->log_text, qr/Sanitizer|runtime error:/, 'and has complained of nothing');
}

done_testing();
