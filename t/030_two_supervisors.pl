# A second supervisor on a data directory ends at once and disturbs nothing.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

my $cluster = PatroniCluster->new('two', members => 1);
my ($node) = $cluster->nodes;
$cluster->start;
$cluster->create_writes_table;
my $writer = $cluster->writer;
my $postmaster = $node->postmaster_pid;
my $begin_us = PatroniCluster::now_us();

my ($status, $out, $err) = $cluster->run_supervisor($node->{yaml});
is($status, 5, 'a second supervisor ends with an exit status of its own');
like("$out$err", qr/another supervisor runs this data directory already/, 'and says why');
like("$out$err", qr/HINT:  Stop the other patroni_supervisor first/, 'and what to do');

# Other addresses and another path to the same place do not deceive it.
my $yaml = PatroniCluster::slurp($node->{yaml});
my $other_port = PatroniCluster::free_port();
symlink $node->{directory}, "$cluster->{base}/link";
$yaml =~ s/:$node->{rest_port}/:$other_port/g;
$yaml =~ s{data_dir: "[^"]*"}{data_dir: "$cluster->{base}/link/data"};
PatroniCluster::spew("$cluster->{base}/second.yml", $yaml);
($status, $out, $err) = $cluster->run_supervisor("$cluster->{base}/second.yml");
is($status, 5, 'through a symbolic link it is found out too') or diag("$out$err");

$writer->wait_for_more(50);
is($node->postmaster_pid, $postmaster, 'the server runs on');
is($node->rest('/primary')->{status}, 200, 'so does its supervisor');
is(scalar(grep { $_->{us} > $begin_us } $writer->errors), 0, 'no client noticed');

# Once the first is gone, however it went, another may begin.
$node->kill9_part('supervisor');
$node->start;
$cluster->wait_for('the next supervisor answers', sub { $node->rest('/primary')->{status} == 200 });
is($node->postmaster_pid, $postmaster, 'after the first one was killed the next takes its place');

# A configuration that is not there is told in as few words.
($status, $out, $err) = $cluster->run_supervisor("$cluster->{base}/nothing.yml");
is($status, 3, 'no configuration, no supervisor') or diag("$out$err");

$writer->stop;
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
