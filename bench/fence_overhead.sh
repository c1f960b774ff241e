#!/bin/sh
# fence_overhead.sh [RUNS [SECONDS]]: what do the fence, and the wait for the
# walsender, cost?
#
# pgbench -N on one private server under a lease page, with a standby beside it:
# with both, with patroni.wal_send_wait = 0, and with patroni.fence = off as well,
# in turns, so that the noise of the machine hits all.  Prints each round, then the
# medians and their ratios.  Needs a build (make) and nothing else; run it on a
# machine that does nothing else.
set -e
cd "$(dirname "$0")/.."
runs=${1:-10} seconds=${2:-8}
stage=$(scripts/stage.sh)
trap 'scripts/as-user.sh sh -c ". $stage/env; pg_ctl -D $stage/tmp/standby -m immediate stop; pg_ctl -D $stage/tmp/data -m immediate stop" > /dev/null 2>&1; rm -rf "$stage"; rm -f /dev/shm/patroni.bench.$$' EXIT
cat > "$stage/run.sh" <<'END'
set -e
stage=$1 runs=$2 seconds=$3 page=$4
. "$stage/env"
cd "$stage/tmp"
gcc -D_GNU_SOURCE -I"$stage/src/src" -o lease_tool "$stage/src/test/tools/lease_tool.c" \
	"$stage/src/src/base/lease_page.c" "$stage/src/src/base/error.c"
./lease_tool "/$page" create > /dev/null
initdb -D data -A trust -N > /dev/null
cat >> data/postgresql.conf <<CONF
shared_preload_libraries = 'patroni_bgw'
patroni.lease_page = '/$page'
listen_addresses = ''
unix_socket_directories = '$stage/tmp'
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 1h
CONF
pg_ctl -D data -l log -w start > /dev/null
# an open lease with a deadline, as under a real leader: the check is the same
./lease_tool "/$page" open_for 86400000 > /dev/null
export PGHOST="$stage/tmp" PGDATABASE=postgres
pg_basebackup -D standby -R -X stream -c fast
pg_ctl -D standby -l standby.log -o "-p 5433 -c patroni.lease_page=" -w start > /dev/null
pgbench -i -q -s 10 > /dev/null 2>&1
pgbench -N -c 4 -T "$seconds" > /dev/null 2>&1		# warm up
# The fence, and how long to wait for the walsender.
measure() {
	sed -i '/^patroni.fence/d; /^patroni.wal_send_wait/d' data/postgresql.conf
	printf 'patroni.fence = %s\npatroni.wal_send_wait = %s\n' "$1" "$2" >> data/postgresql.conf
	psql -XAtqc 'SELECT pg_reload_conf()' > /dev/null
	until [ "$(psql -XAtc "SELECT current_setting('patroni.fence') || (SELECT setting FROM pg_settings WHERE name = 'patroni.wal_send_wait')")" = "$1$2" ]
	do sleep 0.1; done
	psql -XAtqc CHECKPOINT
	pgbench -N -c 4 -T "$seconds" 2> /dev/null | awk '/^tps/ {print $3}' >> "$3"
}
: > both; : > fence; : > neither
for run in $(seq "$runs"); do
	# who goes first changes, too
	case $((run % 3)) in
		0) measure on 100 both; measure on 0 fence; measure off 0 neither ;;
		1) measure on 0 fence; measure off 0 neither; measure on 100 both ;;
		2) measure off 0 neither; measure on 100 both; measure on 0 fence ;;
	esac
	echo "run $run: both $(tail -n 1 both), fence $(tail -n 1 fence), neither $(tail -n 1 neither)"
done
median() { sort -n "$1" | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
a=$(median both) b=$(median fence) c=$(median neither)
echo "median tps: both $a, fence $b, neither $c, ratios $(awk "BEGIN {printf \"%.4f %.4f\", $b / $c, $a / $b}")"
END
scripts/as-user.sh sh "$stage/run.sh" "$stage" "$runs" "$seconds" "patroni.bench.$$"
