# A cluster whose members talk TLS to each other and to clients: failover,
# calls with a client certificate, and a certificate that is replaced.

use strict;
use warnings;

use File::Temp ();
use PatroniCluster;
use Test::More;

plan skip_all => 'curl or openssl is not installed'
  if system('curl --version > /dev/null 2>&1') != 0 || system('openssl version > /dev/null 2>&1') != 0;

my $directory = File::Temp::tempdir('pc_tls.XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $directory;

sub openssl
{
	my ($status, undef, $err) = PatroniCluster::run_command([ 'openssl', @_ ]);

	die "openssl @_: $err" if $status != 0;
}

# $directory/NAME.crt and NAME.key, signed by "ca"; readable to the servers
sub certificate
{
	my ($name, $serial, @key) = @_;
	my $base = "$directory/$name";

	openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', @key ? @key : '-nodes', '-keyout', "$base.key",
		'-out', "$base.csr", '-subj', "/CN=$name");
	PatroniCluster::spew("$base.ext", "subjectAltName=IP:127.0.0.1\n");
	openssl('x509', '-req', '-in', "$base.csr", '-CA', "$directory/ca.crt", '-CAkey', "$directory/ca.key",
		'-set_serial', $serial, '-days', 2, '-extfile', "$base.ext", '-out', "$base.crt");
	# as its owner they are written anew
	PatroniCluster::spew($_, PatroniCluster::slurp($_)) for "$base.crt", "$base.key";
}

openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$directory/ca.key",
	'-out', "$directory/ca.crt", '-subj', '/CN=ca', '-days', 2);
certificate('server', 100, '-passout', 'pass:key secret');
certificate('client', 200);

my $cluster = PatroniCluster->new('https', config => sub {
	my ($node, $config) = @_;

	$config->{restapi} = { %{ $config->{restapi} },
		certfile => "$directory/server.crt", keyfile => "$directory/server.key", keyfile_password => 'key secret',
		cafile => "$directory/ca.crt", verify_client => 'optional', server_tokens => 'productonly',
		https_extra_headers => { 'Strict-Transport-Security' => 'max-age=1' } };
	$config->{ctl} = { certfile => "$directory/client.crt", keyfile => "$directory/client.key" };
});
$cluster->start;
my $leader = $cluster->leader;
my ($standby) = $cluster->standbys;

is($cluster->key_json("members/$leader->{name}")->{api_url}, "https://127.0.0.1:$leader->{rest_port}/patroni",
	'the member key says https');
is($leader->rest('/primary')->{status}, 200, 'the leader answers over TLS');
is($standby->rest('/replica')->{status}, 200, 'and so does a standby');

my $as_client = { certificate => "$directory/client" };
my $reply = $leader->rest('/switchover', method => 'POST', body => { leader => $leader->{name}, candidate => $standby->{name} });
is("$reply->{status} $reply->{content}", '403 client certificate required', 'a call without certificate is refused');
$reply = $leader->rest('/switchover', method => 'POST', body => { leader => $leader->{name}, candidate => $standby->{name} },
	%$as_client, timeout => 30);
is("$reply->{status} $reply->{content}", qq{200 Successfully switched over to "$standby->{name}"}, 'one with it is done');
$cluster->wait_for_leader(is => $standby);
$cluster->wait_until_streaming;

SKIP:
{
	skip 'patronictl is not installed', 1 if system('patronictl version > /dev/null 2>&1') != 0;
	my ($status, $out, $err) = $cluster->patronictl('switchover', $cluster->{scope}, '--master', $standby->{name},
		'--candidate', $leader->{name}, '--force');

	like($out, qr/Successfully switched over to "$leader->{name}"/, 'patronictl switchover over TLS') or diag("$out\n$err");
}
$leader = $cluster->wait_for_leader(is => $leader);
$cluster->wait_until_streaming;

# Who is best is found out over TLS.
$leader->kill9;
my $next = $cluster->wait_for_leader(not => $leader, timeout => 30);
ok($next, 'a failover');
$leader->start;
$cluster->wait_until_streaming;

# --- the certificate is replaced ---

sub serial
{
	my (undef, $out) = PatroniCluster::run_command([ 'sh', '-c',
		"openssl s_client -connect 127.0.0.1:$next->{rest_port} < /dev/null 2>/dev/null | openssl x509 -noout -serial" ]);

	return $out;
}

is(serial(), 'serial=64', 'the first certificate');
certificate('server', 101, '-passout', 'pass:key secret');
$next->reload;
$cluster->wait_for('the second certificate is used', sub { serial() eq 'serial=65' }, every_ms => 200);
my $offset = $next->log_size;
PatroniCluster::spew("$directory/server.crt", "nonsense\n");
$next->reload;
$next->wait_for_log(qr/could not set up HTTPS.*server\.crt/, $offset);
is(serial(), 'serial=65', 'one that cannot be used does not replace it');
unlike(PatroniCluster::slurp($next->{log}), qr/key secret/, 'the password of the key is not in the log');
is($next->rest('/primary')->{status}, 200, 'and the leader goes on');

done_testing();
