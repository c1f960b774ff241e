#!/bin/sh
# regress.sh: pg_regress on a temporary server that preloads the library.
here=$(dirname "$0")
tests=$(cd sql 2>/dev/null && ls *.sql 2>/dev/null | sed 's/\.sql$//')
if [ -z "$tests" ]; then
	echo "there is no regression test"
	exit 1
fi
stage=$("$here/stage.sh") || exit 1
trap 'rm -rf "$stage"' EXIT
cat > "$stage/regress.conf" <<END
shared_preload_libraries = 'patroni_bgw'
END
chmod 644 "$stage/regress.conf"
"$here/as-user.sh" sh -c '
	cd "$1/src" && . ../env && shift &&
	"$PG_REGRESS" --bindir="$PG_BINDIR" --inputdir=. --outputdir=../tmp \
		--temp-instance=../tmp/instance --temp-config=../regress.conf --encoding=UTF8 --no-locale \
		--dbname=contrib_regression "$@"' sh "$stage" $tests > "$stage/output" 2>&1
status=$?
cat "$stage/output"
passed=$(grep -cE '^(test .*\.\.\. ok|ok )' "$stage/output")
failed=$(grep -cE '^(test .*\.\.\. FAILED|not ok )' "$stage/output")
if [ $status -ne 0 ]; then
	[ "$failed" -gt 0 ] || failed=1
	cat "$stage/tmp/regression.diffs" 2>/dev/null || tail -n 40 "$stage"/tmp/log/*.log 2>/dev/null
fi
[ -z "$TALLY" ] || echo "$passed $failed regress" >> "$TALLY"
echo "regress: $passed passed, $failed failed"
[ $status -eq 0 ]
