# PatroniCluster: a whole cluster for a test: one etcd, some members, each with
# its own patroni_supervisor, data directory and ports, all on this machine.
#
#   my $cluster = PatroniCluster->new('crash', members => 3, dcs => { ttl => 3 });
#   $cluster->start;
#   my $old = $cluster->leader;
#   $old->kill9;
#   $cluster->wait_for_leader(not => $old);
#
# Every wait is for a fact and has a bound; when it fails, the tails of all
# logs are shown and the test dies.  At the end of the test every process that
# was started is gone and the files too; the logs stay when the test failed.
#
# All run as an unprivileged user.  A test that is started as root (it has the
# line "# run as root" at its top, see scripts/tap.sh) still runs everything as
# that user ($ENV{TEST_USER}), and can cut networks and mount file systems.

package PatroniCluster;

use strict;
use warnings;

use Exporter qw(import);
our @EXPORT = qw(measured);

use Cwd ();
use Fcntl qw(:flock);
use File::Path qw(make_path remove_tree);
use File::Temp ();
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 qw(encode_base64 decode_base64);
use POSIX qw(:sys_wait_h);
use Scalar::Util qw(blessed);
use Test::More;
use Time::HiRes qw(usleep clock_gettime);

use constant CLOCK_BOOTTIME => 7;

our $default_timeout = $ENV{PATRONI_TEST_TIMEOUT} // 45;

my @clusters;
my @port_locks;

# The words in front of a command that make an unprivileged process of it.
my @as_user;
my ($user_id, $group_id) = ($<, $( + 0);

if ($< == 0)
{
	my $user = $ENV{TEST_USER} // 'postgres';
	my @entry = getpwnam($user);

	die "there is no user \"$user\" to run servers as" unless @entry;
	($user_id, $group_id) = @entry[ 2, 3 ];
	@as_user = ('setpriv', "--reuid=$user", "--regid=$group_id", '--clear-groups', '--');
	$ENV{USER} = $ENV{LOGNAME} = $user;
	$ENV{HOME} = '/tmp';
}

# A test that is told to end still cleans up.
$SIG{$_} = sub { exit 1 } for qw(TERM INT HUP);
$SIG{PIPE} = 'IGNORE';

# --- helpers of our own ---

# The words in front of a command that make an unprivileged process of it.
sub as_user { return @as_user; }

# A number that people want to see; scripts/tap.sh shows these lines.
sub measured { note("measured: $_[0]"); }

sub now_us { return int(clock_gettime(CLOCK_BOOTTIME) * 1e6); }

# A port below the range that outgoing connections use, locked for us.
sub free_port
{
	my $directory = "/tmp/patroni_test_ports.$<";
	my $start = int(rand(4000));

	# another user's locks are not ours to see: root has the odd ones
	mkdir $directory, 0700;
	for my $i (0 .. 3999)
	{
		my $port = 20000 + 2 * (($start + $i) % 4000) + ($< == 0);

		open(my $lock, '>', "$directory/$port") or next;
		next unless flock($lock, LOCK_EX | LOCK_NB);
		my $socket = IO::Socket::INET->new(
			LocalAddr => '0.0.0.0', LocalPort => $port, Listen => 1, Proto => 'tcp') or next;
		close $socket;
		push @port_locks, $lock;
		return $port;
	}
	die 'no free port';
}

# The second byte of a network 10.N.0.0/16 that no other test of ours uses, locked for us.
sub free_network
{
	my $directory = "/tmp/patroni_test_ports.$<";

	mkdir $directory, 0700;
	for my $i (0 .. 119)
	{
		my $number = 100 + ($$ + $i) % 120;

		open(my $lock, '>', "$directory/net.$number") or next;
		next unless flock($lock, LOCK_EX | LOCK_NB);
		push @port_locks, $lock;
		return $number;
	}
	die 'no free network';
}

sub slurp
{
	my ($path, $offset) = @_;

	open(my $file, '<', $path) or return '';
	seek $file, $offset, 0 if $offset;
	local $/;
	return scalar(<$file>) // '';
}

sub spew
{
	my ($path, $text) = @_;

	open(my $file, '>', $path) or die "could not write $path: $!";
	print $file $text;
	close $file or die "could not write $path: $!";
	chown $user_id, $group_id, $path if $< == 0;
}

sub make_directory
{
	my ($path) = @_;

	make_path($path, { mode => 0700 });
	chown $user_id, $group_id, $path if $< == 0;
	return $path;
}

sub yaml_scalar
{
	my ($value) = @_;

	return 'null' unless defined $value;
	return $value ? 'true' : 'false' if JSON::PP::is_bool($value);
	return $value if $value =~ /^-?\d{1,9}$/;
	return JSON::PP->new->allow_nonref->encode("$value");
}

# A plain structure as block YAML.
sub yaml
{
	my ($value, $indent) = @_;
	my $blanks = '  ' x ($indent // 0);
	my $text = '';

	if (ref $value eq 'HASH')
	{
		for my $key (sort keys %$value)
		{
			my $item = $value->{$key};
			my $is_block = (ref $item eq 'HASH' && %$item) || (ref $item eq 'ARRAY' && @$item);

			$text .= "$blanks$key:" . ($is_block ? "\n" . yaml($item, ($indent // 0) + 1)
				: ref $item eq 'HASH' ? " {}\n" : ref $item eq 'ARRAY' ? " []\n" : ' ' . yaml_scalar($item) . "\n");
		}
	}
	else
	{
		for my $item (@$value)
		{
			if (ref $item eq 'HASH')
			{
				my ($key) = keys %$item;

				$text .= "$blanks- $key: " . yaml_scalar($item->{$key}) . "\n";
			}
			else { $text .= "$blanks- " . yaml_scalar($item) . "\n"; }
		}
	}
	return $text;
}

# Run a command with a bound; (exit status or -1 for "took too long", stdout, stderr).
sub run_command
{
	my ($command, %option) = @_;
	my ($out, $err) = ('', '');
	my $input = $option{input} // '';
	my $harness = IPC::Run::harness($command, '<', \$input, '>', \$out, '2>', \$err,
		IPC::Run::timeout($option{timeout} // 20));
	my $status;

	local $@;
	if (eval { $harness->start; $harness->finish; 1 })
	{
		$status = $harness->full_result(0);
		$status = $status & 127 ? 128 + ($status & 127) : $status >> 8;
	}
	else
	{
		my $why = $@;

		eval { $harness->kill_kill(grace => 0) };
		$status = -1;
		$err .= "(no end within the time)\n" if $why =~ /timeout/;
		$err .= $why unless $why =~ /timeout/;
	}
	chomp($out, $err);
	return ($status, $out, $err);
}

# Where a program is, also one that is not in the PATH of ordinary users; undef: nowhere.
sub program
{
	my ($name) = @_;
	my ($found) = grep { -x $_ } map { "$_/$name" } split(/:/, $ENV{PATH} // ''), qw(/usr/local/sbin /usr/sbin /sbin);

	return $found;
}

# A key and a certificate for 127.0.0.1, signed by itself: $base.key and $base.crt.
sub make_certificate
{
	my ($base) = @_;
	my ($status, undef, $err) = run_command([ 'openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
		'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$base.key", '-out', "$base.crt", '-subj', '/CN=patroni',
		'-addext', 'subjectAltName=IP:127.0.0.1', '-days', 2 ]);

	die "could not make a certificate: $err" if $status != 0;
	spew($_, slurp($_)) for "$base.key", "$base.crt";		# for the user the servers run as
	return $base;
}

# Start a command in the background, its output appended to a file.
sub spawn
{
	my ($command, $log, %option) = @_;
	my $pid = fork // die "could not fork: $!";

	return $pid if $pid;
	setpgrp;
	$SIG{PIPE} = 'DEFAULT';
	open(STDIN, '<', '/dev/null');
	open(STDOUT, $option{truncate} ? '>' : '>>', $log) or POSIX::_exit(126);
	open(STDERR, '>>&', \*STDOUT) unless $option{keep_stderr};
	$ENV{$_} = $option{environment}{$_} for keys %{ $option{environment} // {} };
	{ no warnings; exec { $command->[0] } @$command; }
	print STDERR "could not run $command->[0]: $!\n";
	POSIX::_exit(127);
}

sub process_stat
{
	my ($pid) = @_;
	my ($state, $parent) = slurp("/proc/$pid/stat") =~ /^\d+ \(.*\) (\S) (\d+)/s or return;

	return ($state, $parent);
}

sub is_alive
{
	my ($pid) = @_;
	my ($state) = process_stat($pid);

	return defined $state && $state !~ /[ZX]/;
}

# All processes under the given ones, these included.
sub process_tree
{
	my @roots = grep { $_ } @_;
	my (%children, %seen, @found);

	opendir(my $proc, '/proc') or return @roots;
	for my $pid (grep { /^\d+$/ } readdir $proc)
	{
		my (undef, $parent) = process_stat($pid) or next;

		push @{ $children{$parent} }, $pid;
	}
	while (defined(my $pid = shift @roots))
	{
		next if $seen{$pid}++ || !is_alive($pid);
		push @found, $pid;
		push @roots, @{ $children{$pid} // [] };
	}
	return @found;
}

# --- the cluster ---

# Option "https": the names of members that answer over HTTPS, and only to those who have the certificate, which is
# {certificate} with .crt and .key behind it; the others answer over HTTP.
sub new
{
	my ($class, $name, %option) = @_;
	my $self = bless {
		name => $name,
		is_namespaced => $option{namespaces} // 0,
		writers => [],
	}, $class;
	my ($script) = $0 =~ m{([^/]+?)(?:\.pl)?$};
	my $log_root = $ENV{TESTLOGDIR} // (($ENV{TMPDIR} // '/tmp') . '/patroni_test_log');

	$self->{base} = Cwd::realpath(File::Temp::tempdir('pc.XXXXXX', DIR => $ENV{TMPDIR} // '/tmp'));
	chown $user_id, $group_id, $self->{base} if $< == 0;
	$self->{sockets} = make_directory("$self->{base}/s");
	$self->{log_directory} = make_directory("$log_root/$script.$name");
	$self->{store_directory} = -w '/dev/shm'
	  ? File::Temp::tempdir('patroni_test_etcd.XXXXXX', DIR => '/dev/shm') : "$self->{base}/etcd";
	make_directory($self->{store_directory});
	chown $user_id, $group_id, $self->{store_directory} if $< == 0;
	push @clusters, $self;

	$self->{subnet} = '10.' . free_network() if $self->{is_namespaced};
	$self->{etcd_host} = $self->{is_namespaced} ? $self->{subnet} . '.200.2' : '127.0.0.1';
	$self->{etcd_port} = free_port();
	$self->{etcd_peer_port} = free_port();
	$self->{scope} = "test-$name";
	$self->{option} = \%option;
	$self->{nodes} = [];
	$self->{certificate} = make_certificate("$self->{base}/rest") if $option{https};
	$self->add_node("node$_", %{ $option{node}{"node$_"} // {} }) for 1 .. $option{members} // 3;
	$self->make_namespaces if $self->{is_namespaced};
	return $self;
}

sub nodes { return @{ $_[0]{nodes} }; }

sub node
{
	my ($self, $name) = @_;
	my ($node) = grep { $_->{name} eq $name } $self->nodes;

	return $node;
}

# A further member; not started.
sub add_node
{
	my ($self, $name, %option) = @_;
	my $node = PatroniCluster::Node->new($self, $name, %option);

	push @{ $self->{nodes} }, $node;
	return $node;
}

# From nothing to a leader with all the others (or only these) streaming from it.
sub start
{
	my ($self, @nodes) = @_;
	my ($first, @others) = @nodes ? @nodes : $self->nodes;

	$self->start_etcd;
	$first->start;
	$self->wait_for_leader;
	$_->start for @others;
	$self->wait_until_streaming;
}

# Facts by polling, with a bound; what it was about and the logs when it fails.
sub wait_for
{
	my ($self, $what, $check, %option) = @_;
	my $timeout = $option{timeout} // $default_timeout;
	my $end_us = now_us() + $timeout * 1e6;
	my $result;

	for (;;)
	{
		$result = $check->();
		return $result if $result;
		last if now_us() > $end_us;
		usleep(($option{every_ms} // 20) * 1000);
	}
	$self->show_logs;
	die "not within $timeout s: $what\n" unless $option{or_undef};
	return;
}

sub show_logs
{
	my ($self, $lines) = @_;

	for my $log ($self->{etcd_log}, (map { $self->log_beside($_) } sort keys %{ $self->{beside} // {} }),
		map { $_->{log} } $self->nodes)
	{
		next unless defined $log && -e $log;
		my @text = split /\n/, slurp($log);
		my $limit = $log eq ($self->{etcd_log} // '') ? 5 : $lines // 40;

		@text = @text[ -$limit .. -1 ] if @text > $limit;
		diag("--- $log");
		diag($_) for @text;
	}
}

# --- etcd ---

sub etcd_url { my ($self) = @_; return "http://$self->{etcd_host}:$self->{etcd_port}"; }

sub start_etcd
{
	my ($self) = @_;
	my $peer = "http://$self->{etcd_host}:$self->{etcd_peer_port}";

	$self->{etcd_log} = "$self->{log_directory}/etcd.log";
	$self->{etcd_pid} = spawn(
		[ $self->in_namespace('etcd'), @as_user, 'etcd', '--name', 'etcd',
			'--data-dir', "$self->{store_directory}/data",
			'--listen-client-urls', $self->etcd_url, '--advertise-client-urls', $self->etcd_url,
			'--listen-peer-urls', $peer, '--initial-advertise-peer-urls', $peer,
			'--initial-cluster', "etcd=$peer", '--logger', 'zap', '--log-level', 'error' ],
		$self->{etcd_log});
	$self->wait_for('etcd answers', sub { defined $self->key('none') || $self->{etcd_answered} });
}

# How it goes down does not matter to its clients.
sub stop_etcd
{
	my ($self) = @_;

	return unless $self->{etcd_pid};
	kill 'KILL', $self->{etcd_pid};
	waitpid $self->{etcd_pid}, 0;
	delete $self->{etcd_pid};
}

sub freeze_etcd { kill 'STOP', $_[0]{etcd_pid}; }
sub thaw_etcd { kill 'CONT', $_[0]{etcd_pid}; }

sub etcd_call
{
	my ($self, $path, $body) = @_;
	my $response = HTTP::Tiny->new(timeout => 3)->post($self->etcd_url . "/v3/$path",
		{ content => JSON::PP::encode_json($body) });

	$self->{etcd_answered} = $response->{success};
	return $response->{success} ? JSON::PP::decode_json($response->{content}) : undef;
}

# The text of a key of the cluster ("leader", "config", ...); undef if there is none.
sub key
{
	my ($self, $key) = @_;
	my $answer = $self->etcd_call('kv/range', { key => encode_base64("/service/$self->{scope}/$key", '') });

	return unless $answer && $answer->{kvs};
	return decode_base64($answer->{kvs}[0]{value} // '');
}

sub key_json
{
	my ($self, $key) = @_;
	my $text = $self->key($key);

	return defined $text && $text ne '' ? JSON::PP->new->allow_nonref->decode($text) : undef;
}

sub put_key
{
	my ($self, $key, $text) = @_;

	return $self->etcd_call('kv/put', { key => encode_base64("/service/$self->{scope}/$key", ''),
			value => encode_base64($text, '') });
}

sub delete_key
{
	my ($self, $key) = @_;

	return $self->etcd_call('kv/deleterange', { key => encode_base64("/service/$self->{scope}/$key", '') });
}

# --- who leads, who follows ---

# Whom the leader key names.
sub leader
{
	my ($self) = @_;
	my $name = $self->key('leader');

	return defined $name ? $self->node($name) : undef;
}

sub standbys
{
	my ($self) = @_;
	my $leader = $self->leader or return;

	return grep { $_ != $leader && $_->is_started } $self->nodes;
}

# All started members but this one: when the store cannot be asked.
sub standbys_of
{
	my ($self, $leader) = @_;

	return grep { $_ != $leader && $_->is_started } $self->nodes;
}

# A leader by its key that takes writes by its own word: not in recovery, and
# its fence open.  With not => $node another one than that, with is => $node that.
sub wait_for_leader
{
	my ($self, %option) = @_;
	my $what = $option{not} ? "another member than $option{not}{name} leads"
	  : $option{is} ? "$option{is}{name} leads" : 'a member leads';

	return $self->wait_for("$what and takes writes", sub {
		my $leader = $self->leader or return;

		return if $option{not} && $leader == $option{not};
		return if $option{is} && $leader != $option{is};
		my ($status, $out) = $leader->try_sql('SHOW transaction_read_only', timeout => 3);
		return $status == 0 && $out eq 'off' ? $leader : undef;
	}, %option);
}

# All started members but the leader stream from it, on its timeline.
sub wait_until_streaming
{
	my ($self, %option) = @_;
	my @wanted = $option{nodes} ? @{ $option{nodes} } : ();

	return $self->wait_for('all standbys stream from the leader and accept clients', sub {
		my $leader = $self->leader or return;
		my @standbys = @wanted ? grep { $_ != $leader } @wanted : $self->standbys;
		my ($status, $out) = $leader->try_sql(
			"SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'", timeout => 3);
		my %streams = map { $_ => 1 } split /\n/, $out;

		return if $status != 0;
		return if grep { !$streams{ $_->{name} } } @standbys;
		# after a pg_rewind a server streams before it is consistent, and refuses clients until then
		return !grep { ($_->try_sql('SELECT', timeout => 3))[0] != 0 } @standbys;
	}, every_ms => 50, %option);
}

# All standbys stream, and the store knows that all members run.
sub wait_until_published
{
	my ($self) = @_;

	$self->wait_until_streaming;
	return $self->wait_for('all members are known to run', sub {
		!grep { (($self->key_json("members/$_->{name}") // {})->{state} // '') ne 'running' } $self->nodes;
	});
}

# All started standbys have replayed what the leader has now.
sub wait_until_replayed
{
	my ($self, %option) = @_;
	my $leader = $self->wait_for_leader;
	my $lsn = $leader->sql('SELECT pg_current_wal_insert_lsn()');

	for my $node ($self->standbys)
	{
		$self->wait_for("$node->{name} has replayed $lsn", sub {
			my ($status, $out) = $node->try_sql("SELECT pg_last_wal_replay_lsn() >= '$lsn'", timeout => 3);
			return $status == 0 && $out eq 't';
		}, %option);
	}
}

# --- synchronous replication ---

# Change the dynamic configuration in the store: {key => value or undef}.
sub edit_config
{
	my ($self, $patch) = @_;
	my $config = $self->key_json('config') // die 'there is no configuration in the store';

	for my $key (keys %$patch)
	{
		if (defined $patch->{$key}) { $config->{$key} = $patch->{$key}; }
		else { delete $config->{$key}; }
	}
	$self->put_key('config', JSON::PP->new->canonical->encode($config)) or die 'could not write the configuration';
}

# off, on, quorum; with "strict": on-strict, quorum-strict.
sub set_sync_mode
{
	my ($self, $mode, %more) = @_;
	my ($word, $is_strict) = $mode =~ /^(off|on|quorum)(-strict)?$/ or die "no mode \"$mode\"";

	$self->edit_config({
		synchronous_mode => $word eq 'quorum' ? 'quorum' : $word eq 'on' ? JSON::PP::true : JSON::PP::false,
		synchronous_mode_strict => $is_strict ? JSON::PP::true : JSON::PP::false,
		%more });
}

# The key "sync" and synchronous_standby_names are as the configuration wants
# them with the members that are started now; returns the standbys of the key.
sub wait_until_synchronous
{
	my ($self, %option) = @_;
	my $last = '';

	return $self->wait_for($option{what} // 'synchronous replication is set up', sub {
		my $leader = $self->leader or return;
		my $config = $self->key_json('config') or return;
		my $key = $self->key_json('sync');
		my $mode = $config->{synchronous_mode} || 'off';
		my @able = grep { !($_->{config}{tags}{nosync}) } $self->standbys;
		my $count = $config->{synchronous_node_count} // 1;
		my ($n, @named, $names);

		$mode = 'on' unless $mode =~ /^(off|quorum)$/;
		$names = ($leader->try_sql('SHOW synchronous_standby_names', timeout => 3))[1];
		return !defined $key && $names eq '' ? [] : undef if $mode eq 'off';
		return unless $key && ($key->{leader} // '') eq $leader->{name};
		$count = @able if $count > @able;
		$n = $mode eq 'quorum' ? @able : $count;
		@named = split /,/, $key->{sync_standby} // '';
		return unless @named == $n && ($key->{quorum} // 0) == $n - $count;
		return [ map { $self->node($_) } @named ]
		  if $names eq (!$n ? $config->{synchronous_mode_strict} ? '*' : ''
			: $mode eq 'quorum' ? "ANY $count (" . join(',', @named) . ')'
			: $n == 1 ? $named[0] : "$n (" . join(',', @named) . ')');
		return;
	}, every_ms => 50, %option);
}

# --- writing clients ---

# A table for them, and a client.  Options: nodes (all), mode, interval_ms,
# patience_ms, any (take any server), in (a network namespace), no_wait (for the
# first acknowledgement).
sub create_writes_table
{
	my ($self) = @_;

	$self->wait_for_leader->sql('CREATE ROLE writer LOGIN; CREATE TABLE writes (id bigint PRIMARY KEY, sent_us bigint);'
		  . ' GRANT INSERT, SELECT ON writes TO writer');
}

sub writer
{
	my ($self, %option) = @_;
	my $writer = PatroniCluster::Writer->new($self, %option);

	push @{ $self->{writers} }, $writer;
	return $writer;
}

# Acknowledgements whose rows are not in the table of the leader.
sub missing_acks
{
	my ($self, @acks) = @_;
	my %there = map { $_ => 1 } split /\n/, $self->wait_for_leader->sql('SELECT id FROM writes', timeout => 60);

	return grep { !$there{ $_->{id} } } @acks;
}

# How many rows were acknowledged to any writer and are not in the table of the leader.
sub lost_writes
{
	my ($self, @writers) = @_;

	@writers = @{ $self->{writers} } unless @writers;
	# what is acknowledged after this is in no list: a writer may be at it still
	my @lost = $self->missing_acks(map { $_->acks } @writers);
	diag("lost: id $_->{id}, acknowledged at $_->{acked_us} by port $_->{port}") for @lost[ 0 .. ($#lost < 9 ? $#lost : 9) ];
	return scalar @lost;
}

# --- programs beside the cluster: a proxy, a monitor ---

# They are started as the user the servers run as, unless as_root is given, and
# end with the test at the latest.  Returns the process id.
sub run_beside
{
	my ($self, $name, $command, %option) = @_;
	my $pid = spawn([ $option{in} ? $self->in_namespace($option{in}) : (), $option{as_root} ? () : @as_user, @$command ],
		$self->log_beside($name));

	$self->{beside}{$name} = $pid;
	return $pid;
}

# PgBouncer as docs/pgbouncer.md sets it up.  Options: listen and server, [host, port] each; database of it, and
# dbname of the server if that is another; users, name => secret.  The process id.
sub run_pgbouncer
{
	my ($self, $name, %option) = @_;
	my ($database, $users) = @option{qw(database users)};
	my $server = "host=$option{server}[0] port=$option{server}[1] dbname=" . ($option{dbname} // $database);
	my $directory = make_directory("$self->{base}/$name");

	spew("$directory/users.txt", join '', map { qq("$_" "$users->{$_}"\n) } sort keys %$users);
	spew("$directory/pgbouncer.ini", <<"END_OF_TEXT");
[databases]
$database = $server
${database}_probe = $server user=writer pool_size=1
[pgbouncer]
listen_addr = $option{listen}[0]
listen_port = $option{listen}[1]
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $directory/users.txt
admin_users = patroni
pool_mode = transaction
server_login_retry = 0.02
END_OF_TEXT
	return $self->run_beside($name, [ program('pgbouncer'), "$directory/pgbouncer.ini" ]);
}

sub log_beside { my ($self, $name) = @_; return "$self->{log_directory}/$name.log"; }

# End one, or stop it from cleaning up: signal => 'KILL'.
sub stop_beside
{
	my ($self, $name, $signal) = @_;
	my $pid = delete $self->{beside}{$name} or return;

	kill $signal // 'TERM', $pid;
	for (1 .. 250)
	{
		return if waitpid($pid, WNOHANG) != 0;
		usleep(20_000);
	}
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

# --- the command lines: Patroni's as Debian has it, and ours ---

# A hash in front of the arguments is for run_command(); environment => {...} as well.
sub command_line
{
	my ($self, $program, @arguments) = @_;
	my %option = ref $arguments[0] ? %{ shift @arguments } : ();
	my ($node) = $self->nodes;
	my $file = exists $option{config} ? $option{config} : $node->{yaml};
	local %ENV = (%ENV, %{ $option{environment} // {} });

	return run_command([ @as_user, $program, (defined $file ? ('-c', $file) : ()), @arguments ],
		timeout => 60, %option);
}

sub patronictl { my ($self, @arguments) = @_; return $self->command_line('patronictl', @arguments); }

sub patroni_ctl
{
	my ($self, @arguments) = @_;

	return $self->command_line($ENV{PATRONI_CTL} // 'patroni_ctl', @arguments);
}

# A test: both command lines show the same.  Times may change between the two, so a few times.
sub is_shown_alike
{
	my ($self, @words) = @_;
	my (@theirs, @ours);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for (1 .. 5)
	{
		@theirs = $self->patronictl(@words);
		@ours = $self->patroni_ctl(@words);
		last if "@theirs" eq "@ours";
	}
	return is("@ours", "@theirs", "@words: as patronictl shows it");
}

# patroni_supervisor in the foreground; for runs that end by themselves.
sub run_supervisor
{
	my ($self, @arguments) = @_;

	return run_command([ @as_user, $ENV{PATRONI_SUPERVISOR} // 'patroni_supervisor', @arguments ], timeout => 30);
}

# --- a small file system; root only ---

sub mount_tmpfs
{
	my ($self, $directory, $size) = @_;

	make_directory($directory);
	system('mount', '-t', 'tmpfs', '-o', "size=$size,mode=0700,uid=$user_id,gid=$group_id", 'none', $directory) == 0
	  or return 0;
	push @{ $self->{mounts} }, $directory;
	return 1;
}

# A disk that can stand still: ext4 in a file.  False: there are no loop devices.
sub mount_disk
{
	my ($self, $directory, $megabytes) = @_;
	my $image = "$directory.image";

	make_directory($directory);
	open(my $file, '>', $image) or return 0;
	truncate($file, $megabytes << 20) or return 0;
	close $file;
	system("mkfs.ext4 -q -m 0 -E lazy_itable_init=0,root_owner=$user_id:$group_id $image >/dev/null 2>&1") == 0 or return 0;
	system("mount -o loop $image $directory 2>/dev/null") == 0 or return 0;
	push @{ $self->{mounts} }, $directory;
	chmod 0700, $directory;
	remove_tree("$directory/lost+found");
	return 1;
}

# Processes that write there sleep in the kernel, and not even SIGKILL ends them.
# Should this process be killed, somebody else has to let them go.
sub freeze_disk
{
	my ($self, $directory) = @_;

	$self->{disk_guards}{$directory} //= spawn([ 'sh', '-c',
			"while kill -0 $$ 2>/dev/null; do sleep 0.5; done; fsfreeze -u '$directory'" ], '/dev/null');
	system('fsfreeze', '-f', $directory) == 0 or die "could not freeze $directory";
	$self->{frozen_disks}{$directory} = 1;
}

sub thaw_disk
{
	my ($self, $directory) = @_;

	system('fsfreeze', '-u', $directory) if delete $self->{frozen_disks}{$directory};
}

# --- network namespaces; root only ---
#
# Every member and the store have a namespace with one link to a hub, which is
# a namespace too and routes between them; we are linked to the hub as well.
# The hub forgets packets between two of them when their link is cut: nobody is
# told, as with a pulled cable.

sub in_namespace
{
	my ($self, $name) = @_;

	return $self->{is_namespaced} ? ('ip', 'netns', 'exec', "$self->{subnet}-$name") : ();
}

# May we make network namespaces, and enter them?  A chroot or a container may let
# us do the one and not the other.
sub can_cut_networks
{
	return $< == 0
	  && system("ip netns add patroni-try-$$ 2>/dev/null && ip netns exec patroni-try-$$ true 2>/dev/null; "
		  . "result=\$?; ip netns del patroni-try-$$ 2>/dev/null; exit \$result") == 0;
}

sub ip
{
	my (@words) = map { split / / } @_;

	system('ip', @words) == 0 or die "could not run ip @words";
}

sub make_namespaces
{
	my ($self) = @_;
	my $net = $self->{subnet};
	my $hub = "$net-hub";
	my $tag = "p$$";
	my %number = (etcd => 200);

	$number{ $_->{name} } = $_->{number} for $self->nodes;
	ip("netns add $hub");
	push @{ $self->{namespaces} }, $hub;
	ip("netns exec $hub sysctl -qw net.ipv4.ip_forward=1");
	ip("link add ${tag}h type veth peer name root netns $hub");
	ip("addr add $net.0.1/24 dev ${tag}h");
	ip("link set ${tag}h up");
	ip("-n $hub addr add $net.0.2/24 dev root");
	ip("-n $hub link set root up");
	ip("route add $net.0.0/16 via $net.0.2");
	for my $name (sort keys %number)
	{
		my $n = $number{$name};

		ip("netns add $net-$name");
		push @{ $self->{namespaces} }, "$net-$name";
		ip("link add v$n netns $hub type veth peer name eth0 netns $net-$name");
		ip("-n $hub addr add $net.$n.1/24 dev v$n");
		ip("-n $hub link set v$n up");
		ip("-n $net-$name addr add $net.$n.2/24 dev eth0");
		ip("-n $net-$name link set eth0 up");
		ip("-n $net-$name link set lo up");
		ip("-n $net-$name route add default via $net.$n.1");
	}
}

# One more network, which all members share, as database servers in one rack do:
# the interface "lan" of a member has the address SUBNET.$number.N, ours in the hub
# SUBNET.$number.254.  Cuts do not matter there.
sub add_lan
{
	my ($self, $number) = @_;
	my $net = $self->{subnet};
	my $hub = "$net-hub";

	ip("-n $hub link add lan type bridge");
	ip("-n $hub addr add $net.$number.254/24 dev lan");
	ip("-n $hub link set lan up");
	for my $node ($self->nodes)
	{
		ip("link add lan$node->{number} netns $hub type veth peer name lan netns $net-$node->{name}");
		ip("-n $hub link set lan$node->{number} master lan up");
		ip("-n $net-$node->{name} addr add $net.$number.$node->{number}/24 dev lan");
		ip("-n $net-$node->{name} link set lan up");
	}
}

sub cut_or_join
{
	my ($self, $verb, @pair) = @_;
	my @host = map { ref $_ ? $_->{host} : $self->{etcd_host} } @pair;

	ip("-n $self->{subnet}-hub rule $verb from $host[0] to $host[1] blackhole priority 100");
	ip("-n $self->{subnet}-hub rule $verb from $host[1] to $host[0] blackhole priority 100");
}

# Cut or join the link between two members, or between a member and 'etcd'.
sub cut { my ($self, @pair) = @_; $self->cut_or_join('add', @pair); }
sub join_again { my ($self, @pair) = @_; $self->cut_or_join('del', @pair); }

# --- the end ---

sub clean_up
{
	my ($self) = @_;

	$_->kill for @{ $self->{writers} };
	$self->stop_beside($_, 'KILL') for keys %{ $self->{beside} // {} };
	$self->thaw_disk($_) for keys %{ $self->{frozen_disks} // {} };
	for my $guard (values %{ $self->{disk_guards} // {} })
	{
		kill 'KILL', $guard;
		waitpid $guard, 0;
	}
	for my $node ($self->nodes)
	{
		$node->remove_traces;
	}
	if ($self->{etcd_pid})
	{
		kill 'CONT', $self->{etcd_pid};
		$self->stop_etcd;
	}
	# whoever still works in one of our directories
	opendir(my $proc, '/proc');
	for my $pid (grep { /^\d+$/ } readdir $proc)
	{
		my $where = readlink("/proc/$pid/cwd") // '';

		kill 'KILL', $pid if index($where, "$self->{base}/") == 0;
	}
	system('umount', '-l', $_) for reverse @{ $self->{mounts} // [] };
	system('ip', 'netns', 'del', $_) for reverse @{ $self->{namespaces} // [] };
	remove_tree($self->{base}, $self->{store_directory}, { error => \my $ignored });
	remove_tree($self->{log_directory}, { error => \$ignored })
	  if Test::More->builder->is_passing && !$ENV{PATRONI_TEST_KEEP_LOGS};
}

END
{
	my $status = $?;

	Test::More->builder->is_passing(0) if $status != 0;
	for my $cluster (@clusters)
	{
		diag("logs are in $cluster->{log_directory}")
		  unless Test::More->builder->is_passing;
		eval { $cluster->clean_up; 1 } or warn $@;
	}
	$? = $status;
}

# ---------------------------------------------------------------------------
# A member
# ---------------------------------------------------------------------------

package PatroniCluster::Node;

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(usleep);
use POSIX qw(:sys_wait_h);

sub new
{
	my ($class, $cluster, $name, %option) = @_;
	my ($number) = $name =~ /(\d+)$/ or die 'the name of a member ends in a number';
	my $directory = PatroniCluster::make_directory("$cluster->{base}/$name");
	my $self = bless {
		cluster => $cluster,
		name => $name,
		number => $number,
		directory => $directory,
		data_directory => "$directory/" . ($option{data_directory} // 'data'),
		host => $cluster->{is_namespaced} ? "$cluster->{subnet}.$number.2" : '127.0.0.1',
		port => PatroniCluster::free_port(),
		rest_port => PatroniCluster::free_port(),
		yaml => "$directory/patroni.yml",
		log => "$cluster->{log_directory}/$name.log",
		passwords => { superuser => "super'secret\\$$", replication => "repl secret $$", rewind => "rewind:secret$$" },
	}, $class;

	$self->{config} = $self->default_config(%option);
	$cluster->{option}{config}->($self, $self->{config}) if $cluster->{option}{config};
	$option{config}->($self, $self->{config}) if $option{config};
	$self->write_config;
	return $self;
}

sub default_config
{
	my ($self, %option) = @_;
	my $cluster = $self->{cluster};
	my %from = %{ $cluster->{option} };
	my $network = $cluster->{is_namespaced} ? "$cluster->{subnet}.0.0/16" : '127.0.0.1/32';
	my %parameters = (
		unix_socket_directories => $cluster->{sockets},
		dynamic_shared_memory_type => 'mmap',
		shared_buffers => '16MB',
		fsync => 'off',		# nothing here pulls the plug
		log_line_prefix => '%m [%p] ',
		wal_keep_size => '64MB',
		%{ $from{parameters} // {} });
	my %tls = $from{https} ? (certfile => "$cluster->{certificate}.crt", keyfile => "$cluster->{certificate}.key") : ();

	return {
		scope => $cluster->{scope},
		name => $self->{name},
		etcd3 => { hosts => "$cluster->{etcd_host}:$cluster->{etcd_port}" },
		restapi => {
			listen => "$self->{host}:$self->{rest_port}",
			connect_address => "$self->{host}:$self->{rest_port}",
			((grep { $_ eq $self->{name} } @{ $from{https} // [] })
				? (%tls, cafile => $tls{certfile}, verify_client => 'required') : ()),
		},
		($from{https} ? (ctl => { %tls, cacert => $tls{certfile} }) : ()),
		bootstrap => {
			dcs => {
				ttl => 3, loop_wait => 1, retry_timeout => 1,
				maximum_lag_on_failover => 16777216,
				%{ $from{dcs} // {} },
				postgresql => {
					use_pg_rewind => JSON::PP::true,
					parameters => \%parameters,
					%{ $from{dcs}{postgresql} // {} },
				},
			},
			initdb => [ { encoding => 'UTF8' }, { locale => 'C' }, 'data-checksums' ],
		},
		postgresql => {
			listen => "$self->{host}:$self->{port}",
			connect_address => "$self->{host}:$self->{port}",
			data_dir => $self->{data_directory},
			($ENV{PG_BINDIR} ? (bin_dir => $ENV{PG_BINDIR}) : ()),
			pgpass => "$self->{directory}/pgpass",
			authentication => {
				superuser => { username => 'postgres', password => $self->{passwords}{superuser} },
				replication => { username => 'replicator', password => $self->{passwords}{replication} },
				rewind => { username => 'rewinder', password => $self->{passwords}{rewind} },
			},
			pg_hba => [
				'local all all trust',
				"host replication replicator $network scram-sha-256",
				"host all rewinder,replicator $network scram-sha-256",
				"host all postgres $network scram-sha-256",
				"host all all $network trust",
			],
		},
		tags => $option{tags} // {},
	};
}

# The configuration file; for a reload change $node->{config} and call this again.
sub write_config
{
	my ($self) = @_;

	PatroniCluster::spew($self->{yaml}, PatroniCluster::yaml($self->{config}));
	chmod 0600, $self->{yaml};
}

# --- its processes ---

sub start
{
	my ($self, %option) = @_;
	my $program = $option{program} // $ENV{PATRONI_SUPERVISOR} // 'patroni_supervisor';

	die "$self->{name} runs already" if $self->supervisor_is_alive;
	$self->{supervisor_pid} = PatroniCluster::spawn(
		[ $self->{cluster}->in_namespace($self->{name}), @as_user, $program, @{ $option{arguments} // [] },
			$self->{yaml} ],
		$self->{log}, environment => $option{environment});
	delete $self->{exit_status};
	$self->{is_started} = 1;
}

sub is_started { return $_[0]{is_started}; }

# Is the supervisor there?  Also collects how it ended.
sub supervisor_is_alive
{
	my ($self) = @_;
	my $pid = $self->{supervisor_pid} or return 0;

	if (waitpid($pid, WNOHANG) == $pid)
	{
		$self->{exit_status} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
		delete $self->{supervisor_pid};
		return 0;
	}
	return 1;
}

# Wait until the supervisor has ended by itself; its exit status.
sub wait_for_exit
{
	my ($self, %option) = @_;

	$self->{cluster}->wait_for("the supervisor of $self->{name} ends",
		sub { !$self->supervisor_is_alive }, %option);
	return $self->{exit_status};
}

# As an operator does it: tell the supervisor, which stops the server.
sub stop
{
	my ($self, %option) = @_;

	kill 'TERM', $self->{supervisor_pid} if $self->{supervisor_pid};
	$self->{is_started} = 0;
	return $self->wait_for_exit(%option);
}

sub reload { my ($self) = @_; kill 'HUP', $self->{supervisor_pid}; }

# The server alone, behind the supervisor's back.  It waits for this postmaster:
# pg_ctl would wait for any that the file names, so also for the next one, if the
# supervisor has started it by then.
sub stop_server
{
	my ($self, $mode) = @_;
	my %signals = (smart => 'TERM', fast => 'INT', immediate => 'QUIT');
	my $pid = $self->postmaster_pid or die "the server of $self->{name} is not running\n";

	kill $signals{ $mode // 'fast' }, $pid;
	$self->{cluster}->wait_for("the server of $self->{name} has stopped", sub { !PatroniCluster::is_alive($pid) });
}

sub postmaster_pid
{
	my ($self) = @_;
	my ($pid) = PatroniCluster::slurp("$self->{data_directory}/postmaster.pid") =~ /^(\d+)/;

	return unless $pid && PatroniCluster::is_alive($pid);
	return unless (readlink("/proc/$pid/cwd") // '') eq $self->{data_directory};
	return $pid;
}

sub worker_pid
{
	my ($self) = @_;
	my $postmaster = $self->postmaster_pid or return;

	for my $pid (PatroniCluster::process_tree($postmaster))
	{
		return $pid if PatroniCluster::slurp("/proc/$pid/cmdline") =~ /^postgres: .*patroni worker/;
	}
	return;
}

# Everything of this node, or a part of it.
sub pids
{
	my ($self, $part) = @_;

	return PatroniCluster::process_tree($self->{supervisor_pid}, $self->postmaster_pid) if $part eq 'all';
	return PatroniCluster::process_tree($self->postmaster_pid) if $part eq 'server';
	return grep { $_ } $part eq 'supervisor' ? $self->{supervisor_pid}
	  : $part eq 'postmaster' ? $self->postmaster_pid
	  : $part eq 'worker' ? $self->worker_pid : die "no part \"$part\"";
}

sub freeze
{
	my ($self, $part) = @_;
	my @pids = $self->pids($part) or die "$self->{name} has no $part";

	# once more for those that were just being made
	kill 'STOP', @pids;
	push @pids, $self->pids($part) if $part eq 'all' || $part eq 'server';
	kill 'STOP', @pids;
	push @{ $self->{frozen} }, @pids;
}

# From now on nobody gets its WAL, however much may still be in buffers.
sub freeze_senders
{
	my ($self) = @_;
	my @pids = split /\n/, $self->sql('SELECT pid FROM pg_stat_replication');

	kill 'STOP', @pids;
	push @{ $self->{frozen} }, @pids;
}

# From now on it replays nothing; it still receives.
sub freeze_replay
{
	my ($self) = @_;
	my $pid = $self->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");

	kill 'STOP', $pid;
	push @{ $self->{frozen} }, $pid;
}

sub thaw
{
	my ($self) = @_;

	kill 'CONT', $_ for @{ $self->{frozen} // [] };
	$self->{frozen} = [];
}

sub kill9_part
{
	my ($self, $part) = @_;
	my @pids = $self->pids($part) or die "$self->{name} has no $part";

	kill 'KILL', @pids;
	if ($part eq 'supervisor')
	{
		waitpid $self->{supervisor_pid}, 0;
		delete $self->{supervisor_pid};
	}
	return @pids;
}

# The whole node at once, as when the power fails.
sub kill9
{
	my ($self) = @_;
	my @pids;

	while (@pids = $self->pids('all'))
	{
		kill 'STOP', @pids;		# nobody shall notice that another is gone
		kill 'KILL', $self->pids('all');
		if ($self->{supervisor_pid})
		{
			waitpid $self->{supervisor_pid}, 0;
			delete $self->{supervisor_pid};
		}
		usleep(1000);
	}
	$self->{is_started} = 0;
}

sub remove_traces
{
	my ($self) = @_;

	$self->thaw;
	if ($self->{supervisor_pid})
	{
		my @pids = PatroniCluster::process_tree($self->{supervisor_pid});
		my $postmaster = $self->postmaster_pid // 0;
		my %of_server = map { $_ => 1 } $postmaster ? PatroniCluster::process_tree($postmaster) : ();

		kill 'CONT', @pids;
		kill 'KILL', grep { !$of_server{$_} } @pids;
		waitpid $self->{supervisor_pid}, 0;
		delete $self->{supervisor_pid};
	}
	# the server removes its own shared memory when it ends in order
	if (my $postmaster = $self->postmaster_pid)
	{
		my @pids = PatroniCluster::process_tree($postmaster);

		kill 'CONT', @pids;
		kill 'QUIT', $postmaster;
		for (1 .. 200)
		{
			last unless PatroniCluster::is_alive($postmaster);
			usleep(20_000);
		}
		kill 'KILL', @pids;
	}
	# one that was killed could not
	my $line = (split /\n/, PatroniCluster::slurp("$self->{data_directory}/postmaster.pid"))[6] // '';
	shmctl($1, 0, 0) if $line =~ /^\s*\d+\s+(\d+)/;
	unlink glob '/dev/shm' . $self->page_name . '*';
}

# The name of the lease page, as lease_page.c makes it.
sub page_name
{
	my ($self) = @_;
	my $hash;

	{
		use integer;
		$hash = (0xcbf29ce4 << 32) | 0x84222325;
		$hash = ($hash ^ $_) * 1099511628211 for unpack 'C*', $self->{data_directory};
	}
	return sprintf '/patroni.%u.%016x', $< == 0 ? $user_id : $<, $hash;
}

# --- asking it ---

# (exit status or -1, stdout, stderr) of psql, through the Unix socket.
sub try_sql
{
	my ($self, $sql, %option) = @_;

	local $ENV{PGCONNECT_TIMEOUT} = 3;
	return PatroniCluster::run_command(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-f', '-', '-d',
			'host=' . ($self->{sockets} // $self->{cluster}{sockets}) . " port=$self->{port} user=" . ($option{user} // 'postgres')
			  . ' dbname=' . ($option{database} // 'postgres') ],
		input => $sql, timeout => $option{timeout} // 20);
}

# The output of psql; dies when it fails.
sub sql
{
	my ($self, $sql, %option) = @_;
	my ($status, $out, $err) = $self->try_sql($sql, %option);

	return $out if $status == 0;
	$self->{cluster}->show_logs;
	die "$self->{name}: $sql: $err\n";
}

# Wait until a query gives "t".
sub wait_for_sql
{
	my ($self, $sql, %option) = @_;

	return $self->{cluster}->wait_for("$self->{name}: $sql", sub {
		my ($status, $out) = $self->try_sql($sql, timeout => 5);
		return $status == 0 && $out eq 't';
	}, every_ms => 50, %option);
}

sub conninfo
{
	my ($self, $user) = @_;

	return 'dbname=postgres user=' . ($user // 'writer');
}

# GET of the REST API: {status, content, json}; status 599 when there is no answer.
sub rest
{
	my ($self, $path, %option) = @_;

	return $self->rest_over_tls($path, %option) if $self->{config}{restapi}{certfile};
	my $as = defined $option{auth} ? "$option{auth}\@" : '';
	my $response = HTTP::Tiny->new(timeout => $option{timeout} // 5)
	  ->request($option{method} // 'GET', "http://$as$self->{host}:$self->{rest_port}$path",
		defined $option{body} ? { content => JSON::PP::encode_json($option{body}) } : {});

	$response->{json} = eval { JSON::PP::decode_json($response->{content}) };
	return $response;
}

# The same with curl: Perl's TLS is a package that need not be there.  Option
# "certificate": begin of the names of a .crt and a .key to show.
sub rest_over_tls
{
	my ($self, $path, %option) = @_;
	my (undef, $out, $err) = PatroniCluster::run_command([
		'curl', '-s', '-S', '--cacert', $self->{config}{restapi}{cafile}, '-m', $option{timeout} // 5,
		'-X', $option{method} // 'GET', '-w', '\n%{http_code}',
		($option{certificate} ? ('--cert', "$option{certificate}.crt", '--key', "$option{certificate}.key") : ()),
		(defined $option{auth} ? ('-u', $option{auth}) : ()),
		(defined $option{body} ? ('-d', JSON::PP::encode_json($option{body})) : ()),
		"https://$self->{host}:$self->{rest_port}$path" ]);
	my ($content, $status) = $out =~ /^(.*)\n(\d+)$/s;

	return { status => $status && $status + 0 || 599, content => $content // $err,
		json => eval { JSON::PP::decode_json($content) } };
}

# All that it has logged contains none of its passwords.
sub passwords_in
{
	my ($self, $text) = @_;

	return grep { index($text, $self->{passwords}{$_}) >= 0 } sort keys %{ $self->{passwords} };
}

sub log_size { my ($self) = @_; return -s $self->{log} // 0; }
sub log_text { my ($self, $offset) = @_; return PatroniCluster::slurp($self->{log}, $offset); }

sub wait_for_log
{
	my ($self, $pattern, $offset, %option) = @_;

	return $self->{cluster}->wait_for("the log of $self->{name} says $pattern",
		sub { $self->log_text($offset) =~ $pattern }, %option);
}

# ---------------------------------------------------------------------------
# A client that writes: test/tools/writer.c
# ---------------------------------------------------------------------------

package PatroniCluster::Writer;

use strict;
use warnings;

use File::Temp ();
use TestTools;

my $program;
my $n_writers = 0;

sub build
{
	return $program if $program;
	my $directory = File::Temp::tempdir(CLEANUP => 1);

	chmod 0755, $directory;
	return $program = build_tool("$directory/writer", 'test/tools/writer.c', libpq_flags());
}

sub new
{
	my ($class, $cluster, %option) = @_;
	my $number = ++$n_writers;
	my @nodes = @{ $option{nodes} // [ $cluster->nodes ] };
	my $self = bless {
		cluster => $cluster,
		log => "$cluster->{base}/writer$number.log",
		result => "$cluster->{base}/writer$number.json",
	}, $class;
	my @command = ($option{in} ? $cluster->in_namespace($option{in}) : (), build(), '-l', $self->{log}, '-f', $number * 10_000_000,
		'-i', $option{interval_ms} // 5, '-m', $option{mode} // 'simple',
		'-p', $option{patience_ms} // 1000, '-c', $option{connect_ms} // 400,
		$option{any} ? '-a' : (), 'dbname=postgres user=' . ($option{user} // 'writer'),
		join(',', map { "$_->{host}:$_->{port}" } @nodes));

	$self->{pid} = PatroniCluster::spawn(\@command, $self->{result}, keep_stderr => 1);
	$self->wait_for_acks(1) unless $option{no_wait};
	return $self;
}

# The log as a list of events: {kind, us, ...}, for A also id, sent_us, acked_us, port.
sub events
{
	my ($self) = @_;
	my @events;

	for (split /\n/, PatroniCluster::slurp($self->{log}))
	{
		if (/^A (\d+) (\d+) (\d+) (\d+)$/)
		{
			push @events, { kind => 'A', id => $1, sent_us => $2, acked_us => $3, us => $3, port => $4 };
		}
		elsif (/^C (\d+) (\d+)$/) { push @events, { kind => 'C', us => $1, port => $2 }; }
		elsif (/^E (\d+) (\w+) (\d+)$/) { push @events, { kind => 'E', us => $1, why => $2, id => $3 }; }
	}
	return @events;
}

sub acks { my ($self) = @_; return grep { $_->{kind} eq 'A' } $self->events; }
sub errors { my ($self) = @_; return grep { $_->{kind} eq 'E' } $self->events; }

# The longest time without an acknowledgement, in ms, since a time and until
# another one; until the last acknowledgement when there is no other.
sub longest_gap
{
	my ($self, $from_us, $to_us) = @_;
	my ($before_us, $gap_us) = ($from_us, 0);

	for my $us ((sort { $a <=> $b } map { $_->{acked_us} } $self->acks), $to_us // ())
	{
		next if $us < $from_us || (defined $to_us && $us > $to_us);
		$gap_us = $us - $before_us if $us - $before_us > $gap_us;
		$before_us = $us;
	}
	return $gap_us / 1000;
}

# Wait for so many acknowledgements, or for some after a time, or by a node.
sub wait_for_acks
{
	my ($self, $count, %option) = @_;
	my $after_us = $option{after_us} // 0;

	return $self->{cluster}->wait_for("a client gets $count acknowledgements", sub {
		my @acks = grep { $_->{acked_us} > $after_us
			  && (!$option{from} || $_->{port} == $option{from}{port}) } $self->acks;
		return @acks >= $count;
	}, %option);
}

# Wait for writes from now on.
sub wait_for_more
{
	my ($self, $count, %option) = @_;

	return $self->wait_for_acks($count // 20, after_us => PatroniCluster::now_us(), %option);
}

# End it; what it says of itself: acks, errors, longest_gap_ms, ...
sub stop
{
	my ($self) = @_;

	return $self->{answer} if $self->{answer};
	kill 'TERM', $self->{pid};
	$self->{cluster}->wait_for('the client ends', sub { waitpid($self->{pid}, POSIX::WNOHANG()) != 0 });
	delete $self->{pid};
	return $self->{answer} = JSON::PP::decode_json(PatroniCluster::slurp($self->{result}));
}

sub kill
{
	my ($self) = @_;

	return unless $self->{pid};
	CORE::kill('KILL', $self->{pid});
	waitpid $self->{pid}, 0;
	delete $self->{pid};
}

1;
