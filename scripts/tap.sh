#!/bin/sh
# tap.sh [TEST...]: the TAP tests in t/, on the staged server.  A file that dies
# counts as one failed test on top of what it said.
#
# $TAP_JOBS files run at a time (3 unless told; most of their time is waiting),
# the last ones, which take longest, first.  Lines at the top of a test that count:
#   # run as root   stays root when we are: it makes network namespaces or mounts
#                   file systems, and starts its servers as the other user itself
#   # run alone     measures milliseconds, so it runs after all others, by itself
here=$(dirname "$0")
[ $# -gt 0 ] || set -- t/*.pl
if [ ! -e "$1" ]; then
	echo "there is no TAP test"
	exit 1
fi
stage=$("$here/stage.sh") || exit 1
mkdir "$stage/taken" "$stage/results" "$stage/pids"

# A test that is told to end cleans up after itself.
stop() {
	touch "$stage/stop"
	kill $(cat "$stage"/pids/*) 2> /dev/null
	wait
	echo "stopped; logs are kept in $stage"
	exit 1
}
trap stop INT TERM

# Run one file and say how it went; all it says comes in one piece.
run() {
	test=$1 name=$(basename "$1" .pl)
	output=$stage/$name.output
	runner=$here/as-user.sh
	if grep -q '^# run as root$' "$test"; then runner=; fi
	began=$(date +%s)
	$runner sh -c '
		cd "$1/src" && . ../env && export TESTDIR="$1/tmp" TESTDATADIR="$1/tmp/data" TESTLOGDIR="$1/tmp/log" &&
		mkdir -p -m 777 "$TESTDATADIR" "$TESTLOGDIR" &&
		exec timeout "${TAP_TIMEOUT:-600}" perl -I "$PGXS_PERL" -I t -I t/lib "$2"' \
		sh "$stage" "$test" > "$output" 2>&1 &
	echo $! > "$stage/pids/$name"
	wait $!
	result=$?
	rm "$stage/pids/$name"
	good=$(grep -ac '^ok ' "$output")
	bad=$(grep -a '^not ok ' "$output" | grep -cv '# SKIP')
	if [ $result -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
	{
		if [ $result -ne 0 ]; then
			echo "--- $test failed (exit status $result):"
			grep -A 8 '^not ok ' "$output" | head -n 60
			echo "---"
			tail -n 80 "$output"
			# what the server's own test modules said and ran
			tail -n 40 "$stage/tmp/tmp_check/log/regress_log_$name" 2> /dev/null
		fi
		grep -a '^# measured: ' "$output"
		echo "$test: $good passed, $bad failed ($(($(date +%s) - began)) s)"
	} > "$stage/$name.report"
	echo "$good $bad $result" > "$stage/results/$name"
	cat "$stage/$name.report"
}

# Run those that nobody has taken yet.
work() {
	for test in "$@"; do
		if [ ! -e "$stage/stop" ] && mkdir "$stage/taken/$(basename "$test" .pl)" 2> /dev/null; then
			run "$test"
		fi
	done
}

together='' alone=''
for test in "$@"; do
	if grep -q '^# run alone$' "$test"; then
		alone="$alone $test"
	else
		together="$test $together"
	fi
done
# the names of tests have no blanks
job=0
while [ $job -lt "${TAP_JOBS:-3}" ]; do
	work $together &
	job=$((job + 1))
done
wait
work $alone

passed=0 failed=0 status=0
for file in "$stage"/results/*; do
	read -r good bad result < "$file"
	passed=$((passed + good)) failed=$((failed + bad))
	[ "$result" -eq 0 ] || status=1
done
[ -z "$TALLY" ] || echo "$passed $failed tap" >> "$TALLY"
if [ $status -eq 0 ] && [ -z "$PATRONI_TEST_KEEP_LOGS" ]; then
	rm -rf "$stage"
else
	echo "logs are kept in $stage"
fi
exit $status
