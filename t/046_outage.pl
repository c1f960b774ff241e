# Who dies while the store is away changes nothing of the lease: the primary
# takes writes until it ends, and not longer.

use strict;
use warnings;

use PatroniCluster;
use Test::More;

use constant TTL_US => 7e6;

my $cluster = PatroniCluster->new('outage', members => 1, dcs => { ttl => 7 });
$cluster->start;
$cluster->create_writes_table;
my $leader = $cluster->leader;
my $writer = $cluster->writer;

sub acks_between
{
	my ($from_us, $to_us) = @_;

	return grep { $_->{sent_us} > $from_us && $_->{acked_us} < $to_us } $writer->acks;
}

# --- the supervisor, with a successor ---

my $begin_us = PatroniCluster::now_us();
$cluster->stop_etcd;
$leader->kill9_part('supervisor');
$leader->start;
$writer->wait_for_acks(50, after_us => $begin_us + 3e6);
is(scalar(grep { $_->{us} > $begin_us } $writer->errors), 0,
	'a new supervisor in an outage of the store: no client notices');
$cluster->start_etcd;
$cluster->wait_for_leader;
$leader->wait_for_sql("SELECT is_open AND baton = 'worker' FROM patroni.lease");
$writer->wait_for_more;

# --- the worker, and the server's other processes with it ---

# what it has to work with then: not what the cluster began with
my $postgresql = $cluster->key_json('config')->{postgresql};

sub awaited { return $leader->rest('/patroni')->{json}{pending_restart_reason}{max_connections}{new_value} // ''; }

$postgresql->{parameters}{max_connections} = 123;
$cluster->edit_config({ postgresql => $postgresql });
$cluster->wait_for('a setting waits for a restart', sub { awaited() eq '123' });
# the lease shall be a fresh one: the store is back since longer than loop_wait
$writer->wait_for_acks(10, after_us => PatroniCluster::now_us() + 1.2e6);
$begin_us = PatroniCluster::now_us();
$cluster->stop_etcd;
$writer->wait_for_acks(50, after_us => $begin_us);
my $killed_us = PatroniCluster::now_us();
my $old_worker = $leader->worker_pid;
$leader->kill9_part('worker');
$cluster->wait_for('the server is back, with a new worker',
	sub { ($leader->worker_pid // $old_worker) != $old_worker });
ok($cluster->wait_for('it knows the configuration', sub { awaited() eq '123' }, or_undef => 1, timeout => 5),
	'which has the configuration that was last seen');
$leader->wait_for_sql('SELECT NOT is_open FROM patroni.lease');
my $last_us = (reverse $writer->acks)[0]{acked_us};
cmp_ok(scalar(acks_between($killed_us, $begin_us + TTL_US)), '>', 50,
	'the worker dies in an outage of the store: writes go on after the restart');
cmp_ok($last_us - $begin_us, '>', 4e6, 'until the lease ends');
cmp_ok($last_us - $begin_us, '<', TTL_US, 'and not longer');
measured(sprintf('writes went on for %.1f s after the store went, the worker was killed after %.1f s',
		($last_us - $begin_us) / 1e6, ($killed_us - $begin_us) / 1e6));

$cluster->start_etcd;
$cluster->wait_for_leader;
$writer->wait_for_more;

$writer->stop;
is($cluster->leader, $leader, 'with the store the leader is back');
is($cluster->lost_writes, 0, 'no acknowledged write is lost');

done_testing();
