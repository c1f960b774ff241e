#!/bin/sh
# link-patronictl.sh yes|no|remove BINDIR BASHDIR [DESTDIR]: give patroni_ctl the
# name patronictl as well, unless a program has it; or take that name away again.
# With DESTDIR it is for another machine: what this one has does not count.
bin=$2/patronictl bash=$3/patronictl
is_ours() { [ "$(readlink "$1")" = patroni_ctl ]; }

case $1 in
	yes)
		other=
		[ -n "$4" ] || other=$(command -v patronictl)
		if [ -e "$bin" ] && ! is_ours "$bin"; then
			other=$bin
		elif [ -n "$other" ] && is_ours "$other"; then
			other=
		fi
		if [ -n "$other" ]; then
			echo "$other is there already: patroni_ctl keeps its own name only"
		else
			ln -sf patroni_ctl "$bin" && ln -sf patroni_ctl "$bash"
		fi ;;
	remove)
		for file in "$bin" "$bash"; do
			! is_ours "$file" || rm -f "$file"
		done ;;
	no) ;;
	*)
		echo "PATRONICTL is either yes or no" >&2
		exit 1 ;;
esac
exit 0
