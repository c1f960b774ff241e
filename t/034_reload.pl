# A configuration that is broken is refused at a reload, with the place of the
# error, and changes nothing; a good one is taken over without a restart.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('reload', members => 1);
my ($node) = $cluster->nodes;
$cluster->start;
my $postmaster = $node->postmaster_pid;
my $good = PatroniCluster::slurp($node->{yaml});

sub line_of
{
	my ($text, $pattern) = @_;
	my @lines = split /\n/, $text;

	for my $i (0 .. $#lines) { return $i + 1 if $lines[$i] =~ $pattern; }
	die "no line like $pattern";
}

sub is_refused
{
	my ($name, $text, $pattern) = @_;
	my $offset = $node->log_size;

	PatroniCluster::spew($node->{yaml}, $text);
	$node->reload;
	$node->wait_for_log(qr/could not reload the configuration, the old one stays in force/, $offset);
	like($node->log_text($offset), $pattern, "$name: the log names the place and the reason");
	# a busy machine may renew the short lease late; the node itself goes on
	my $status = '';
	for (1 .. 50)
	{
		last if ($status = $node->rest('/primary')->{status}) eq '200';
		select undef, undef, undef, 0.1;
	}
	is($status, 200, "$name: the node goes on");
	is($node->sql("SHOW work_mem"), '4MB', "$name: nothing changed");
}

my $text = $good . "  work_mem: [1, 2\n";
is_refused('broken YAML', $text, qr/patroni\.yml:\d+:\d+: /);

($text = $good) =~ s/^(  listen: )"127\.0\.0\.1:$node->{port}"/$1"127.0.0.1:notaport"/m or die;
my $line = line_of($text, qr/notaport/);
is_refused('a wrong value', $text, qr/patroni\.yml:$line:\d+: .*postgresql\.listen.*notaport/);

($text = $good) =~ s/^scope: .*/scope: "another"/m or die;
is_refused('another scope', $text, qr/scope and namespace cannot be changed/);

($text = $good) =~ s/^scope: .*\n//m or die;
is_refused('no scope', $text, qr{scope: "scope" is required});

PatroniCluster::spew($node->{yaml}, '');
my $offset = $node->log_size;
$node->reload;
$node->wait_for_log(qr/could not reload the configuration/, $offset);
is($node->rest('/primary')->{status}, 200, 'an empty file: the node goes on');
unlink $node->{yaml};
$offset = $node->log_size;
$node->reload;
$node->wait_for_log(qr/could not reload the configuration/, $offset);
is($node->rest('/primary')->{status}, 200, 'no file: the node goes on');

# --validate says the same, without touching anything.
PatroniCluster::spew("$cluster->{base}/wrong.yml", $good . "nonsense: [\n");
my ($status, $out, $err) = $cluster->run_supervisor('--validate', "$cluster->{base}/wrong.yml");
isnt($status, 0, '--validate finds the error too');
like("$out$err", qr/wrong\.yml:\d+:\d+: error: /, 'and its place');

# A good one.
$node->{config}{postgresql}{parameters} = { work_mem => '5MB' };
$node->{config}{tags} = { nofailover => JSON::PP::true };
$node->write_config;
($status, $out, $err) = $cluster->run_supervisor('--validate', $node->{yaml});
is($status, 0, '--validate finds nothing') or diag("$out$err");
$node->reload;
$node->wait_for_sql("SELECT setting = '5120' FROM pg_settings WHERE name = 'work_mem'");
$cluster->wait_for('the tags are in the store', sub { ($cluster->key_json("members/$node->{name}") // {})->{tags}{nofailover} });
ok(1, 'a good configuration is taken over');
is($node->postmaster_pid, $postmaster, 'without a restart');

# pg_hba.conf, too.
push @{ $node->{config}{postgresql}{pg_hba} }, 'host all all 192.0.2.0/24 reject';
$node->write_config;
$node->reload;
$node->wait_for_sql("SELECT count(*) = 1 FROM pg_hba_file_rules WHERE address = '192.0.2.0'");
ok(1, 'pg_hba rules are taken over');

done_testing();
