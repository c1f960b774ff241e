# BenchClient: a client that writes a row every 5 ms (test/tools/writer.c) and
# what it went through.  Its log is read as it grows, so that looking at it costs
# next to nothing while something is measured.

package BenchClient;

use strict;
use warnings;

use List::Util qw(max);
use PatroniCluster;

my $n_clients = 0;

# Options: hosts ([[host, port], ...], all members), any (take any server),
# namespace (the member at whose side of the network it runs), patience_ms, retry_ms.
sub new
{
	my ($class, $cluster, %option) = @_;
	my $number = ++$n_clients;
	my @hosts = @{ $option{hosts} // [ map { [ $_->{host}, $_->{port} ] } $cluster->nodes ] };
	my $self = bless {
		cluster => $cluster,
		log => "$cluster->{log_directory}/client$number.log",
		first_id => $number * 10_000_000,
		offset => 0,
		rest => '',
		acks => [],
		errors => [],
	}, $class;

	$self->{pid} = PatroniCluster::spawn(
		[ ($option{namespace} ? $cluster->in_namespace($option{namespace}) : ()), PatroniCluster::as_user(),
			PatroniCluster::Writer::build(), '-f', $self->{first_id}, '-i', 5,
			'-p', $option{patience_ms} // 1000, '-c', 400, '-r', $option{retry_ms} // 2, $option{any} ? '-a' : (),
			"dbname=$cluster->{database} user=writer password=$cluster->{password}", join(',', map { "$_->[0]:$_->[1]" } @hosts) ],
		$self->{log});
	return $self;
}

# What has happened since the last look.
sub look
{
	my ($self) = @_;
	my $text = $self->{rest} . PatroniCluster::slurp($self->{log}, $self->{offset});

	$self->{offset} = $self->{offset} + length($text) - length($self->{rest});
	my @lines = split /\n/, $text, -1;
	$self->{rest} = pop(@lines) // '';
	for (@lines)
	{
		my ($kind, @words) = split / /;

		if ($kind eq 'A') { push @{ $self->{acks} }, { id => $words[0], us => $words[2], port => $words[3] }; }
		elsif ($kind eq 'E') { push @{ $self->{errors} }, { us => $words[0], why => $words[1] }; }
	}
	return $self;
}

sub acks { return @{ $_[0]->look->{acks} }; }
sub errors { return @{ $_[0]->look->{errors} }; }

sub last_ack_us { my ($self) = @_; $self->look; return @{ $self->{acks} } ? $self->{acks}[-1]{us} : 0; }

sub last_error_us { my ($self) = @_; $self->look; return @{ $self->{errors} } ? $self->{errors}[-1]{us} : 0; }

# How many acknowledgements in a row there were after a time and after the last error.
sub steady
{
	my ($self, $after_us) = @_;
	my $n = 0;

	my $from_us = max($after_us, $self->last_error_us);
	for my $ack (reverse @{ $self->{acks} })
	{
		last if $ack->{us} <= $from_us;
		$n++;
	}
	return $n;
}

sub errors_since
{
	my ($self, $from_us) = @_;

	return grep { $_->{us} >= $from_us } $self->errors;
}

# The longest time without an acknowledgement between two moments, in ms.
sub gap_ms
{
	my ($self, $from_us, $to_us) = @_;
	my ($before, $gap_us, $from) = ($from_us, 0, $from_us);

	for my $us ((map { $_->{us} } $self->acks), $to_us)
	{
		if ($us > $from_us)
		{
			my $end = $us < $to_us ? $us : $to_us;

			($gap_us, $from) = ($end - $before, $before) if $end - $before > $gap_us;
		}
		$before = $us;
		last if $us >= $to_us;
	}
	return wantarray ? ($gap_us / 1000, $from) : $gap_us / 1000;
}

sub stop
{
	my ($self) = @_;

	return unless $self->{pid};
	kill 'TERM', $self->{pid};
	$self->{cluster}->wait_for('a client ends',
		sub { waitpid($self->{pid}, POSIX::WNOHANG()) != 0 }, timeout => 5, or_undef => 1)
	  or do { kill 'KILL', $self->{pid}; waitpid $self->{pid}, 0; };
	delete $self->{pid};
	$self->look;
}

# Acknowledgements whose rows the present leader does not have.
sub lost
{
	my ($self, $leader) = @_;
	my ($first, $last) = ($self->{first_id}, $self->{first_id} + 9_999_999);
	my %there = map { $_ => 1 } split /\n/,
	  $leader->sql("SELECT id FROM writes WHERE id BETWEEN $first AND $last", timeout => 60,
		database => $self->{cluster}{database});

	return grep { !$there{ $_->{id} } } $self->acks;
}

1;
