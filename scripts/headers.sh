#!/bin/sh
# headers.sh: each header compiles alone.
passed=0 failed=0
server=$("${PG_CONFIG:-pg_config}" --includedir-server)
for header in src/*/*.h; do
	extra=
	# worker headers may be for either side; those of the server need its include path
	case $header in src/worker/*) extra="-I$server" ;; esac
	if ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter -Wno-unused-function \
		-Wno-unused-const-variable -Wno-sign-compare -Isrc $extra -fsyntax-only -x c "$header"; then
		passed=$((passed + 1))
	else
		echo "$header does not compile alone"
		failed=$((failed + 1))
	fi
done
[ -z "$TALLY" ] || echo "$passed $failed headers" >> "$TALLY"
echo "headers: $passed passed, $failed failed"
[ $failed -eq 0 ]
