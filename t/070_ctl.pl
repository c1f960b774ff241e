# What patroni_ctl prints of a cluster is what Patroni's patronictl prints of it, byte for byte: of
# clusters that nobody runs, only the store holds them.  t/071 compares on a real one.

use strict;
use warnings;

use IPC::Open2;
use PatroniCluster;
use Test::More;

plan skip_all => 'patronictl is not installed'
  if system('patronictl version > /dev/null 2>&1') != 0;

my $cluster = PatroniCluster->new('keys');
my $scope = $cluster->{scope};

$cluster->start_etcd;

# Patroni's: one process that has it loaded.  Ours is called by the same name.
my $reference_pid = open2(my $answers, my $requests, '/usr/bin/python3', 'test/tools/ctl_reference.py');
my $ours = "$cluster->{base}/patronictl";

symlink(($ENV{PATRONI_CTL} // 'patroni_ctl'), $ours) or die "could not make a link: $!";

sub theirs
{
	my ($words, %option) = @_;
	my $file = exists $option{config} ? $option{config} : ($cluster->nodes)[0]{yaml};
	my $answer;

	print $requests JSON::PP::encode_json({ args => [ '-c', $file, @$words ], input => $option{input} // '',
			environment => $option{environment} // {} }), "\n";
	$answer = JSON::PP->new->decode(scalar(<$answers>) // die 'no answer of the reference');
	utf8::encode($_) for @$answer{qw(out err)};
	chomp(@$answer{qw(out err)});
	return @$answer{qw(status out err)};
}

# Both programs with the same words; times may change between the two, so a few times.
sub same
{
	my ($what, @words) = @_;
	my %option = ref $words[0] ? %{ shift @words } : ();
	my $is_same = 0;
	my (@theirs, @ours);

	for (1 .. 3)
	{
		@theirs = theirs(\@words, %option);
		@ours = $cluster->command_line($ours, \%option, @words);
		for ($theirs[1], $ours[1], $theirs[2], $ours[2])
		{
			s/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{5} /TIME /g;
			s/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} /LOGTIME /mg;
		}
		$is_same = $theirs[0] == $ours[0] && $theirs[1] eq $ours[1] && $theirs[2] eq $ours[2];
		last if $is_same;
	}
	ok($is_same, "$what: " . join(' ', @words))
	  or diag("theirs ($theirs[0]):\n$theirs[1]\n$theirs[2]\nours ($ours[0]):\n$ours[1]\n$ours[2]");
	return @ours;
}

sub same_everywhere
{
	my ($what) = @_;

	for my $format (qw(pretty tsv json yaml))
	{
		same($what, 'list', '-f', $format);
		same($what, 'list', '-e', '--format', $format, $scope);
		same($what, 'history', '-f', $format);
	}
	same($what, 'topology');
	# without the key it raises an exception there
	same($what, 'show-config', $scope) if defined $cluster->key('config');
	same($what, 'dsn');
	same($what, 'dsn', '-r', $_) for qw(leader primary replica standby any);
	same($what, 'dsn', '--member=node3', $scope);
}


sub member
{
	my ($name, $port, $more) = @_;

	$cluster->put_key("members/$name", qq({"conn_url":"postgres://127.0.0.1:$port/postgres",)
		  . qq("api_url":"http://127.0.0.1:1/patroni","state":"running","role":"replica","version":"3.0.2",)
		  . qq("xlog_location":100000000,"timeline":4$more}));
}

# --- a cluster that begins ---

same_everywhere('nothing');
$cluster->put_key('initialize', '');
$cluster->put_key('config', '{}');
same_everywhere('being made');

# --- one as there are many ---

$cluster->put_key('initialize', '7277694203142172922');
$cluster->put_key('config', '{"ttl":30,"loop_wait":10,"retry_timeout":10,"maximum_lag_on_failover":1048576,'
	  . '"postgresql":{"use_pg_rewind":true,"parameters":{"work_mem":"5MB","log_statement":"off","a.b":1.5,'
	  . '"archive_command":"test ! -f /x/%f && cp %p \'/x y/%f\'"},"pg_hba":["host all all 0.0.0.0/0 md5"]}}');
member('node1', 5432, '');
member('node2', 5432, '');
member('node3', 5433, '');
same_everywhere('without a leader');
$cluster->put_key('leader', 'node1');
$cluster->put_key('status', '{"optime":100000000}');
same_everywhere('three members');
$cluster->put_key('status', '{"optime":103670016}');	# 3.5 MB ahead
same_everywhere('lag');
member('node2', 5432, ',"pending_restart":true,"tags":{"clonefrom":true,"zone":"a: b","nofailover":false}');
same_everywhere('tags, pending restart');
$cluster->put_key('sync', '{"leader":"node1","sync_standby":"node2, node3"}');
same_everywhere('synchronous standbys');
member('node3', 5432, ',"tags":{"replicatefrom":"node2"}');
member('node4', 5432, ',"tags":{"replicatefrom":"node3"}');
member('node5', 5432, ',"tags":{"replicatefrom":"node1","nofailover":true}');
same_everywhere('cascading');
$cluster->put_key('config', '{"pause":true,"ttl":20,"standby_cluster":{"host":"10.0.0.1","port":5432},"loop_wait":10}');
same_everywhere('paused standby cluster');
$cluster->put_key('config', '{"ttl":20,"loop_wait":10,"postgresql":{"parameters":{"work_mem":"5MB"}}}');
$cluster->put_key('failover', '{"leader":"node1","member":"node2","scheduled_at":"2030-01-02T03:04:05.5+02:00"}');
same_everywhere('a switchover is scheduled');
$cluster->put_key('failover', '{"leader":"node1","scheduled_at":"2030-01-02T03:04:05Z"}');
same_everywhere('a switchover is scheduled');
$cluster->put_key('members/alien', '{"conn_url":"postgres://10.0.0.9:5432/postgres","api_url":"http://127.0.0.1:1/patroni",'
	  . '"state":"stopped","role":"replica","version":"2.1.4","timeline":7,"tags":{"h\u00e4":"\u4e2d","list":[1,null,"on"]},'
	  . '"scheduled_restart":{"schedule":"2030-01-01T00:00:00+00:00","postgres_version":"15.9"},"xlog_location":12}');
$cluster->put_key('members/broken', '{"conn_url');
$cluster->put_key('members/bare', '{"conn_url":"postgres://[::1]/postgres"}');
$cluster->put_key('history', '[[1,25623960,"no recovery target specified"],[2,50331648,"no recovery target specified",'
	  . '"2026-01-02T03:04:05.123456+00:00","node2"],[3,60000000,"before 2000-01-01 \u00e9","2026-01-02T03:04:05+00:00","node1"]]');
same_everywhere('odd members and a history');
$cluster->delete_key('members/alien');
$cluster->delete_key('members/broken');
$cluster->delete_key('members/bare');

# --- nothing there ---

same('no such cluster', 'list', 'nobody');
same('no such cluster', 'topology', 'nobody');
same('no such cluster', 'history', 'nobody', '-f', $_) for qw(pretty tsv json yaml);
same('no such cluster', 'dsn', 'nobody');
same('two clusters', 'list', $scope, 'nobody');

# --- questions, and who answers no ---

same('contradiction', 'dsn', '-r', 'any', '-m', 'node1');
same('no such member', 'dsn', '-m', 'nobody');
same('end of input', { input => '' }, 'switchover', $scope);
same('not the leader', { input => "node3\n" }, 'switchover', $scope);
same('no candidate', { input => "\n" }, 'failover', $scope);
same('aborted', { input => "node1\n\nnow\nx\nn\n" }, 'switchover', $scope);
same('aborted', { input => "\n\nnow\n\n" }, 'switchover', $scope);
same('aborted', { input => "\n\n2030-01-02T03:04:05.25+01:00\nn\n" }, 'switchover', $scope);
same('aborted', { input => "node3\nn\n" }, 'failover', $scope);
same('no such time', { input => "\n\nsome day\n" }, 'switchover', $scope);
same('aborted', { input => "n\n" }, 'reload', $scope);
same('aborted', { input => "n\n" }, 'reload', $scope, 'node2', 'node1', 'nobody');
same('aborted', { input => "\nn\n" }, 'restart', $scope, 'node2');
same('aborted', { input => "2030-01-02T03:04:05Z\nn\n" }, 'restart', $scope, '-r', 'leader');
same('aborted', { input => "n\n" }, 'reinit', $scope, 'node3');
same('aborted', { input => "n\n" }, 'flush', $scope, 'node2', 'restart');
same('aborted', { input => "nobody\n" }, 'remove', $scope);
same('aborted', { input => "$scope\nyes\n" }, 'remove', $scope);
same('aborted', { input => "$scope\nYes I am aware\nnode2\n" }, 'remove', $scope, '-f', 'json');
same('aborted', { input => "n\n" }, 'edit-config', $scope, '-s', 'postgresql.parameters.x.y=on', '-p', ' work_mem=null',
	'-s', 'ttl=4', '-s', 'a.b.c=[1, yes, {d: ~}]');
same('aborted', { input => "n\n", environment => { EDITOR => 'true' } }, 'edit-config', $scope);
same('wrong', 'edit-config', $scope, '-s', 'ttl');
same('wrong', { environment => { EDITOR => 'false' } }, 'edit-config', $scope);
same('from a file', { input => "ttl: 5\nloop_wait: null\npostgresql:\n  parameters: null\n  pg_hba: [a, 'b: c']\n" },
	'edit-config', $scope, '--apply', '-');
same('from a file', { input => "ttl: 5\n" }, 'edit-config', $scope, '--replace', '-', '-q');

# --- wrong usage ---

same('usage', @$_) for
  [ 'list', '--nothing-like-it' ], [ 'list', '--forma', 'json' ], [ 'list', '-x' ], [ 'lst' ], [ 'dsn', '-r' ], [ 'reload' ], [ 'remove' ], [ 'history', 'a', 'b' ],
  [ 'flush', $scope, 'everything' ], [ 'list', '--group', 'x' ];
same('usage', { config => '/nowhere.yml' }, 'list');

# --- Citus ---

my %citus = (environment => { PATRONI_CITUS_GROUP => '0', PATRONI_CITUS_DATABASE => 'citus' });

for my $group (0 .. 2)
{
	$cluster->put_key("$group/initialize", "72776942031421729$group");
	$cluster->put_key("$group/config", qq({"ttl":3$group,"loop_wait":10}));
	$cluster->put_key("$group/history", '[[1,25623960,"no recovery target specified"]]') if $group == 1;
	$cluster->put_key("$group/leader", "w$group-a") if $group != 2;
	$cluster->put_key("$group/status", '{"optime":100000000}');
	$cluster->put_key("$group/members/w$group-$_", qq({"conn_url":"postgres://10.0.$group.1:543$group/postgres",)
		  . qq("api_url":"http://127.0.0.1:1/patroni","state":"running","xlog_location":90000000})) for qw(b a);
}
$cluster->put_key('1/failover', '{"leader":"w1-a","scheduled_at":"2030-01-02T03:04:05Z"}');
$cluster->put_key('0/config', '{"pause":true}');
for my $format (qw(pretty tsv json yaml))
{
	same('Citus', \%citus, 'list', '-f', $format);
	same('Citus', \%citus, 'list', '--group', 1, '-f', $format);
	same('Citus', \%citus, 'history', '--group', 1, '-f', $format);
}
same('Citus', \%citus, @$_) for [ 'topology' ], [ 'topology', '--group', 0 ], [ 'dsn', '--group', 1 ], [ 'show-config' ],
  [ 'show-config', '--group', 2 ], [ 'pause' ], [ 'remove', $scope ], [ 'dsn', '-m', 'w2-b' ];

# --- the columns of newer versions ---

{
	local $cluster->{scope} = 'batman';
	$cluster->put_key('initialize', '7277694203142172922');
	$cluster->put_key('leader', 'postgresql0');
	$cluster->put_key('status', '{"optime":67110120}');
	$cluster->put_key('config', '{"synchronous_mode":"quorum"}');
	$cluster->put_key('members/postgresql0', '{"conn_url":"postgres://127.0.0.1:5432/postgres","state":"running","timeline":3}');
	$cluster->put_key('members/postgresql1', '{"conn_url":"postgres://127.0.0.1:5433/postgres","state":"running","timeline":3,'
		  . '"replication_state":"streaming","receive_lsn":67110120,"replay_lsn":67110120}');
	is(($cluster->patroni_ctl('--layout', '4.1', 'list', 'batman'))[1], <<'END' =~ s/\n\z//r, 'two positions');
+ Cluster: batman (7277694203142172922) -+-----------+----+-------------+-----+------------+-----+
| Member      | Host           | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+-------------+----------------+---------+-----------+----+-------------+-----+------------+-----+
| postgresql0 | 127.0.0.1:5432 | Leader  | running   |  3 |             |     |            |     |
| postgresql1 | 127.0.0.1:5433 | Replica | streaming |  3 |   0/40004E8 |   0 |  0/40004E8 |   0 |
+-------------+----------------+---------+-----------+----+-------------+-----+------------+-----+
END
	$cluster->put_key('sync', '{"leader":"postgresql0","sync_standby":"postgresql1"}');
	$cluster->put_key('members/postgresql1', '{"conn_url":"postgres://127.0.0.1:5433/postgres","state":"starting","xlog_location":1,'
		  . '"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"120"},'
		  . '"shared_preload_libraries":{"old_value":"a_long_name, another_long_name","new_value":""}}}');
	is(($cluster->patroni_ctl({ environment => { PATRONICTL_LAYOUT => '4.1' } }, 'list', 'batman'))[1],
		<<'END' =~ s/\n\z//r, 'an older member in quorum mode, and why a restart is pending');
+ Cluster: batman (7277694203142172922) --------+----------+----+-------------+-----+------------+-----+-----------------+-----------------------------------------------+
| Member      | Host           | Role           | State    | TL | Receive LSN | Lag | Replay LSN | Lag | Pending restart | Pending restart reason                        |
+-------------+----------------+----------------+----------+----+-------------+-----+------------+-----+-----------------+-----------------------------------------------+
| postgresql0 | 127.0.0.1:5432 | Leader         | running  |  3 |             |     |            |     |                 |                                               |
+-------------+----------------+----------------+----------+----+-------------+-----+------------+-----+-----------------+-----------------------------------------------+
| postgresql1 | 127.0.0.1:5433 | Quorum Standby | starting |    |     unknown |     |        0/1 |  64 | *               | max_connections: 100->120                     |
|             |                |                |          |    |             |     |            |     |                 | shared_preload_libraries: [hidden - too long] |
+-------------+----------------+----------------+----------+----+-------------+-----+------------+-----+-----------------+-----------------------------------------------+
END
	like(($cluster->patroni_ctl('--layout', '4.1', 'list', 'batman', '-f', 'json'))[1],
		qr/"Receive LSN": "unknown", "Replay LSN": "0\/1", "Replay Lag": 64, /, 'their names in JSON');
}

# --- again and again ---

my (undef, $twice) = PatroniCluster::run_command([ 'timeout', 2, $ours, '-c', ($cluster->nodes)[0]{yaml}, 'list', '-w', '0.3' ]);
cmp_ok(scalar(() = $twice =~ /^\+ Cluster/mg), '>', 2, 'list -w: repeats');

# --- completion of the shell ---

sub completed
{
	my (@words) = @_;
	my $words = join ' ', map { "'$_'" } @words;
	my (undef, $found) = PatroniCluster::run_command([ 'bash', '-c', "source src/ctl/patroni_ctl.bash; COMP_WORDS=('$ours' $words);"
			. ' COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _patroni_ctl; echo "${COMPREPLY[*]}"' ]);

	return join ' ', split /\s+/, $found;
}

my @config = ('-c', ($cluster->nodes)[0]{yaml});
is(completed('sho'), 'show-config', 'a command is completed');
is(completed('list', '--f'), '--format', 'an option is');
is(completed('list', '-f', ''), 'pretty tsv json yaml yml', 'a value is');
is(completed(@config, 'dsn', ''), $scope, 'the cluster is');
is(completed(@config, 'restart', $scope, ''), 'node1 node2 node3 node4 node5', 'members are');
is(completed(@config, 'switchover', '--candidate', 'node3'), 'node3', 'a candidate is');
is(completed('flush', 'nobody', ''), 'restart switchover', 'what can be flushed is');

# --- values, tables and diffs of all kinds ---

my ($status, $out) = PatroniCluster::run_command([ '/usr/bin/python3', 'test/tools/ctl_format.py', $ours, 3000, 1 ],
	timeout => 120);
is($status, 0, 'random values are written as Python writes them') or diag($out);

close $requests;
waitpid $reference_pid, 0;
done_testing();
