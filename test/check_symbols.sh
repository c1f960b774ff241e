#!/bin/sh
#
# check_symbols.sh
#      Is a name in our libraries the server's where another one is meant?
#
# The server exports all its functions.  A library that the server loads gets
# the server's function for any undefined name that both know, whatever other
# library it was linked with: jansson's json_object() is the server's SQL
# function of that name then, and the call kills the process.
#
#   check_symbols.sh LIBRARY.so...
#
# PG_CONFIG says which server.  Ends with 1 and the names when something is
# wrong, with 2 when it cannot look.

set -u
LC_ALL=C
export LC_ALL

PG_CONFIG=${PG_CONFIG:-pg_config}
server=$("$PG_CONFIG" --bindir)/postgres
jansson=$(pkg-config --variable=libdir jansson 2>/dev/null)/libjansson.a
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
wrong=0

cannot() {
	echo "check_symbols: $*" >&2
	exit 2
}

complain() {				# what, file of names
	if [ -s "$2" ]; then
		echo "check_symbols: $1:"
		sed 's/^/    /' "$2"
		wrong=1
	fi
}

# Names without versions.  A name with a version in the server's own list is a
# variable of a library that the server shares (stdout, environ): no clash.
names() { sed 's/@.*//' | sort -u; }
defined() { nm -D --defined-only "$1" | awk '{print $NF}'; }
undefined() { nm -D --undefined-only "$1" | awk '{print $NF}'; }

[ $# -gt 0 ] || cannot "no library given"
[ -r "$server" ] || cannot "there is no server program \"$server\""
[ -r "$jansson" ] || cannot "there is no static jansson \"$jansson\""
defined "$server" | grep -v @ | names > "$work/server"
grep -qx json_object "$work/server" && [ "$(wc -l < "$work/server")" -gt 1000 ] ||
	cannot "\"$server\" does not show its names"
nm --defined-only "$jansson" 2>/dev/null | awk 'NF == 3 && $2 ~ /[A-Z]/ {print $3}' |
	names > "$work/jansson"
grep -qx json_pack_ex "$work/jansson" || grep -qx json_pack "$work/jansson" ||
	cannot "\"$jansson\" does not show its names"

for library in "$@"; do
	[ -r "$library" ] || cannot "there is no library \"$library\""
	label=${library##*/}
	undefined "$library" | names > "$work/wanted"
	defined "$library" | names > "$work/given"
	[ -s "$work/wanted" ] || cannot "\"$library\" does not show its names"

	# 1. jansson is inside, so none of its names is looked for or shown
	comm -12 "$work/wanted" "$work/jansson" > "$work/found"
	case $label in
		patroni_worker*) grep '^json_' "$work/wanted" >> "$work/found" ;;
	esac
	complain "$label leaves jansson's names to the server" "$work/found"

	# 2. it shows what the server must find, and nothing else
	case $label in
		patroni_worker*) allowed='^(Pg_magic_func|patroni_worker_main|patroni_slot_(copier|maker)_main)$' ;;
		*) allowed='^(Pg_magic_func|_PG_init|pg_finfo_patroni_.*|patroni_.*)$' ;;
	esac
	grep -Ev "$allowed" "$work/given" > "$work/found"
	complain "$label exports more than the server must find" "$work/found"

	# 3. no name that it wants of a library is the server's as well; and no
	#    library that it brings along wants or offers such a name itself
	comm -12 "$work/wanted" "$work/server" > "$work/of_server"
	ldd "$library" | awk '/=> \// {print $3}' > "$work/libraries"
	while read -r other; do
		# The server's own libpqwalreceiver brings libpq along: the names that
		# both have (of encodings, and of large objects, which nobody uses)
		# do the same in both.
		case ${other##*/} in libpq.so.*) continue ;; esac
		defined "$other" | names > "$work/other"
		comm -12 "$work/of_server" "$work/other" > "$work/found"
		complain "$label means ${other##*/}, but gets the server's" "$work/found"
		{ undefined "$other" | names; cat "$work/other"; } | sort -u |
			comm -12 - "$work/server" > "$work/found"
		complain "${other##*/}, used by $label, would get the server's" "$work/found"
	done < "$work/libraries"

	# 4. whatever is left undefined is found somewhere
	while read -r other; do defined "$other"; done < "$work/libraries" | names |
		sort -u - "$work/server" > "$work/found_somewhere"
	case $label in
		patroni_worker*)
			# patroni_bgw.so is loaded before it
			for bgw in "$@"; do
				case ${bgw##*/} in patroni_bgw*) defined "$bgw" | names ;; esac
			done | sort -u - "$work/found_somewhere" > "$work/all"
			;;
		*) cp "$work/found_somewhere" "$work/all" ;;
	esac
	# names the server shares with libraries, weak names of the tool chain
	{
		defined "$server" | names
		printf '%s\n' __cxa_finalize __gmon_start__ _ITM_deregisterTMCloneTable \
			_ITM_registerTMCloneTable
	} | sort -u - "$work/all" > "$work/known"
	comm -23 "$work/wanted" "$work/known" > "$work/found"
	complain "nobody has what $label wants" "$work/found"
done

if [ $wrong -eq 0 ]; then
	echo "check_symbols: $# libraries, $(wc -l < "$work/server") names of the server, no clash"
fi
exit $wrong
