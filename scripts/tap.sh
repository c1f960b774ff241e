#!/bin/sh
# tap.sh [TEST...]: the TAP tests in t/, on the staged server.  A file that dies
# counts as one failed test on top of what it said.  A test with the line
# "# run as root" at its top stays root when we are: it makes network namespaces
# or mounts file systems, and starts its servers as the other user itself.
here=$(dirname "$0")
[ $# -gt 0 ] || set -- t/*.pl
if [ ! -e "$1" ]; then
	echo "there is no TAP test"
	exit 1
fi
stage=$("$here/stage.sh") || exit 1
passed=0 failed=0 status=0
for test in "$@"; do
	runner=$here/as-user.sh
	if grep -q '^# run as root$' "$test"; then runner=; fi
	began=$(date +%s)
	$runner sh -c '
		cd "$1/src" && . ../env && export TESTDIR="$1/tmp" TESTDATADIR="$1/tmp/data" TESTLOGDIR="$1/tmp/log" &&
		mkdir -p -m 777 "$TESTDATADIR" "$TESTLOGDIR" &&
		exec timeout "${TAP_TIMEOUT:-600}" perl -I "$PGXS_PERL" -I t -I t/lib "$2"' \
		sh "$stage" "$test" > "$stage/output" 2>&1
	result=$?
	good=$(grep -ac '^ok ' "$stage/output")
	bad=$(grep -a '^not ok ' "$stage/output" | grep -cv '# SKIP')
	if [ $result -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
	if [ $result -ne 0 ]; then
		status=1
		echo "--- $test failed (exit status $result):"
		grep -A 8 '^not ok ' "$stage/output" | head -n 60
		echo "---"
		tail -n 80 "$stage/output"
	fi
	grep -a '^# measured: ' "$stage/output"
	echo "$test: $good passed, $bad failed ($(($(date +%s) - began)) s)"
	passed=$((passed + good))
	failed=$((failed + bad))
done
[ -z "$TALLY" ] || echo "$passed $failed tap" >> "$TALLY"
if [ $status -eq 0 ] && [ -z "$PATRONI_TEST_KEEP_LOGS" ]; then
	rm -rf "$stage"
else
	echo "logs are kept in $stage"
fi
exit $status
