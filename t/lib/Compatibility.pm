# Compatibility: what two REST APIs answer to the same requests, in which they
# differ, and a page that shows it.
#
# An answer is reduced to its shape: the status, the names of the headers, the
# keys and types of its JSON (with the values of those that say in which state
# a node is), its text, or the series, types and labels of its metrics.  What
# differs is said in lines as
#
#   status 503 -> 200           theirs, then ours
#   key +can_lead               only we have it; "-": only they have it
#   value role master -> primary
#   text "..." -> "..."
#   series +patroni_fence_open
#   type patroni_postgres_timeline counter -> gauge
#
# and each line must be in the list in IntendedDifferences.pm.

package Compatibility;

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IntendedDifferences;
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(time usleep);

use constant { AT_A_TIME => 3, PATIENCE => 20 };

# Keys and series whose values count.
my %told = map { $_ => 1 } qw(state role sync_state pause paused cluster_unlocked sync_standby failsafe_mode_is_active
  pending_restart rack nice number name postgres_version from to);
my %told_series = map { ("patroni_$_" => 1) } qw(postgres_running primary standby_leader replica sync_standby xlog_paused
  cluster_unlocked failsafe_mode_is_active pending_restart is_paused);

sub new
{
	my ($class) = @_;

	return bless { columns => [], title => {}, answers => {}, requests => [], kind => {} }, $class;
}

# --- asking ---

# The bytes of a request.  Options: body, credentials, headers, version.
sub request_bytes
{
	my ($method, $target, %option) = @_;
	my $text = "$method $target " . ($option{version} // 'HTTP/1.1') . "\r\nHost: localhost\r\nConnection: close\r\n";

	$text .= 'Authorization: Basic ' . encode_base64($option{credentials}, '') . "\r\n" if defined $option{credentials};
	$text .= $option{headers} if defined $option{headers};
	$text .= 'Content-Length: ' . length($option{body}) . "\r\n" if defined $option{body};
	return "$text\r\n" . ($option{body} // '');
}

# Ask for all, a few at a time of each port: [{port, bytes}, ...] get "raw", undef: no answer in time.
sub ask_all
{
	my (@jobs) = @_;
	my $select = IO::Select->new;
	my (%busy, %of);

	while (@jobs || $select->count)
	{
		for my $job (grep { ($busy{ $_->{port} } // 0) < AT_A_TIME } @jobs)
		{
			next if ($busy{ $job->{port} } // 0) >= AT_A_TIME;
			my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $job->{port}, Proto => 'tcp', Timeout => 5);

			$job->{is_begun} = 1;
			$job->{raw} = '' if $socket;
			$job->{until} = time + PATIENCE;
			next unless $socket;
			$busy{ $job->{port} }++;
			$of{$socket} = $job;
			local $SIG{PIPE} = 'IGNORE';
			syswrite $socket, $job->{bytes};
			$select->add($socket);
		}
		@jobs = grep { !$_->{is_begun} } @jobs;
		for my $socket ($select->can_read(0.05))
		{
			my $job = $of{$socket};
			next if sysread $socket, $job->{raw}, 65536, length $job->{raw};
			$select->remove($socket);
			$busy{ $job->{port} }--;
			close $socket;
		}
		for my $socket (grep { $of{$_}{until} < time } $select->handles)
		{
			$of{$socket}{raw} = undef;
			$select->remove($socket);
			$busy{ $of{$socket}{port} }--;
			close $socket;
		}
	}
}

# --- shapes ---

sub type_of
{
	my ($value) = @_;

	return 'null' unless defined $value;
	return 'object' if ref $value eq 'HASH';
	return 'array' if ref $value eq 'ARRAY';
	return 'boolean' if JSON::PP::is_bool($value);
	return JSON::PP->new->allow_nonref->encode($value) =~ /^"/ ? 'string' : 'number';
}

# {path => [type, value or undef]}
sub flatten
{
	my ($value, $path, $keys) = @_;
	my ($leaf) = $path =~ /([^.]*)$/;

	$keys->{$path} //= [ type_of($value), $told{$leaf} && !ref $value || JSON::PP::is_bool($value) ? "$value" : undef ]
	  if $path ne '';
	if (ref $value eq 'HASH')
	{
		flatten($value->{$_}, $path eq '' ? $_ : "$path.$_", $keys) for sort keys %$value;
	}
	elsif (ref $value eq 'ARRAY')
	{
		for my $item (@$value)
		{
			my $which = ref $item eq 'HASH' && $item->{api_url} ? $item->{role} : '';

			flatten($item, "$path\[$which\]", $keys);
		}
	}
	return $keys;
}

sub series
{
	my ($text) = @_;
	my %types = $text =~ /^# TYPE (\S+) (\S+)$/mg;
	my (%labels, %values);

	while ($text =~ /^(\w+) ?\{([^}]*)\} (\S+)$/mg)
	{
		my ($name, $labels, $value) = ($1, $2, $3);

		$labels{$name} = join ',', sort $labels =~ /(\w+)=/g;
		$values{$name} = $value if $told_series{$name};
	}
	return (types => \%types, labels => \%labels, values => \%values);
}

# "names" of this side: {node1 => 'LEADER', ...}
sub shape
{
	my ($raw, $names) = @_;
	my %shape = (status => 'no answer', headers => {});
	my ($head, $body);

	return \%shape unless defined $raw;
	$shape{status} = 'connection closed' if $raw eq '';
	return \%shape if $raw eq '';
	($head, $body) = split /\r\n\r\n/, $raw, 2;
	if ($head !~ m{^HTTP/1\.[01] (\d+)})
	{
		$shape{status} = 'a page without status line';
		return \%shape;
	}
	$shape{status} = $1;
	$shape{headers} = { map { lc } $head =~ /^([\w-]+): *([^\r\n]*)/mg };
	$body //= '';
	my $type = $shape{headers}{'content-type'} // '';
	if ($type eq 'application/json')
	{
		$shape{json} = eval { flatten(JSON::PP->new->allow_nonref->decode($body), '', {}) } // { 'not JSON' => ['', undef] };
		for my $item (values %{ $shape{json} })
		{
			$item->[1] = $names->{ $item->[1] } // $item->[1] if defined $item->[1];
		}
	}
	elsif ($type eq 'text/plain') { %shape = (%shape, series($body)); }
	elsif ($body =~ /^<!DOCTYPE/)
	{
		$shape{text} = 'error page';
	}
	else
	{
		$body =~ s/\b\Q$_\E\b/$names->{$_}/g for sort keys %$names;
		$shape{text} = $body;
	}
	return \%shape;
}

# Two maps of simple values; lines about keys of one of them, and values of both.
sub compare_maps
{
	my ($what, $same, $theirs, $ours) = @_;
	my %all = (%$theirs, %$ours);
	my @lines;

	for my $key (sort keys %all)
	{
		if (!exists $ours->{$key}) { push @lines, "$what -$key"; }
		elsif (!exists $theirs->{$key}) { push @lines, "$what +$key"; }
		elsif (defined $same && $theirs->{$key} ne $ours->{$key})
		{
			push @lines, "$same $key $theirs->{$key} -> $ours->{$key}";
		}
	}
	# of an object that only one side has the keys need not be told
	my %gone = map { /^\Q$what\E [+-](\S+)$/ ? ($1 => 1) : () } @lines;
	return grep { !/^\Q$what\E [+-](\S+)$/ || !grep { $gone{$_} } parents($1) } @lines;
}

sub parents
{
	my ($path) = @_;
	my @parents;

	while ($path =~ s/(?:\.[^.\[\]]*|\[\w*\])$//) { push @parents, $path; }
	return @parents;
}

sub differences
{
	my ($theirs, $ours) = @_;
	my @lines;

	return ("status $theirs->{status} -> $ours->{status}") if $theirs->{status} ne $ours->{status};
	@lines = compare_maps('header', undef, $theirs->{headers}, $ours->{headers});
	for my $header (qw(content-type www-authenticate lsn))
	{
		my ($a, $b) = map { $_->{headers}{$header} // '' } $theirs, $ours;

		push @lines, "header $header \"$a\" -> \"$b\"" if $header ne 'lsn' && $a ne '' && $b ne '' && $a ne $b;
	}
	if ($theirs->{json} && $ours->{json})
	{
		my @types = map { my $json = $_->{json}; +{ map { $_ => $json->{$_}[0] } keys %$json } } $theirs, $ours;
		my @values = map { my $json = $_->{json}; +{ map { defined $json->{$_}[1] ? ($_ => $json->{$_}[1]) : () } keys %$json } }
		  $theirs, $ours;

		push @lines, compare_maps('key', 'type', @types);
		push @lines, grep { !/^none/ } compare_maps('none', 'value', @values);
	}
	elsif ($theirs->{types} && $ours->{types})
	{
		push @lines, compare_maps('series', 'type', $theirs->{types}, $ours->{types});
		push @lines, grep { !/^none/ } compare_maps('none', 'labels', $theirs->{labels}, $ours->{labels});
		push @lines, grep { !/^none/ } compare_maps('none', 'value', $theirs->{values}, $ours->{values});
	}
	else
	{
		my ($a, $b) = map { $_->{text} // '' } $theirs, $ours;

		push @lines, "text \"$a\" -> \"$b\"" if $a ne $b;
	}
	return @lines;
}

# The number of the intended difference; 0: it is none.
sub intended
{
	my ($self, $request, $column, $line) = @_;

	for my $i (0 .. $#IntendedDifferences::list)
	{
		my $item = $IntendedDifferences::list[$i];

		next if $item->{request} && $request !~ $item->{request};
		next if $item->{column} && $column !~ $item->{column};
		next if $line !~ $item->{difference};
		return $i + 1;
	}
	return 0;
}

# --- recording ---

sub compare
{
	my ($self, $request, $column, $raw, $names) = @_;
	my ($theirs, $ours) = map { shape($raw->[$_], $names->[$_]) } 0, 1;
	my @lines = map { [ $_, $self->intended($request, $column, $_) ] } differences($theirs, $ours);

	push @{ $self->{requests} }, $request unless grep { $_ eq $request } @{ $self->{requests} };
	$self->{answers}{$request}{$column} = { theirs => $theirs, ours => $ours, lines => \@lines };
	return !grep { !$_->[1] } @lines;
}

sub add_column
{
	my ($self, $id, $title) = @_;

	push @{ $self->{columns} }, $id unless exists $self->{title}{$id};
	$self->{title}{$id} = $title;
}

# Ask both sides for all these: columns as [id, their node, our node, names].
# What differs is asked again for a while: both may just be getting there.
sub probe
{
	my ($self, $columns, $requests, %option) = @_;
	my @todo;
	my $end = time + ($option{patience} // 4);

	$self->{kind}{ $_->[0] } = 'check' for @$requests;
	for my $column (@$columns)
	{
		push @todo, map { { column => $column, request => $_->[0], bytes => $_->[1] } } @$requests;
	}
	for (;;)
	{
		my @jobs = map { my $item = $_; map { { port => $item->{column}[$_]{rest_port}, bytes => $item->{bytes} } } 1, 2 } @todo;
		my @again;

		ask_all(@jobs);
		for my $i (0 .. $#todo)
		{
			my $item = $todo[$i];

			push @again, $item
			  unless $self->compare($item->{request}, $item->{column}[0], [ map { $_->{raw} } @jobs[ 2 * $i, 2 * $i + 1 ] ],
				$item->{column}[3]);
		}
		@todo = @again;
		last if !@todo || time > $end;
		usleep(300_000);
	}
}

# One call that changes something, to both sides at the same time; two bodies: theirs and ours.
sub call
{
	my ($self, $column, $request, @bytes) = @_;
	my @jobs = map { { port => $column->[$_]{rest_port}, bytes => $bytes[ $_ - 1 ] // $bytes[0] } } 1, 2;

	$self->{kind}{$request} //= $request =~ m{^(POST|PUT|PATCH|DELETE) /} ? 'call' : 'odd';
	ask_all(@jobs);
	$self->compare($request, $column->[0], [ map { $_->{raw} } @jobs ], $column->[3]);
	return $self->{answers}{$request}{ $column->[0] };
}

# Lines that no intended difference explains, each with the requests that it is about.
sub unintended
{
	my ($self, $column) = @_;
	my (@lines, %requests);

	for my $request (@{ $self->{requests} })
	{
		my $answer = $self->{answers}{$request}{$column} or next;

		for my $line (map { $_->[0] } grep { !$_->[1] } @{ $answer->{lines} })
		{
			push @lines, $line unless $requests{$line};
			push @{ $requests{$line} }, $request;
		}
	}
	return map { "$_   in " . @{ $requests{$_} } . ': ' . join(', ', @{ $requests{$_} }[ 0 .. ($#{ $requests{$_} } < 2 ? $#{ $requests{$_} } : 2) ]) } @lines;
}

sub count
{
	my ($self, $column) = @_;

	return scalar grep { $self->{answers}{$_}{$column} } @{ $self->{requests} };
}

# Intended differences that were not seen.  Options: outages (the store was stopped).
sub unused
{
	my ($self, %with) = @_;
	my %seen;

	for my $columns (values %{ $self->{answers} })
	{
		$seen{ $_->[1] } = 1 for map { @{ $_->{lines} } } values %$columns;
	}
	return map { $IntendedDifferences::list[ $_ - 1 ]{reason} } grep {
		my $only = $IntendedDifferences::list[ $_ - 1 ]{only_with};
		!$seen{$_} && (!$only || $with{$only})
	} 1 .. @IntendedDifferences::list;
}

# --- the page ---

sub quoted
{
	my ($text) = @_;

	$text =~ s/([|])/\\$1/g;
	$text =~ s/[^\x20-\x7e]/?/g;
	return $text =~ /`/ ? $text : "`$text`";
}

sub table_row { return '| ' . join(' | ', @_) . " |\n"; }
sub table_head { return table_row(@_) . '|' . '---|' x @_ . "\n"; }

# "503", or "503, ours 200 (3)"
sub cell
{
	my ($self, $answer) = @_;

	return '' unless $answer;
	my ($line) = grep { $_->[0] =~ /^status/ } @{ $answer->{lines} };
	return $answer->{theirs}{status} unless $line;
	return "**$answer->{theirs}{status}, ours $answer->{ours}{status}** ($line->[1])";
}

# Columns in which something is true, of those in which it could be.
sub states
{
	my ($where, $all) = @_;
	my %there = map { $_ => 1 } @$where;
	my @missing = grep { !$there{$_} } @$all;

	return '–' unless @$where;
	return 'always' unless @missing;
	return 'but for ' . join(', ', @missing) if @missing < 4 && @missing < @$where;
	return join(', ', @$where);
}

sub checks_page
{
	my ($self) = @_;
	my @columns = grep { my $c = $_; $self->{answers}{'GET /primary'}{$c} && $self->{answers}{'HEAD /primary'}{$c} } @{ $self->{columns} };
	my (%rows, @order);
	my $text = table_head('path', @columns);

	for my $request (grep { $self->{kind}{$_} eq 'check' } @{ $self->{requests} })
	{
		my ($method, $path) = split / /, $request, 2;
		my $cells = table_row(map { $self->cell($self->{answers}{$request}{$_}) } @columns);

		push @order, $path unless $rows{$path};
		if (my ($same) = grep { $_->[1] eq $cells } @{ $rows{$path} }) { push @{ $same->[0] }, $method; }
		else { push @{ $rows{$path} }, [ [$method], $cells ]; }
	}
	for my $path (@order)
	{
		for my $row (@{ $rows{$path} })
		{
			my $methods = @{ $rows{$path} } == 1 && "@{ $row->[0] }" =~ /^GET/ ? '' : join(' ', @{ $row->[0] }) . ' ';

			$text .= '| ' . quoted("$methods$path") . " $row->[1]";
		}
	}
	return $text;
}

sub documents_page
{
	my ($self) = @_;
	my $text = '';

	for my $path (qw(/patroni /cluster /history /config /failsafe))
	{
		my $answers = $self->{answers}{"GET $path"};
		my @columns = grep { my $a = $answers->{$_}; $a && $a->{theirs}{json} && $a->{ours}{json} } @{ $self->{columns} };
		my %all = map { map { $_ => 1 } keys %{ $_->{theirs}{json} }, keys %{ $_->{ours}{json} } } @$answers{@columns};

		$text .= "### `GET $path`\n\n" . table_head('key', 'type', "Patroni", 'ours', '');
		for my $key (sort keys %all)
		{
			my (%types, %where, %number);

			for my $c (@columns)
			{
				for my $side (qw(theirs ours))
				{
					my $item = $answers->{$c}{$side}{json}{$key} or next;

					$types{ $item->[0] } = 1;
					push @{ $where{$side} }, $c;
				}
				for my $line (@{ $answers->{$c}{lines} })
				{
					$number{"($line->[1])"} = 1 if $line->[0] =~ /^(?:key [+-]|type |value )\Q$key\E(?: |$)/;
				}
			}
			$text .= table_row(quoted($key), join(' or ', sort keys %types), states($where{theirs} // [], \@columns),
				states($where{ours} // [], \@columns), join(' ', sort keys %number));
		}
		$text .= "\n";
	}
	return $text;
}

sub metrics_page
{
	my ($self) = @_;
	my (%type, %labels, %number);
	my $text = table_head('series', 'Patroni', 'ours', '');

	for my $answer (values %{ $self->{answers}{'GET /metrics'} })
	{
		for my $side (qw(theirs ours))
		{
			my $types = $answer->{$side}{types} // {};

			$type{$_}{$side} = $types->{$_} for keys %$types;
		}
		for my $line (@{ $answer->{lines} })
		{
			$number{$2}{"($line->[1])"} = 1 if $line->[0] =~ /^(series [+-]|type |value )(\w+)/;
		}
	}
	$text .= table_row(quoted($_), $type{$_}{theirs} // '–', $type{$_}{ours} // '–', join(' ', sort keys %{ $number{$_} // {} }))
	  for sort keys %type;
	return $text;
}

sub shown_answer
{
	my ($answer) = @_;
	my $text = $answer->{text} // ($answer->{json} ? 'JSON' : '');

	return $answer->{status} . ($text ne '' && $text ne 'error page' ? " $text" : '');
}

sub calls_page
{
	my ($self, $kind) = @_;
	my $text = table_head('request', 'state', 'answer', 'where ours is another');

	for my $request (grep { $self->{kind}{$_} eq $kind } @{ $self->{requests} })
	{
		for my $column (grep { $self->{answers}{$request}{$_} } @{ $self->{columns} })
		{
			my $answer = $self->{answers}{$request}{$column};
			my @lines = grep { $_->[0] =~ /^(status|text)/ } @{ $answer->{lines} };

			$text .= table_row(quoted($request), $column, shown_answer($answer->{theirs}),
				@lines ? shown_answer($answer->{ours}) . " ($lines[0][1])" : '');
		}
	}
	return $text;
}

sub write
{
	my ($self, $file, $version) = @_;
	my $number = 0;
	my $count = 0;

	$count += keys %$_ for values %{ $self->{answers} };
	open(my $out, '>', $file) or die "could not write $file: $!";
	binmode $out;
	print $out "# The REST API beside Patroni's\n\n";
	print $out "What Debian's Patroni $version and this member answer to the same $count requests in the same states. Two clusters of two\n";
	print $out "members with an etcd each are led through these states and asked; `t/087_compatibility.pl` does that, compares status codes,\n";
	print $out "header names, JSON keys and types, texts and metrics, and fails on any difference that is not in the list at the end. Each\n";
	print $out "`make check` goes through the states in which the store answers; `make compatibility` goes through all and writes this page;\n";
	print $out "do not edit it.\n\n";
	print $out "Where Patroni $version and 4.1 differ, ours follows 4.1.\n\n";
	print $out "## States\n\n" . table_head('', 'member');
	print $out table_row($_, $self->{title}{$_}) for @{ $self->{columns} };
	print $out "\n## Health checks and documents: status codes\n\nA row without a method is for GET, HEAD and OPTIONS alike. The parameters were tried with GET. A number in parentheses\n";
	print $out "refers to the list at the end.\n\n" . $self->checks_page;
	print $out "\n## Documents: keys\n\nIn which states a key is there. `[]` is each item of a list, `members[leader]` the member in that role.\n\n" . $self->documents_page;
	print $out "## Metrics\n\n" . $self->metrics_page;
	print $out "\n## Calls that change something\n\nLEADER and STANDBY stand for the names of the members. Where no text is given the body is an error page.\n\n" . $self->calls_page('call');
	print $out "\n## Requests that are odd or none\n\n" . $self->calls_page('odd');
	print $out "\n## Intended differences\n\n";
	print $out ++$number . ". $_->{reason}\n" for @IntendedDifferences::list;
	close $out or die "could not write $file: $!";
}

1;
