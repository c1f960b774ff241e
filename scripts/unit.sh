#!/bin/sh
# unit.sh PROGRAM...: run the unit tests, print what failed and one line a
# program.  A program that dies counts as one failed test on top of what it said.
# $TESTS is what the sum is called.
passed=0 failed=0
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
for program in "$@"; do
	CMOCKA_MESSAGE_OUTPUT=TAP "$program" > "$output" 2>&1
	status=$?
	good=$(grep -ac '^ok ' "$output")
	bad=$(grep -a '^not ok ' "$output" | grep -cv '# SKIP')
	if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
	if [ "$good" -eq 0 ] && [ "$bad" -eq 0 ]; then bad=1; echo "$program ran no test"; fi
	if [ "$bad" -ne 0 ]; then
		echo "--- $program failed (exit status $status):"
		grep -v '^ok ' "$output" | tail -n 60
	fi
	echo "$program: $good passed, $bad failed"
	passed=$((passed + good))
	failed=$((failed + bad))
done
[ -z "$TALLY" ] || echo "$passed $failed ${TESTS:-unit}${SANITIZE:+ (sanitized)}" >> "$TALLY"
[ $failed -eq 0 ]
