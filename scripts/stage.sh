#!/bin/sh
# stage.sh: make a private PostgreSQL that has our libraries and our extension,
# and print the directory it is in.  See the Makefile for why.
#
#   DIR/pg/...      the installation, at the same relative places as the real one
#   DIR/bin         patroni_supervisor, patroni_ctl, patroni_replay, and a link to the server's programs: pgbin
#   DIR/src         sql, expected, t, test, src, docs and examples, for a user who cannot read the work tree
#   DIR/env         shell variables for the tests: to be sourced
#
# The caller removes DIR.  It belongs to the user the servers run as.
set -e
build=${BUILD:-build}
config=${PG_CONFIG:-pg_config}
bindir=$("$config" --bindir)
pkglibdir=$("$config" --pkglibdir)
sharedir=$("$config" --sharedir)
includedir=$("$config" --includedir)

stage=$(mktemp -d "${TMPDIR:-/tmp}/patroni_bgw.XXXXXX")
pg=$stage/pg
mkdir -p "$pg$bindir" "$pg$pkglibdir" "$pg$sharedir/extension" "$stage/bin" "$stage/src" "$stage/tmp"

# programs find their files from where they really are, so copies it must be
cp -L "$bindir"/* "$pg$bindir/"
for file in "$pkglibdir"/* "$sharedir"/*; do
	[ "$file" = "$sharedir/extension" ] || ln -s "$file" "$pg$file"
done
ln -s "$sharedir"/extension/* "$pg$sharedir/extension/"
# tests build their tools with what the staged pg_config says
mkdir -p "$(dirname "$pg$includedir")"
ln -s "$includedir" "$pg$includedir"

for file in patroni_bgw.so patroni_worker.so; do
	rm -f "$pg$pkglibdir/$file"
	[ ! -e "$build/$file" ] || cp "$build/$file" "$pg$pkglibdir/"
done
rm -f "$pg$sharedir"/extension/patroni_bgw*
cp extension/*.sql patroni_bgw.control "$pg$sharedir/extension/"
for file in patroni_supervisor patroni_ctl patroni_replay; do
	[ ! -e "$build/$file" ] || cp "$build/$file" "$stage/bin/"
done
# another build of it: make fuzz-node
[ -z "$STAGE_SUPERVISOR" ] || cp "$STAGE_SUPERVISOR" "$stage/bin/patroni_supervisor"
for folder in sql expected t test src docs examples; do
	[ ! -d $folder ] || cp -r $folder "$stage/src/"
done
cat > "$stage/env" <<END
export PATH="$pg$bindir:$stage/bin:\$PATH"
export PG_BINDIR="$pg$bindir"
export PATRONI_SUPERVISOR="$stage/bin/patroni_supervisor"
export PATRONI_CTL="$stage/bin/patroni_ctl"
export TMPDIR="$stage/tmp"
export PG_REGRESS="$pkglibdir/pgxs/src/test/regress/pg_regress"
export PGXS_PERL="$pkglibdir/pgxs/src/test/perl"
unset PGHOST PGPORT PGDATA PGUSER PGDATABASE PGSERVICE
END
chmod 700 "$stage"
if [ "$(id -u)" -eq 0 ]; then
	user=$("$(dirname "$0")/as-user.sh" id -un)
	chown -Rh "$user" "$stage"
fi
echo "$stage"
