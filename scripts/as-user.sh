#!/bin/sh
# as-user.sh COMMAND...: run a command as an unprivileged user.  A server
# refuses to run as root.  Who is not root already stays who he is; root
# becomes $TEST_USER, or "postgres" where that user exists, else "nobody".
if [ "$(id -u)" -ne 0 ]; then
	exec "$@"
fi
user=${TEST_USER:-postgres}
getent passwd "$user" > /dev/null || user=nobody
export HOME="${TEST_HOME:-/tmp}" USER="$user" LOGNAME="$user"
exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"
