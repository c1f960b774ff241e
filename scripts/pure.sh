#!/bin/sh
# pure.sh OBJECT... -- SOURCE...: src/ha and src/cluster compute and nothing
# else.  Their objects may call only what is listed here, and their sources
# compile where there is no server, no libcurl and no libevent header.
objects=
while [ "$1" != "--" ]; do objects="$objects$1
"; shift; done
shift
failed=0 passed=0

# memory, text (but not as a locale has it), sorting, jansson's JSON (no file functions), each other
allowed='^(malloc|calloc|realloc|reallocarray|free|mem[a-z]+|__mem[a-z]+_chk|str[a-z]+|strtok_r|__str[a-z]+_chk|stp[n]?cpy|__isoc[0-9]+_[a-z]+|sn?printf|vsn?printf|__v?snprintf_chk|sscanf|qsort|bsearch|abs|labs|llabs|__errno_location|__stack_chk_fail|__assert_fail|abort|timegm|gmtime_r|json_[a-z0-9_]+|_GLOBAL_OFFSET_TABLE_|inet_[pn]to[pn]|error_[a-z]+)$'
forbidden='^json_(load_file|loadf|loadfd|dump_file|dumpf|dumpfd|load_callback)$|^strerror|^strftime_l$|^str(n?casecmp|coll|xfrm|tod)(_l)?$'

defined=$(mktemp) && undefined=$(mktemp) || exit 1
trap 'rm -f "$defined" "$undefined"' EXIT
printf '%s' "$objects" | while IFS= read -r object; do
	nm --defined-only "$object" | awk 'NF == 3 { print $3 }' >> "$defined"
	nm -u "$object" | awk '{ print $NF }' >> "$undefined"
done
# no clock, socket, file or random number
bad=$(sort -u "$undefined" | grep -vxFf "$defined" | grep -v '^__\(asan\|ubsan\)' |
	awk -v allowed="$allowed" -v forbidden="$forbidden" '$0 !~ allowed || $0 ~ forbidden')
if [ -n "$bad" ]; then
	echo "src/ha or src/cluster call what they must not:" $bad
	failed=$((failed + 1))
else
	passed=$((passed + 1))
fi

# alone: from a copy that holds nothing but the two folders
alone=$(mktemp -d) || exit 1
trap 'rm -rf "$alone" "$defined" "$undefined"' EXIT
mkdir -p "$alone/src"
cp -r src/ha src/cluster "$alone/src"
# the way to report errors, and a hash; neither allocates or calls anything
mkdir "$alone/src/base" && cp src/base/error.h src/base/hash.h "$alone/src/base"
for source in "$@"; do
	if (cd "$alone" && ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Isrc -fsyntax-only -H "$source") \
		2> "$alone/headers"; then
		if grep -E '/(postgresql|curl|event2|openssl)/' "$alone/headers"; then
			echo "$source includes a header of the server, libcurl or libevent"
			failed=$((failed + 1))
		else
			passed=$((passed + 1))
		fi
	else
		grep -v '^\.' "$alone/headers"
		echo "$source does not compile alone"
		failed=$((failed + 1))
	fi
done
[ -z "$TALLY" ] || echo "$passed $failed pure" >> "$TALLY"
echo "pure: $passed passed, $failed failed"
[ $failed -eq 0 ]
