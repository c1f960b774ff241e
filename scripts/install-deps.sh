#!/bin/sh
# install-deps.sh: install the Debian packages that building and testing need,
# only those that are missing.  Does nothing, and needs no rights, when all are
# there.  Packages of servers would start them; a policy-rc.d prevents that
# while they are installed.
packages="gcc make pkg-config clang libclang-rt-14-dev
	postgresql-15 postgresql-server-dev-15 libpq-dev
	libcurl4-openssl-dev libjansson-dev libyaml-dev libevent-dev libcmocka-dev libssl-dev
	etcd-server etcd-client patroni libipc-run-perl iproute2 procps openssl e2fsprogs"

# Programs of others that some tests use; without them those tests are skipped.
optional="curl haproxy pgbouncer prometheus vip-manager wrk"

list_missing() {
	for package in "$@"; do
		case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
			*" installed") ;;
			*) printf ' %s' "$package" ;;
		esac
	done
}
missing=$(list_missing $packages)
optional=$(list_missing $optional)
[ -n "$missing$optional" ] || exit 0

# Nothing can be installed: that matters only if we need it.
give_up() {
	echo "please install$1:$missing$optional" >&2
	[ -z "$missing" ]
	exit
}

command -v apt-get > /dev/null || give_up
if [ "$(id -u)" -eq 0 ]; then
	root=
elif command -v sudo > /dev/null; then
	root=sudo
	[ -t 0 ] || root="sudo -n"		# nobody is there to type a password
else
	give_up " as root"
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap '$root rm -f $policy' EXIT
	trap 'exit 1' INT TERM
	printf '#!/bin/sh\nexit 101\n' | $root tee $policy > /dev/null
	$root chmod 755 $policy
fi
log=$(mktemp)
get() {
	$root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" > "$log" 2>&1
}
install() {
	[ $# -gt 0 ] || return 0
	echo "installing: $*"
	get "$@" || { $root apt-get -q update >> "$log" 2>&1; get "$@"; }
}
install $missing || {
	cat "$log" >&2
	rm -f "$log"
	exit 1
}
# one by one: not every one need be available
for package in $optional; do
	install "$package" || echo "could not install $package; tests that need it are skipped"
done
rm -f "$log"
