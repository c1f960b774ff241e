#!/bin/sh
# The contract of dcs.h against a real etcd: prints TAP.
# Usage: live_etcd3.sh [PROGRAM] (built from live_etcd3.c)
set -eu
program=${1:-${BUILD:-build}/test/dcs/live_etcd3}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 700 "$dir"
port=$((20000 + $$ % 10000))

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca \
	-keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
for who in server client; do
	openssl req -newkey rsa:2048 -nodes -subj "/CN=$who" \
		-keyout "$dir/$who.key" -out "$dir/$who.csr" 2>/dev/null
	printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >"$dir/$who.ext"
	openssl x509 -req -days 2 -in "$dir/$who.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" \
		-CAcreateserial -extfile "$dir/$who.ext" -out "$dir/$who.crt" 2>/dev/null
done
# The program starts etcd itself; its end ends etcd.
timeout -k 1 120 "$program" "$dir" "$port" "$((port + 1))" "$((port + 2))"
