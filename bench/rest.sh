#!/bin/sh
# rest.sh [RUNS [SECONDS]]: how fast is GET /primary, and does it cost anything?
#
# One member of ours with a standby, and one of Debian's Patroni, at the same
# time on one etcd.  wrk -t1 -c16 asks both leaders in turns, so that the noise
# of the machine hits both, and a server that does nothing else (floor.c), which
# shows what wrk and the machine cost; then the leader is changed over, with and without
# that load.  Prints each run, then the medians: requests/s and their ratio, the
# 99th percentile, processor time per request, which a busy machine changes least,
# and how long switchovers took.  Needs a build (make), wrk,
# curl and Debian's patroni and etcd; run it on a machine that does nothing else.
set -e
cd "$(dirname "$0")/.."
runs=${1:-5} seconds=${2:-5}
for program in wrk curl patroni etcd python3; do
	command -v $program > /dev/null || { echo "$program is not installed" >&2; exit 1; }
done
stage=$(scripts/stage.sh)
${CC:-cc} -O2 -o "$stage/floor" bench/floor.c -levent
trap 'scripts/as-user.sh sh "$stage/stop.sh" "$stage" > /dev/null 2>&1; rm -rf "$stage"' EXIT
trap 'exit 1' INT TERM
cat > "$stage/stop.sh" <<'END'
. "$1/env"
for file in "$1"/tmp/*.pid; do kill -KILL "$(cat "$file")"; done
for data in "$1"/tmp/*.data; do pg_ctl -D "$data" -m immediate stop; done
END
cat > "$stage/run.sh" <<'END'
set -e
stage=$1 runs=$2 seconds=$3
. "$stage/env"
cd "$stage/tmp"
ports=$(python3 -c 'import socket
s = [socket.socket() for _ in range(9)]
for x in s: x.bind(("127.0.0.1", 0))
print(*[x.getsockname()[1] for x in s])')
set -- $ports
etcd_port=$1 peer_port=$2
etcd --data-dir etcd --listen-client-urls "http://127.0.0.1:$1" --advertise-client-urls "http://127.0.0.1:$1" \
	--listen-peer-urls "http://127.0.0.1:$2" --initial-advertise-peer-urls "http://127.0.0.1:$2" \
	--initial-cluster "default=http://127.0.0.1:$2" --logger zap --log-level error > etcd.log 2>&1 &
echo $! > etcd.pid

# member NAME SCOPE REST_PORT PORT
member() {
	cat > "$1.yml" <<CONF
scope: $2
name: $1
etcd3: {hosts: '127.0.0.1:$etcd_port'}
restapi:
  listen: '127.0.0.1:$3'
  connect_address: '127.0.0.1:$3'
  authentication: {username: bench, password: bench}
bootstrap:
  dcs: {ttl: 20, loop_wait: 5, retry_timeout: 5, postgresql: {use_pg_rewind: true}}
  initdb: [{encoding: UTF8}, {locale: C}, data-checksums]
postgresql:
  listen: '127.0.0.1:$4'
  connect_address: '127.0.0.1:$4'
  data_dir: '$stage/tmp/$1.data'
  bin_dir: '$PG_BINDIR'
  pgpass: '$stage/tmp/$1.pgpass'
  parameters: {unix_socket_directories: '$stage/tmp', shared_buffers: 32MB}
  pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust']
  authentication:
    superuser: {username: postgres, password: bench}
    replication: {username: replicator, password: bench}
    rewind: {username: rewinder, password: bench}
CONF
	chmod 600 "$1.yml"
}
member ours1 ours "$3" "$4"
member ours2 ours "$5" "$6"
member theirs theirs "$7" "$8"
ours1=$3 ours2=$5 theirs=$7 floor=$9
"$stage/floor" "$floor" & echo $! > floor.pid

# until PORT PATH
until_200() {
	for i in $(seq 600); do
		[ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "http://127.0.0.1:$1$2")" != 200 ] || return 0
		sleep 0.1
	done
	echo "port $1 does not answer $2" >&2
	tail -n 20 ./*.log >&2
	exit 1
}
begin() {
	"$PATRONI_SUPERVISOR" "$1.yml" > "$1.log" 2>&1 &
	echo $! > "$1.pid"
}
begin ours1
patroni theirs.yml > theirs.log 2>&1 &
echo $! > theirs.pid
until_200 "$ours1" /primary
begin ours2
until_200 "$ours2" /readiness
until_200 "$theirs" /primary

# processor time of these processes so far, in ms
spent() {
	for pid in "$@"; do sed 's/.*) //' "/proc/$pid/stat"; done |
		awk -v hz="$(getconf CLK_TCK)" '{ t += $12 + $13 } END { printf "%.0f", t * 1000 / hz }'
}
# requests/s, p99 in ms, how many were not 200, processor time in us a request: PORT PID...
measure() {
	port=$1
	shift
	before=$(spent "$@")
	wrk -t1 -c16 -d "${seconds}s" --latency "http://127.0.0.1:$port/primary" > wrk.out
	awk -v ms=$(($(spent "$@") - before)) '/requests in/ { all = $1 } /^ *99%/ { v = $2; if (v ~ /us$/) v = v / 1000; else if (v ~ /ms$/) v = v + 0; else v = v * 1000; p = v }
		/^Requests\/sec/ { r = $2 } /Non-2xx/ { n = $NF } END { printf "%s %s %d %.0f\n", r, p, n, ms * 1000 / all }' wrk.out
}
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# who answers: the supervisor and the worker in its server; Patroni and the sessions that it has
begun_by() { ps -o pid= --ppid "$(head -n 1 "$1.data/postmaster.pid")" -o args= | awk -v what="$2" 'index($0, what) { print $1 }'; }
ours_pids="$(cat ours1.pid) $(begun_by ours1 'patroni worker')"
theirs_pids="$(cat theirs.pid) $(begun_by theirs 'postgres postgres 127.0.0.1')"
ask_ours() { measure "$ours1" $ours_pids; }
ask_theirs() { measure "$theirs" $theirs_pids; }
ask_floor() { measure "$floor" "$(cat floor.pid)"; }
ask_ours > /dev/null		# warm up
ask_theirs > /dev/null
for run in $(seq "$runs"); do
	# who goes first changes, too
	if [ $((run % 2)) -eq 1 ]; then a=$(ask_ours); b=$(ask_theirs); else b=$(ask_theirs); a=$(ask_ours); fi
	set -- $a $b
	echo "run $run: ours $1 requests/s, 99 % within $2 ms, $4 us each ($3 not 200); Patroni $5 requests/s, $6 ms, $8 us ($7 not 200)"
	echo "$1" >> ours.rate; echo "$2" >> ours.p99; echo "$4" >> ours.cpu
	echo "$5" >> theirs.rate; echo "$6" >> theirs.p99; echo "$8" >> theirs.cpu
	set -- $(ask_floor)
	echo "run $run: the floor $1 requests/s, 99 % within $2 ms, $4 us each"
	echo "$1" >> floor.rate; echo "$2" >> floor.p99
done

# change the leader over to the other member; its duration in ms, as clients of SQL see it: no primary
switch_over() {
	if [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$ours1/primary")" = 200 ]; then
		from=ours1 to=ours2 port=$ours1 next=$ours2
	else
		from=ours2 to=ours1 port=$ours2 next=$ours1
	fi
	load=
	if [ "$1" = loaded ]; then
		wrk -t1 -c16 -d 60s "http://127.0.0.1:$port/primary" > /dev/null 2>&1 & load=$!
		sleep 0.5
	fi
	curl -s -m 60 -o answer -u bench:bench -X POST -d "{\"leader\": \"$from\", \"candidate\": \"$to\"}" \
		"http://127.0.0.1:$port/switchover"
	[ -z "$load" ] || kill "$load"
	grep -q Successfully answer || { cat answer >&2; exit 1; }
	sleep 0.3
	curl -s "http://127.0.0.1:$next/metrics" | awk '/^patroni_last_switchover_seconds.*phase="total"/ { print $2 * 1000 }'
	until_200 "$port" /readiness
}
switch_over free > /dev/null
for run in $(seq "$runs"); do
	switch_over free >> free.ms
	switch_over loaded >> loaded.ms
done
echo "switchovers without load, ms: $(tr '\n' ' ' < free.ms)"
echo "switchovers under load, ms: $(tr '\n' ' ' < loaded.ms)"
a=$(median ours.rate) b=$(median theirs.rate)
echo "median: ours $a requests/s, Patroni $b, ratio $(awk "BEGIN { printf \"%.1f\", $a / $b }")"
echo "median of the 99th percentile: ours $(median ours.p99) ms, Patroni $(median theirs.p99) ms, the floor $(median floor.p99) ms"
echo "median of the floor: $(median floor.rate) requests/s"
a=$(median ours.cpu) b=$(median theirs.cpu)
echo "median processor time of a request: ours $a us, Patroni $b us, ratio $(awk "BEGIN { printf \"%.1f\", $b / $a }")"
echo "median switchover: $(median free.ms) ms without load, $(median loaded.ms) ms under load"
END
scripts/as-user.sh sh "$stage/run.sh" "$stage" "$runs" "$seconds"
