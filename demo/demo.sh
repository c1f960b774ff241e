#!/bin/sh
# demo.sh start | stop: a cluster of three members and one etcd on this
# machine, on a private copy of the PostgreSQL installation.  Everything is in
# one directory, which "stop" removes.
here=$(cd "$(dirname "$0")" && pwd)
scripts="$here/../scripts"
note="${TMPDIR:-/tmp}/patroni_bgw-demo.$(id -u)"
port=${DEMO_PORT:-17000}

stop() {
	[ -f "$note" ] || { echo "no demo runs"; return 0; }
	dir=$(cat "$note")
	for name in node1 node2 node3 etcd; do
		pid=$(cat "$dir/$name.pid" 2>/dev/null) || continue
		# asked twice the supervisor stops its server at once
		kill -TERM "$pid" 2>/dev/null || continue
		for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.25
			[ "$try" != 12 ] || kill -TERM "$pid" 2>/dev/null
		done
		kill -KILL "$pid" 2>/dev/null
	done
	rm -rf "$dir" "$note"
}

config() {
	cat <<END
scope: demo
name: $1
etcd3:
  hosts: 127.0.0.1:$port
restapi:
  listen: 127.0.0.1:$3
  connect_address: 127.0.0.1:$3
bootstrap:
  dcs:
    ttl: 5
    loop_wait: 2
    retry_timeout: 1
    postgresql:
      use_pg_rewind: true
  initdb:
    - encoding: UTF8
    - data-checksums
postgresql:
  listen: 127.0.0.1:$2
  connect_address: 127.0.0.1:$2
  data_dir: $dir/$1/data
  bin_dir: $PG_BINDIR
  pgpass: $dir/$1.pgpass
  authentication:
    superuser: {username: postgres, password: $password}
    replication: {username: replicator, password: $password}
    rewind: {username: rewind_user, password: $password}
  parameters:
    unix_socket_directories: $dir
    shared_buffers: 32MB
  pg_hba:
    - local all all trust
    - host replication replicator 127.0.0.1/32 scram-sha-256
    - host all all 127.0.0.1/32 scram-sha-256
END
}

start() {
	stop > /dev/null
	dir=$(cd "$here/.." && "$scripts/stage.sh") || exit 1
	echo "$dir" > "$note"
	. "$dir/env"
	password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
	for i in 1 2 3; do
		(umask 077 && config "node$i" $((port + 10 + i)) $((port + 20 + i)) > "$dir/node$i.yml")
	done
	[ "$(id -u)" -ne 0 ] || chown "$("$scripts/as-user.sh" id -u)" "$dir"/*.yml
	"$scripts/as-user.sh" sh -c 'cd "$1" || exit 1
		etcd --data-dir etcd.data --listen-client-urls "http://127.0.0.1:$2" \
			--advertise-client-urls "http://127.0.0.1:$2" \
			--listen-peer-urls "http://127.0.0.1:$(($2 + 1))" \
			--initial-advertise-peer-urls "http://127.0.0.1:$(($2 + 1))" \
			--initial-cluster "default=http://127.0.0.1:$(($2 + 1))" > etcd.log 2>&1 < /dev/null &
		echo $! > etcd.pid
		sleep 1
		for name in node1 node2 node3; do
			patroni_supervisor "$name.yml" > "$name.log" 2>&1 < /dev/null &
			echo $! > "$name.pid"
		done' sh "$dir" "$port"
	for try in $(seq 100); do
		count=$(curl -s "http://127.0.0.1:$((port + 21))/cluster" | grep -oE '"state": "(running|streaming)"' | wc -l)
		[ "$count" -ne 3 ] || break
		sleep 0.3
	done
	if [ "$count" -ne 3 ]; then
		echo "the cluster did not come up; see $dir/*.log"
		exit 1
	fi
	cat <<END
Three members run. Files and logs: $dir

  $PG_BINDIR/psql -h $dir -p $((port + 11)) -U postgres -c 'SELECT * FROM patroni.member'
  curl http://127.0.0.1:$((port + 21))/cluster
  make demo-stop
END
}

case $1 in
	start) start ;;
	stop) stop ;;
	*) echo "usage: $0 start|stop"; exit 2 ;;
esac
