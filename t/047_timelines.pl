# Members whose files speak of another past than the leader's come back all the
# same, whatever PostgreSQL itself would make of them.

use strict;
use warnings;

use JSON::PP;
use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('timelines', members => 2);
$cluster->start;
$cluster->wait_for_leader->sql("CREATE TABLE t (what text); INSERT INTO t VALUES ('everywhere')");
$cluster->wait_until_replayed;

# --- a history file of a timeline that this member has no WAL of ---

# PostgreSQL would go to that timeline, and says that it is not a child of its own.
my ($standby) = $cluster->standbys;
my $history = "$standby->{data_directory}/pg_wal/00000002.history";
$standby->stop;
PatroniCluster::spew($history, "1\t0/1000000\tno recovery target specified\n");
$standby->start;
$cluster->wait_until_streaming;
ok(!-e $history, 'a history file without WAL is taken away, and the standby streams');
unlike($standby->log_text, qr/pg_basebackup|pg_rewind/, 'without being copied anew');

# The same where PostgreSQL begins its recovery without the supervisor. It would
# replay its own WAL, beyond the place that the file names, and go to a timeline
# that nobody is on.
$standby->sql('CHECKPOINT');
my $fork = $cluster->leader->sql('SELECT pg_current_wal_insert_lsn()');
$cluster->leader->sql("INSERT INTO t VALUES ('everywhere'); DELETE FROM t WHERE ctid = '(0,1)'");
$cluster->wait_until_replayed;
my $postmaster = $standby->postmaster_pid;
my $at = $standby->log_size;
PatroniCluster::spew($history, "1\t$fork\tno recovery target specified\n");
kill 'KILL', $standby->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
$cluster->wait_for('the server is restarted by itself',
	sub { $standby->log_text($at) =~ /all server processes terminated; reinitializing/ });
$cluster->wait_until_streaming;
$cluster->wait_until_replayed;
is($standby->postmaster_pid, $postmaster, 'a standby goes on by itself after the crash of a child');
like($standby->log_text($at), qr/removed 1 history file of a timeline without WAL/, 'without such a file');
ok(!-e $history, 'and does not miss it');

# --- WAL of its own, and the files of a standby ---

# Started by hand as a standby of nobody, a former primary looks like any other.
my $old = $cluster->leader;
$old->freeze_senders;
$old->sql("INSERT INTO t VALUES ('lost'); CREATE TABLE lost AS SELECT generate_series(1, 10000)");
$old->kill9;
my $new = $cluster->wait_for_leader(not => $old);
$new->sql("INSERT INTO t VALUES ('after'); CHECKPOINT");
PatroniCluster::spew("$old->{data_directory}/standby.signal", '');
my @start = ($ENV{PG_BINDIR} ? "$ENV{PG_BINDIR}/pg_ctl" : 'pg_ctl', '-D', $old->{data_directory});
my $options = "-c primary_conninfo= -c shared_preload_libraries= -p $old->{port}";
my ($status, $out, $err) = PatroniCluster::run_command(
	[ @start, '-w', '-l', "$old->{directory}/by_hand.log", '-o', $options, 'start' ]);
is($status, 0, 'a former primary is started by hand') or diag($out, $err, PatroniCluster::slurp("$old->{directory}/by_hand.log"));
is($old->sql("SELECT count(*) FROM t WHERE what = 'lost'"), '1', 'and has what the others lost');
$old->sql('CHECKPOINT');
PatroniCluster::run_command([ @start, '-w', '-m', 'fast', 'stop' ]);
my $offset = $old->log_size;
$old->start;
$cluster->wait_until_streaming;
$cluster->wait_until_replayed;
is($old->sql("SELECT string_agg(what, ' ' ORDER BY what) FROM t"), 'after everywhere', 'it has the past of the leader');
is($old->sql("SELECT count(*) FROM pg_class WHERE relname = 'lost'"), '0', 'and nothing else');
like($old->log_text($offset), qr/rewind/, 'because it was rewound');

# --- a timeline id that somebody else took, and no way to mark it as taken ---

# It would be chosen, so the promotion waits, and when that does not help the other one leads again.
my $obstacle = "$old->{data_directory}/pg_wal/patroni.00000003.tmp";
mkdir $obstacle or die "mkdir \"$obstacle\": $!";
my $promotions = $cluster->key_json('promotions');
$promotions->{3} = { name => '', from => 2, lsn => 0 };
$cluster->put_key('promotions', JSON::PP->new->encode($promotions));
$offset = $old->log_size;
my $new_offset = $new->log_size;
$new->try_sql("SELECT patroni.switchover('$old->{name}')");
$old->wait_for_log(qr/could not mark a timeline as taken.*"cannot-mark"/s, $offset);
like($old->log_text($offset), qr/"mark-timelines"/, 'ids of others are marked as taken before a promotion');
is($old->sql('SELECT pg_is_in_recovery()'), 't', 'and it waits for that');
$cluster->wait_for_leader(is => $new);
$new->wait_for_log(qr/"$old->{name}" gives way/, $new_offset);
$new->wait_for_log(qr/switchover is not possible: "$old->{name}" could not mark timeline ids/, $new_offset);
pass('others go first, and say why');
$cluster->wait_until_streaming;
rmdir $obstacle;
$cluster->wait_for('a switchover to it after a ttl', sub {
	$new->try_sql("SELECT patroni.switchover('$old->{name}')");
	return ($cluster->key('leader') // '') eq $old->{name};
}, every_ms => 200);
$cluster->wait_for_leader(is => $old);
is($old->sql('SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)'), '00000006',
	'then it gets an id of its own: the other two were taken by its first try and by the other one');
$cluster->wait_until_streaming;

done_testing();
