#!/bin/bash
# demo.sh [start]: a cluster of three members with one etcd on this machine;
# a planned switchover, then the loss of a primary's whole node, each with the
# time in which a client could not write.  Leaves the cluster running.
# demo.sh stop: end it and remove its files.
#
# Everything lives in one directory below /tmp (DEMO_DIR names another) and
# runs as the calling user, or for root as the user that as-user.sh chooses.
# Whatever runs there is found by its working directory, so that nothing is
# left behind, however the demo ended.
set -u
cd "$(dirname "$0")/.." || exit 1
as_user=$PWD/scripts/as-user.sh
# first: the packages bring the user along
[ "${1:-start}" = stop ] || scripts/install-deps.sh || exit 1
user=$("$as_user" id -un) || exit 1
demo=${DEMO_DIR:-/tmp/patroni_bgw-demo-$user}
members="node1 node2 node3"
bold= plain=
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi

say() {
	printf '%s\n' "$*"
}

title() {
	printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

give_up() {
	printf 'demo: %s\n' "$*" >&2
	[ ! -d "$demo" ] || printf 'demo: logs are in %s/*/log, "make demo-stop" removes everything\n' "$demo" >&2
	exit 1
}

# ---------------------------------------------------------------------------
# Processes: everything that runs below a directory

pids_in() {
	find /proc -maxdepth 2 -name cwd \( -lname "$1" -o -lname "$1/*" \) 2> /dev/null |
		cut -d / -f 3 | grep '^[0-9]'
}

signal_all() {
	local pids

	pids=$(pids_in "$2")
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill -"$1" $pids 2> /dev/null
}

# wait_gone DIRECTORY SECONDS
wait_gone() {
	local tries=$(($2 * 10))

	while [ -n "$(pids_in "$1")" ]; do
		[ $((tries -= 1)) -gt 0 ] || return 1
		sleep 0.1
	done
}

# A clean end of one member: the supervisor stops its server.
stop_member() {
	local pid

	pid=$(cat "$demo/$1/pid" 2> /dev/null) || return 0
	case " $(pids_in "$demo/$1" | tr '\n' ' ') " in
		*" $pid "*) kill -TERM "$pid" 2> /dev/null ;;
	esac
	wait_gone "$demo/$1" 20
}

# Only a directory that we made ourselves is touched.
check_directory() {
	[ ! -e "$demo" ] && [ ! -L "$demo" ] && return 1
	if [ -L "$demo" ] || [ ! -d "$demo" ] || [ ! -e "$demo/is-a-demo" ] ||
		[ "$(stat -c %U "$demo")" != "$user" ]; then
		printf 'demo: "%s" exists and is not a demo of user "%s"\n' "$demo" "$user" >&2
		exit 1
	fi
}

stop() {
	local member primary=

	check_directory || return 1
	signal_all TERM "$demo/writer"
	psql=$demo/bin/psql
	if find_leader; then primary=$leader; fi
	for member in $members; do
		[ "$member" = "$primary" ] || stop_member "$member" &
	done
	wait
	[ -z "$primary" ] || stop_member "$primary"
	signal_all TERM "$demo/etcd"
	wait_gone "$demo" 5 || signal_all KILL "$demo"
	wait_gone "$demo" 5 || give_up "could not end all processes"
	# the lease page and the socket of a member that was killed
	for member in $members; do
		sed -n 's,.*patroni\.lease_page=\(/patroni\.[0-9a-f.]*\).*,\1,p' \
			"$demo/$member/data/postmaster.opts" 2> /dev/null
	done | while read -r page; do rm -f "/dev/shm$page" "/dev/shm$page.sock"; done
	rm -rf "$demo"
}

# ---------------------------------------------------------------------------
# The parts

ports_taken=
free_port() {
	local port=$1

	while ss -Htln | grep -q "[:.]$port " || [[ " $ports_taken " == *" $port "* ]]; do
		port=$((port + 1))
	done
	ports_taken="$ports_taken $port"
	free=$port
}

# run NAME COMMAND...: in the background, in its own session and directory
run() {
	local name=$1

	shift
	(cd "$demo/$name" && exec setsid "$as_user" sh -c 'echo $$ > pid; exec "$@" >> log 2>&1' sh "$@") \
		< /dev/null > /dev/null 2>&1 &
	disown
}

configure() {
	local name=$1 port=$2 rest=$3

	cat << END_OF_CONFIGURATION
scope: demo
name: $name
restapi:
  listen: 127.0.0.1:$rest
  connect_address: 127.0.0.1:$rest
  authentication: {username: demo, password: $password}
etcd3: {host: "127.0.0.1:$etcd_port"}
bootstrap:
  dcs:
    ttl: 10
    loop_wait: 5
    retry_timeout: 3
    postgresql:
      use_pg_rewind: true
      parameters: {max_connections: 50}
  initdb: [encoding: UTF8, data-checksums]
postgresql:
  listen: 127.0.0.1:$port
  connect_address: 127.0.0.1:$port
  data_dir: $demo/$name/data
  bin_dir: $bindir
  pgpass: $demo/$name/pgpass
  authentication:
    superuser: {username: postgres, password: $password}
    replication: {username: replicator, password: $password}
    rewind: {username: rewinder, password: $password}
  pg_hba:
    - local all all trust
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication replicator 127.0.0.1/32 scram-sha-256
  parameters:
    unix_socket_directories: $demo/sockets
    shared_buffers: 32MB
END_OF_CONFIGURATION
}

port_of() {
	cat "$demo/$1/port" 2> /dev/null
}

# sql MEMBER STATEMENT
sql() {
	[ -e "$demo/sockets/.s.PGSQL.$(port_of "$1")" ] &&
		"$psql" -X -q -A -t -h "$demo/sockets" -p "$(port_of "$1")" -U postgres -d postgres -c "$2" 2> "$demo/sql-errors"
}

# Who takes writes?  The member is left in "leader".
find_leader() {
	for leader in $members; do
		[ "$(sql "$leader" 'SELECT NOT pg_is_in_recovery()')" = t ] && return
	done
	leader=
	return 1
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
	local tries=$(($1 * 10)) what=$2

	shift 2
	until "$@"; do
		[ $((tries -= 1)) -gt 0 ] || give_up "$what takes too long"
		sleep 0.1
	done
}

all_stream() {
	find_leader || return 1
	[ "$(sql "$leader" "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" = 2 ] &&
		[ "$(sql "$leader" "SELECT count(*), count(DISTINCT timeline) FROM patroni.member
			WHERE role = 'leader' OR (state = 'streaming' AND lag = 0)")" = '3|1' ]
}

show_members() {
	"$psql" -X -q -P border=1 -P footer=off -h "$demo/sockets" -p "$(port_of "$1")" -U postgres -d postgres \
		-c 'SELECT name, role, state, port, timeline, lag FROM patroni.member ORDER BY name' |
		sed '/^$/d; s/^/    /'
}

# A client that writes one row after the other and looks for the new primary
# as libpq does.
start_writer() {
	: > "$demo/writer/result"
	(cd "$demo/writer" && exec setsid "$as_user" "$demo/writer/writer" -i 2 -f "$next_id" -l acks \
		"dbname=postgres user=postgres passfile=$demo/writer/pgpass" "$hosts" > result 2> errors) &
	writer=$!
	disown
	wait_for 10 'the writing client' acked 0
}

# acked MICROSECONDS: has something been acknowledged after that time?
acked() {
	tail -n 1 "$demo/writer/acks" 2> /dev/null | awk -v after="$1" '{ f = $1 == "A" && $4 > after } END { exit !f }'
}

writer_number() {
	sed -n 's/.*"'"$1"'": \([0-9.]*\).*/\1/p' "$demo/writer/result"
}

# End the client; leaves the milliseconds without a write and the losses.
end_writer() {
	sleep 1
	kill -TERM $writer 2> /dev/null
	wait_for 10 'the end of the writing client' test -s "$demo/writer/result"
	gap_ms=$(writer_number longest_gap_ms)
	acks=$(writer_number acks)
	next_id=$(($(writer_number last_id) + 1))
	awk '$1 == "A" { print $2 }' "$demo/writer/acks" | sort > "$demo/acked"
	sql "$leader" 'SELECT id FROM writes' | sort > "$demo/found"
	lost=$(comm -23 "$demo/acked" "$demo/found" | wc -l)
}

now_us() {
	awk '{ printf "%d", $1 * 1000000 }' /proc/uptime
}

report_writes() {
	say "    no write was taken for $bold$gap_ms ms$plain; of $acks acknowledged writes $lost are lost"
}

# ---------------------------------------------------------------------------

start() {
	local member stage etcd_peer output old standby first

	trap 'echo; exit 130' INT TERM
	if stop; then say 'ended the demo that was running'; fi
	say 'building'
	output=$(make -s -j"$(nproc)" all 2>&1) || {
		printf '%s\n' "$output" >&2
		exit 1
	}

	title 'Starting etcd and three members'
	"$as_user" mkdir -m 700 "$demo" || exit 1
	"$as_user" touch "$demo/is-a-demo"
	"$as_user" mkdir "$demo/etcd" "$demo/writer" "$demo/sockets"
	stage=$(TMPDIR=$demo scripts/stage.sh) || give_up 'could not stage the server'
	bindir=$(. "$stage/env" && echo "$PG_BINDIR")
	ln -s "$bindir" "$demo/bin"
	psql=$demo/bin/psql
	password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')

	"$CC" -std=gnu11 -D_GNU_SOURCE -O2 -Isrc "-I$("$PG_CONFIG" --includedir)" -o "$demo/writer/writer" \
		test/tools/writer.c "-L$("$PG_CONFIG" --libdir)" -lpq || give_up 'could not build the writing client'
	(umask 077 && echo "*:*:*:*:$password" > "$demo/writer/pgpass")

	free_port 23790; etcd_port=$free
	free_port 23890; etcd_peer=$free
	run etcd etcd --name demo --data-dir "$demo/etcd/data" --log-level error \
		--listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
		--listen-peer-urls "http://127.0.0.1:$etcd_peer" --initial-advertise-peer-urls "http://127.0.0.1:$etcd_peer" \
		--initial-cluster "demo=http://127.0.0.1:$etcd_peer"
	hosts=
	for member in $members; do
		"$as_user" mkdir "$demo/$member"
		free_port 15432
		echo "$free" > "$demo/$member/port"
		hosts=$hosts${hosts:+,}127.0.0.1:$free
		free_port 18008
		(umask 077 && configure "$member" "$(port_of "$member")" "$free" > "$demo/$member/patroni.yml")
	done
	[ "$(id -u)" -ne 0 ] || chown -R "$user" "$demo"/node? "$demo/writer"
	for member in $members; do
		run "$member" "$stage/bin/patroni_supervisor" "$demo/$member/patroni.yml"
	done
	wait_for 60 'the first start of the cluster' all_stream
	wait_for 10 'CREATE EXTENSION' sql "$leader" 'SELECT FROM patroni.lease'
	sql "$leader" 'CREATE TABLE writes (id bigint PRIMARY KEY, sent_us bigint)' || give_up "$(cat "$demo/sql-errors")"
	next_id=1
	show_members "$leader"

	title "Planned: a switchover away from $leader, asked for on a standby, while a client writes"
	old=$leader
	for standby in $members; do [ "$standby" = "$old" ] || break; done
	start_writer
	first=$(now_us)
	say "    SELECT patroni.switchover();  -- $(sql "$standby" 'SELECT patroni.switchover()' || cat "$demo/sql-errors")"
	leads_now() { find_leader && [ "$leader" != "$old" ]; }
	wait_for 30 'the switchover' leads_now
	wait_for 10 'the first write after the switchover' acked "$first"
	end_writer
	wait_for 30 'the return of the former primary' all_stream
	report_writes
	show_members "$leader"

	title "Unplanned: SIGKILL for every process of $leader, while a client writes"
	old=$leader
	start_writer
	sleep 1
	first=$(now_us)
	signal_all KILL "$demo/$old"
	signal_all KILL "$demo/$old"
	say '    the lease of the dead node runs out (ttl is 10 s), then a standby is promoted'
	wait_for 40 'the failover' leads_now
	wait_for 20 'the first write after the failover' acked $((first + 1000000))
	end_writer
	report_writes
	[ "$lost" -eq 0 ] || say '    (replication is asynchronous: what no standby had received is lost)'
	run "$old" "$stage/bin/patroni_supervisor" "$demo/$old/patroni.yml"
	wait_for 60 "the return of $old" all_stream
	say "    $old was started again and streams from $leader"
	show_members "$leader"

	title 'The cluster goes on running.  To connect to its members:'
	for member in $members; do
		say "    psql -h $demo/sockets -p $(port_of "$member") -U postgres postgres   # $member"
	done
	say "Configuration and logs: $demo/node*/.  To end it: make demo-stop"
}

CC=${CC:-gcc}
PG_CONFIG=${PG_CONFIG:-pg_config}
umask 022
case ${1:-start} in
	start) start ;;
	stop) if stop; then say 'the demo is ended'; else say 'there is no demo'; fi ;;
	*) echo 'usage: demo.sh [start|stop]' >&2; exit 2 ;;
esac
