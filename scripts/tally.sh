#!/bin/sh
# tally.sh NAME COMMAND...: run a check that passes or fails as a whole, and
# add its result to the file $TALLY if there is one.
name=$1
shift
if "$@"; then passed=1 failed=0; else passed=0 failed=1; fi
[ -z "$TALLY" ] || echo "$passed $failed $name" >> "$TALLY"
[ $failed = 0 ] && echo "ok - $name" || echo "not ok - $name"
exit $failed
