#!/bin/sh
# sim-digests.sh MAKE BUILD CLANG: is a seed the same run on gcc and on clang?
build=$2
"$1" --no-print-directory -s BUILD="$build/clang" CC="$3" "$build/clang/patroni_sim" || exit 1
first=$(mktemp) second=$(mktemp)
trap 'rm -f "$first" "$second"' EXIT
"$build/patroni_sim" --seeds 300 --jobs 1 --digests > "$first"
"$build/clang/patroni_sim" --seeds 300 --jobs 1 --digests > "$second"
if [ -s "$first" ] && same=$(grep -c . "$first") &&
	[ "$(grep '^[0-9]* [a-z]* [0-9a-f]*$' "$first" | sha256sum)" = "$(grep '^[0-9]* [a-z]* [0-9a-f]*$' "$second" | sha256sum)" ]; then
	echo "$same lines, the same on both compilers"
	passed=1 failed=0
else
	diff "$first" "$second" | head -5
	echo "the compilers differ"
	passed=0 failed=1
fi
[ -z "$TALLY" ] || echo "$passed $failed seeds on two compilers" >> "$TALLY"
[ "$failed" -eq 0 ]
