# No password is seen in a log, a command line, an environment, the store, SQL,
# REST or a file that others can read, whatever happens.

use strict;
use warnings;

use PatroniCluster;
use Test::More;
use Time::HiRes qw(usleep);

my $cluster = PatroniCluster->new('secrets', members => 2,
	parameters => { log_statement => 'all', log_min_duration_statement => 0, log_connections => 'on' });
my ($one, $two) = $cluster->nodes;

# The password of the superuser comes from the environment, as in containers.
delete $_->{config}{postgresql}{authentication}{superuser} for $cluster->nodes;
$_->{config}{log} = { level => 'DEBUG' } for $cluster->nodes;
$_->write_config for $cluster->nodes;
my %environment = (PATRONI_SUPERUSER_USERNAME => 'postgres', PATRONI_SUPERUSER_PASSWORD => $one->{passwords}{superuser});

# Somebody watches all command lines, as fast as it goes.
my $seen = "$cluster->{base}/command_lines";
my $watcher = fork // die $!;
if ($watcher == 0)
{
	my %known;

	$SIG{TERM} = sub { POSIX::_exit(0) };
	open(my $file, '>', $seen);
	$file->autoflush(1);
	while (1)
	{
		for my $path (glob '/proc/[0-9]*')
		{
			my $line = PatroniCluster::slurp("$path/cmdline");
			my $environ = PatroniCluster::slurp("$path/environ");

			print $file "$line\n" unless $known{$line}++;
			# it may have become the supervisor between the two reads
			next if $line =~ /^\S*patroni_supervisor\0/
			  or PatroniCluster::slurp("$path/cmdline") =~ /^\S*patroni_supervisor\0/;
			$environ = join "\n", grep { /^PATRONI_/ } split /\0/, $environ;
			print $file "$environ\n" unless $known{$environ}++;
		}
		usleep(1000);
	}
}

# A life with everything in it that has to do with passwords.
$cluster->start_etcd;
$one->start(environment => \%environment);
$cluster->wait_for_leader;
$two->start(environment => \%environment);
$cluster->wait_until_streaming;
$one->sql("SELECT patroni.switchover('node2', wait => false)");
$cluster->wait_for_leader(is => $two);
$cluster->wait_until_streaming;

$two->freeze_senders;
$two->sql('CREATE TABLE lost AS SELECT generate_series(1, 1000) AS i');
$two->kill9;
$cluster->wait_for_leader(is => $one);
$one->sql('CREATE TABLE t AS SELECT 1 AS i');
$two->start(environment => \%environment);
$cluster->wait_until_streaming;
like($two->log_text, qr/rewind/, 'there was a pg_rewind');
$one->sql("SELECT patroni.reinitialize('node2')");
$two->wait_for_log(qr/copying from "node1".*copying from "node1"/s);
$cluster->wait_until_streaming;
my $offset = $two->log_size;
PatroniCluster::spew($two->{yaml}, PatroniCluster::slurp($two->{yaml}) =~ s/^(\s+password: )("repl)/$1\[$2/mr);
$two->reload;
$two->wait_for_log(qr/could not reload the configuration/, $offset);
$two->write_config;
$two->reload;
$two->{config}{postgresql}{authentication}{rewind}{password} = "another $two->{passwords}{rewind}";
$two->write_config;
$two->reload;
$two->wait_for_log(qr/reloaded the configuration/, $offset);

# --- who has seen a password? ---

kill 'TERM', $watcher;
waitpid $watcher, 0;
my $lines = PatroniCluster::slurp($seen);
like($lines, qr/pg_basebackup/, 'the watcher has seen command lines');
is(join(' ', $one->passwords_in($lines)), '', 'no password is in a command line or an environment');
unlike($lines, qr/^PATRONI_SUPERUSER/m, 'no child has the variables of the configuration');
is(join(' ', $_->passwords_in($_->log_text)), '', "no password is in the log of $_->{name}") for $cluster->nodes;

for my $node ($cluster->nodes)
{
	is(join(' ', $node->passwords_in($node->sql($_))), '', "none is shown by $node->{name}: $_")
	  for 'SELECT patroni.snapshot()', 'SELECT patroni.status()', 'SELECT patroni.config()', 'TABLE patroni.member', 'TABLE patroni.event',
	  "SELECT string_agg(name || setting, '') FROM pg_settings", "SELECT string_agg(sourceline || setting, '') FROM pg_file_settings";
	is(join(' ', $node->passwords_in($node->rest($_)->{content})), '', "nor by its REST API: $_")
	  for qw(/patroni /cluster /config /history /);
}
my $all = JSON::PP::encode_json($cluster->etcd_call('kv/range', { key => 'AA==', range_end => 'AA==' }));
my $keys = join "\n", map { MIME::Base64::decode_base64($_->{value} // '') } @{ JSON::PP::decode_json($all)->{kvs} };
like($keys, qr/conn_url/, 'all keys of the store are read');
is(join(' ', $one->passwords_in($keys)), '', 'and none is in the store');

# Files with a password in them are for the owner alone.
for my $node ($cluster->nodes)
{
	my @open;

	open(my $find, '-|', 'find', $node->{directory}, '-type', 'f', '-size', '-200k', '-perm', '/077');
	while (my $path = <$find>)
	{
		chomp $path;
		push @open, $path if $node->passwords_in(PatroniCluster::slurp($path));
	}
	is(join(' ', @open), '', "$node->{name}: no password in a file that others can read");
	my @leaks = grep { $node->passwords_in(PatroniCluster::slurp($_)) } glob "$node->{data_directory}/*.conf";
	is(join(' ', @leaks), '', "$node->{name}: no password in the server's configuration files");
}

done_testing();
