# A pair of servers that were made by hand becomes a cluster as docs/adopt-existing.md says, and two plain
# servers again: nothing is copied, own settings stay, and no acknowledged write is lost.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $repl_password = "hand made $$";
my $cluster = PatroniCluster->new('existing', members => 3,
	parameters => { max_connections => 60, wal_level => 'logical' },
	# the old standby streams by this slot until it is a member
	dcs => { ignore_slots => [ { name => 'left_hand' } ] },
	config => sub {
		my ($node, $config) = @_;
		my $users = $config->{postgresql}{authentication};

		# the users that are there: nothing makes any
		$users->{replication} = { username => 'streamer', password => $repl_password };
		delete $users->{rewind};
		# the servers have these in their own files
		delete $config->{bootstrap}{dcs}{postgresql}{parameters}{$_}
		  for qw(unix_socket_directories dynamic_shared_memory_type shared_buffers fsync log_line_prefix wal_keep_size);
		s/replicator/streamer/ for @{ $config->{postgresql}{pg_hba} };
		# node2 keeps its own pg_hba.conf, and all of them in another directory, as Debian does
		return if $node->{name} ne 'node2';
		delete $config->{postgresql}{pg_hba};
		$config->{postgresql}{config_dir} = "$node->{directory}/etc";
	});
my ($one, $two, $three) = $cluster->nodes;
my %plain_log = map { $_->{name} => "$cluster->{log_directory}/plain-$_->{name}.log" } $cluster->nodes;

sub run_tool
{
	my ($name, @arguments) = @_;
	my %option = ref $arguments[0] ? %{ shift @arguments } : ();
	my ($status, $out, $err) = PatroniCluster::run_command([ "$ENV{PG_BINDIR}/$name", @arguments ], %option);

	die "$name @arguments: $out $err" if $status != 0;
	return $out;
}

sub append
{
	my ($path, $text) = @_;

	PatroniCluster::spew($path, PatroniCluster::slurp($path) . $text);
}

# Where its configuration is.
sub conf
{
	my ($node, $name) = @_;

	return join '/', $node->{config}{postgresql}{config_dir} // $node->{data_directory}, $name // ();
}

# A server without anything of ours, by hand.
sub plain_start
{
	my ($node) = @_;

	run_tool('pg_ctl', { timeout => 30 }, 'start', '-s', '-w', '-D', conf($node), '-l', $plain_log{ $node->{name} });
}

sub plain_stop { run_tool('pg_ctl', 'stop', '-s', '-w', '-m', 'fast', '-D', conf($_[0])); }

sub identity
{
	my ($node) = @_;
	my ($id) = run_tool('pg_controldata', $node->{data_directory}) =~ /system identifier:\s+(\d+)/;

	return join ' ', $id, (stat $node->{data_directory})[1], (stat "$node->{data_directory}/PG_VERSION")[1],
	  (stat "$node->{data_directory}/marker")[1] // 'none';
}

# --- the pair as it was ---

PatroniCluster::spew("$cluster->{base}/pw", $one->{passwords}{superuser});
run_tool('initdb', { timeout => 60 }, '-D', $one->{data_directory}, '-U', 'postgres', '--no-sync', '-k', '--locale=C', '-E', 'UTF8',
	'-A', 'scram-sha-256', "--pwfile=$cluster->{base}/pw");
append("$one->{data_directory}/postgresql.conf", <<"END");
port = $one->{port}
listen_addresses = '*'
unix_socket_directories = '$cluster->{sockets}'
dynamic_shared_memory_type = mmap
shared_buffers = 16MB
fsync = off
max_connections = 60
max_worker_processes = 12
wal_level = logical
work_mem = 5MB
include_dir = 'conf.d'
END
PatroniCluster::make_directory("$one->{data_directory}/conf.d");
PatroniCluster::spew("$one->{data_directory}/conf.d/own.conf", "shop.currency = 'EUR'\nshared_preload_libraries = 'pg_stat_statements'\n");
PatroniCluster::spew("$one->{data_directory}/pg_hba.conf", <<'END');
# written by hand
local all all trust
host all writer 127.0.0.1/32 trust
host all postgres 127.0.0.1/32 scram-sha-256
host replication,all streamer 127.0.0.1/32 scram-sha-256
END
PatroniCluster::spew("$one->{data_directory}/marker", 'made by hand');
plain_start($one);
$one->sql("ALTER SYSTEM SET maintenance_work_mem = '20MB'");
$one->sql("CREATE ROLE streamer LOGIN REPLICATION PASSWORD '$repl_password'");
$one->sql("SELECT pg_create_physical_replication_slot('left_hand')");
$one->sql('CREATE ROLE writer LOGIN; CREATE TABLE writes (id bigint PRIMARY KEY, sent_us bigint);'
	  . ' GRANT INSERT, SELECT ON writes TO writer');
{
	local $ENV{PGPASSWORD} = $repl_password;
	run_tool('pg_basebackup', { timeout => 60 }, '-D', $two->{data_directory}, '-R', '-S', 'left_hand', '-c', 'fast', '--no-sync',
		'-d', "host=127.0.0.1 port=$one->{port} user=streamer application_name=left");
}
PatroniCluster::make_directory(conf($two));
rename "$two->{data_directory}/$_", conf($two, $_) or die "$_: $!" for qw(postgresql.conf pg_hba.conf pg_ident.conf conf.d);
append(conf($two, 'postgresql.conf'), <<"END");
port = $two->{port}
work_mem = 6MB
data_directory = '$two->{data_directory}'
hba_file = '@{[conf($two, 'pg_hba.conf')]}'
ident_file = '@{[conf($two, 'pg_ident.conf')]}'
external_pid_file = '$two->{directory}/own.pid'
END
plain_start($two);
my %before = map { $_->{name} => identity($_) } $one, $two;
my $writer = $cluster->writer(patience_ms => 500);
$two->wait_for_sql("SELECT count(*) > 0 FROM writes");

my %own = map { $_->{name} => PatroniCluster::slurp(conf($_, 'postgresql.conf')) } $one, $two;

# A server that runs is left alone, and what will be different is said before.
$cluster->start_etcd;
my ($status, $out, $err) = $cluster->run_supervisor('--validate', $one->{yaml});
is($status, 0, 'the file is valid');
like($err, qr/warning: postgresql\.parameters\.max_worker_processes: "12" in the server's own files has no effect, the cluster's configuration says "8"/,
	'a value that will not be in force is a warning');
unlike($err, qr/max_connections|wal_level|work_mem|shared_preload/, 'others are none');
for my $node ($one, $two)
{
	$node->start;
	is($node->wait_for_exit, 1, "$node->{name} runs already: it is not taken over");
	like($node->log_text, qr/FATAL:  the running server is not under .*\n.*DETAIL: .*\n.*HINT:  Stop the server \(pg_ctl stop/,
		'with the reason and what to do');
}
is(PatroniCluster::slurp("$one->{data_directory}/postgresql.conf"), $own{node1}, 'nothing was written');

# The standby first, by mistake: it must not become a second primary.
plain_stop($two);
$two->start;
$two->wait_for_log(qr/start as standby failed.*"standby\.signal" is there, this server was not managed before, and no member leads: start the member on its primary first/);
is($cluster->key('leader'), undef, 'a standby does not lead while its primary is not a member');
is($two->stop, 0, 'told to stop, its supervisor ends');
is(PatroniCluster::slurp(conf($two, 'postgresql.conf')), $own{node2}, 'its files are as they were');
plain_start($two);
$two->wait_for_sql("SELECT status = 'streaming' FROM pg_stat_wal_receiver");

# --- the primary ---

my $since = PatroniCluster::now_us();
plain_stop($one);
$one->start;
$cluster->wait_for_leader;
$writer->wait_for_more(50);
measured('taking over the primary: no write for ' . int($writer->longest_gap($since)) . ' ms');
is(identity($one), $before{node1}, 'the data directory is the same');
sub is_set
{
	my ($node, $name, $value) = @_;
	is($node->sql("SELECT current_setting('$name')"), $value, "$node->{name}: $name");
}
is_set($one, 'max_connections', '60');
is_set($one, 'wal_level', 'logical');
is_set($one, 'max_worker_processes', '12');	# raised as long as it was a standby first
is_set($one, 'work_mem', '5MB');
is_set($one, 'shop.currency', 'EUR');
is_set($one, 'maintenance_work_mem', '20MB');
is_set($one, 'shared_preload_libraries', 'pg_stat_statements, patroni_bgw');
is(PatroniCluster::slurp("$one->{data_directory}/postgresql.base.conf"), $own{node1}, 'postgresql.conf has another name');
like(PatroniCluster::slurp("$one->{data_directory}/pg_hba.conf"), qr/overwritten by Patroni/, 'pg_hba.conf is that of the file');
like(PatroniCluster::slurp("$one->{data_directory}/pg_hba.conf.before_patroni"), qr/^# written by hand/, 'the old one is kept');
$one->sql('CREATE EXTENSION patroni_bgw');
is($one->sql("SELECT role FROM patroni.member WHERE name = 'node1'"), 'leader', 'the views are there');
$two->wait_for_sql("SELECT status = 'streaming' AND received_tli = 2 AND slot_name = 'left_hand' FROM pg_stat_wal_receiver");
ok(1, 'the old standby goes on streaming by its slot, on the new timeline');

# --- the standby ---

$since = PatroniCluster::now_us();
plain_stop($two);
$two->start;
$cluster->wait_until_streaming(nodes => [$two]);
$writer->wait_for_more(50);
measured('taking over the standby: no write for ' . int($writer->longest_gap($since)) . ' ms');
is(identity($two), $before{node2}, 'the data directory is the same');
is_set($two, 'work_mem', '6MB');
is_set($two, 'hba_file', conf($two, 'pg_hba.conf'));
is_set($two, 'shop.currency', 'EUR');
is_set($two, 'shared_preload_libraries', 'pg_stat_statements, patroni_bgw');
like(PatroniCluster::slurp(conf($two, 'pg_hba.conf')), qr/^# written by hand/, 'pg_hba.conf stays where the file has none');
unlike(PatroniCluster::slurp($_), qr/\Q$repl_password\E/, "the password is not in $_")
  for conf($two, 'postgresql.conf'), "$two->{data_directory}/postgresql.auto.conf";
unlike($_->log_text, qr/copying from|pg_basebackup/, "$_->{name}: nothing was copied") for $one, $two;
is($one->sql("SELECT active FROM pg_replication_slots WHERE slot_name = 'node2'"), 't', 'it has a slot of its own');
($status, $out, $err) = $cluster->patroni_ctl('edit-config', $cluster->{scope}, '--force', '-s', 'ignore_slots=null');
is($status, 0, 'the old slot is not needed any more') or diag("$out$err");
$one->wait_for_sql("SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = 'left_hand'");
ok(1, 'it is dropped');
$cluster->wait_for_leader->sql("SELECT patroni.switchover('node2', wait => false)");
$cluster->wait_for_leader(is => $two);
$cluster->wait_until_streaming(nodes => [ $one, $two ]);
ok(1, 'a switchover works');

# --- what is refused ---

sub copy_of
{
	my ($node) = @_;

	PatroniCluster::remove_tree($three->{data_directory});
	system('cp', '-a', $node->{data_directory}, $three->{data_directory}) == 0 or die 'could not copy';
}

# The data of another cluster.
run_tool('initdb', { timeout => 60 }, '-D', $three->{data_directory}, '-U', 'postgres', '--no-sync', '--locale=C', '-A', 'trust');
my ($stranger) = split / /, identity($three);
my ($own_id) = split / /, identity($one);
$three->start;
is($three->wait_for_exit, 6, 'the data of another cluster: the supervisor ends');
like($three->log_text, qr/system identifier mismatch: "node3" has $stranger, the cluster has $own_id/, 'and says whose it is');
ok(!-e "$three->{data_directory}/postgresql.base.conf", 'it was not touched');

# Those of this cluster, but of another version, or open to all.
is($one->stop, 0, 'stopped for a copy');
copy_of($one);
$one->start;
my $offset = $three->log_size;
PatroniCluster::spew("$three->{data_directory}/PG_VERSION", "14\n");
$three->start;
$three->wait_for_log(qr/WARNING:  start as standby failed/, $offset);
like($three->log_text($offset), qr/database files are incompatible with server.*initialized by PostgreSQL version 14.* this version 15/s,
	'another major version: the server says which');
$three->stop;
PatroniCluster::spew("$three->{data_directory}/PG_VERSION", "15\n");
chmod 0755, $three->{data_directory};
$offset = $three->log_size;
$three->start;
$three->wait_for_log(qr/WARNING:  start as standby failed/, $offset);
like($three->log_text($offset), qr/has invalid permissions/, 'a data directory that is open to all: likewise');
chmod 0700, $three->{data_directory};
$cluster->wait_until_streaming(nodes => [$three]);
ok(1, 'when that is mended it goes on by itself');
$three->stop;

# --- and back to two plain servers ---

$cluster->wait_until_streaming(nodes => [ $one, $two ]);
$two->sql('DROP EXTENSION patroni_bgw');
$cluster->wait_until_replayed;
is($one->stop, 0, 'the standby is stopped');
$since = PatroniCluster::now_us();
is($two->stop, 0, 'then the primary');
for my $node ($one, $two)
{
	rename conf($node, 'postgresql.base.conf'), conf($node, 'postgresql.conf') or die $!;
	rename conf($node, 'pg_hba.conf.before_patroni'), conf($node, 'pg_hba.conf') if -e conf($node, 'pg_hba.conf.before_patroni');
}
ok(!-e "$two->{data_directory}/standby.signal", 'the primary is none by its files');
ok(-e "$one->{data_directory}/standby.signal", 'the standby is one');
plain_start($two);
$writer->wait_for_more(50);
measured('giving back the primary: no write for ' . int($writer->longest_gap($since)) . ' ms');
$two->sql("SELECT pg_drop_replication_slot('node1')");
$two->sql("SELECT pg_create_physical_replication_slot('right_hand')");
append(conf($one, 'postgresql.conf'),
	"primary_conninfo = 'host=127.0.0.1 port=$two->{port} user=streamer password=''$repl_password'''\nprimary_slot_name = 'right_hand'\n");
plain_start($one);
$one->wait_for_sql("SELECT status = 'streaming' FROM pg_stat_wal_receiver");
$writer->stop;
my %there = map { $_ => 1 } split /\n/, $two->sql('SELECT id FROM writes');
is(scalar(grep { !$there{ $_->{id} } } $writer->acks), 0, 'no acknowledged write is lost');
$two->sql('INSERT INTO writes VALUES (1, 1)');
is_set($_, 'shared_preload_libraries', 'pg_stat_statements') for $one, $two;
is((split / /, identity($_))[3], (split / /, $before{ $_->{name} })[3], "$_->{name}: still the same files") for $one, $two;
is($two->sql("SELECT count(*) FROM pg_settings WHERE name LIKE 'patroni.%'"), '0', 'nothing of ours is left in it');
($status, $out, $err) = $cluster->patroni_ctl({ input => "$cluster->{scope}\nYes I am aware\n" }, 'remove', $cluster->{scope});
is($status, 0, 'its keys in the store are removed') or diag("$out$err");
is($cluster->key('initialize'), undef, 'all of them');

# --- and once more, after a crash of the primary ---

plain_stop($one);
run_tool('pg_ctl', 'stop', '-s', '-w', '-m', 'immediate', '-D', conf($two));
$two->start;
$cluster->wait_for_leader(is => $two);
is($two->sql('SELECT count(*) FROM writes WHERE id = 1'), '1', 'a primary that was not shut down cleanly recovers first');
$one->start;
$cluster->wait_until_streaming(nodes => [ $one, $two ]);
is($two->sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'node1' AND active"), '1', 'the pair is a cluster again');

done_testing();
