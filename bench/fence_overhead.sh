#!/bin/sh
# fence_overhead.sh [RUNS [SECONDS]]: what does the fence cost?
#
# pgbench -N on one private server under a lease page, with patroni.fence on and
# off in turns, so that the noise of the machine hits both.  Prints each pair,
# then the medians and their ratio.  Needs a build (make) and nothing else; run
# it on a machine that does nothing else.
set -e
cd "$(dirname "$0")/.."
runs=${1:-10} seconds=${2:-8}
stage=$(scripts/stage.sh)
trap 'scripts/as-user.sh sh -c ". $stage/env; pg_ctl -D $stage/tmp/data -m immediate stop" > /dev/null 2>&1; rm -rf "$stage"; rm -f /dev/shm/patroni.bench.$$' EXIT
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
pgbench -i -q -s 10 > /dev/null 2>&1
pgbench -N -c 4 -T "$seconds" > /dev/null 2>&1		# warm up
measure() {
	sed -i '/^patroni.fence/d' data/postgresql.conf
	echo "patroni.fence = $1" >> data/postgresql.conf
	psql -XAtqc 'SELECT pg_reload_conf()' > /dev/null
	[ "$(psql -XAtc 'SHOW patroni.fence')" = "$1" ] || sleep 0.2
	psql -XAtqc CHECKPOINT
	pgbench -N -c 4 -T "$seconds" 2> /dev/null | awk '/^tps/ {print $3}'
}
: > on; : > off
for run in $(seq "$runs"); do
	# who goes first changes, too
	if [ $((run % 2)) -eq 1 ]; then a=$(measure on); b=$(measure off); else b=$(measure off); a=$(measure on); fi
	echo "$a" >> on; echo "$b" >> off
	echo "run $run: on $a, off $b"
done
median() { sort -n "$1" | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
a=$(median on) b=$(median off)
echo "median tps: on $a, off $b, ratio $(awk "BEGIN {printf \"%.4f\", $a / $b}")"
END
scripts/as-user.sh sh "$stage/run.sh" "$stage" "$runs" "$seconds" "patroni.bench.$$"
