#!/bin/sh
# check.sh: install what is missing, build, run every test, sum up.  The last
# line is "N passed, N failed".  A part that dies without a result of its own
# counts as one failed test.
here=$(dirname "$0")
make=${MAKE:-make}
"$here/install-deps.sh" || exit 1
tally=$(mktemp) || exit 1
trap 'rm -f "$tally"' EXIT

part() {
	before=$(wc -l < "$tally")
	echo "=== $1"
	TALLY=$tally "$make" --no-print-directory "$@" 2>&1
	if [ $? -ne 0 ] && ! tail -n +$((before + 1)) "$tally" | awk '$2 > 0 { f = 1 } END { exit !f }'; then
		echo "0 1 $1" >> "$tally"
	fi
}

echo "=== build"
TALLY=$tally "$here/tally.sh" build "$make" --no-print-directory -s -j"$(nproc)" all
part clang -j"$(nproc)"
part layering
part headers
part pure
part symbols
part unit -j"$(nproc)"
part sanitize -j"$(nproc)"
part sim-patches
part sim-digests -j"$(nproc)"
part sim-regressions -j"$(nproc)"
part sim-check -j"$(nproc)"
part store
part regress
part tap

echo "=== summary"
awk '{ p += $1; f += $2; n = $1 " passed, " $2 " failed"; $1 = $2 = ""; print " " $0 ": " n }
	END { printf "%d passed, %d failed\n", p, f; exit (f > 0 || p == 0) }' "$tally"
