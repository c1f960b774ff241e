#!/bin/sh
# install-deps.sh: install the Debian packages that building and testing need,
# only those that are missing.  Does nothing, and needs no rights, when all are
# there.  Packages of servers would start them; a policy-rc.d prevents that
# while they are installed.
packages="gcc make pkg-config clang libclang-rt-14-dev
	postgresql-15 postgresql-server-dev-15 libpq-dev
	libcurl4-openssl-dev libjansson-dev libyaml-dev libevent-dev libcmocka-dev libssl-dev
	etcd-server etcd-client patroni libipc-run-perl iproute2 procps openssl"

missing=
for package in $packages; do
	case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
		*" installed") ;;
		*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get > /dev/null; then
	echo "please install:$missing" >&2
	exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
	root=
elif command -v sudo > /dev/null; then
	root=sudo
	[ -t 0 ] || root="sudo -n"		# nobody is there to type a password
else
	echo "please install as root:$missing" >&2
	exit 1
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap '$root rm -f $policy' EXIT
	trap 'exit 1' INT TERM
	printf '#!/bin/sh\nexit 101\n' | $root tee $policy > /dev/null
	$root chmod 755 $policy
fi
log=$(mktemp)
install() {
	$root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing > "$log" 2>&1
}
echo "installing:$missing"
install || { $root apt-get -q update >> "$log" 2>&1; install; } || {
	cat "$log" >&2
	rm -f "$log"
	exit 1
}
rm -f "$log"
