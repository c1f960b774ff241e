#!/bin/sh
# sim-mutants.sh BUILD OBJECT...: does the simulator find planted mistakes?
#
# Each test/sim/mutants/NAME.patch plants one mistake in what ships.  The
# files it touches are compiled anew from a patched copy, the simulator is
# linked with them, and must break a promise within SEEDS seeds (0: only look
# whether the patches still apply), of one profile if the line "# profile NAME"
# of the patch says so.  CC, FLAGS and LIBRARIES come from the
# Makefile; MUTANTS names the ones to try.
build=$1
shift
seeds=${SEEDS:-50000}
jobs=${JOBS:-$(nproc)}
passed=0 failed=0
here=$(pwd)

for patch in test/sim/mutants/*.patch; do
	name=$(basename "$patch" .patch)
	case " ${MUTANTS:-$name} " in *" $name "*) ;; *) continue ;; esac
	dir=$build/mutants/$name
	rm -rf "$dir"
	mkdir -p "$dir"
	profile=$(sed -n 's/^# profile /--profile /p' "$patch")
	files=$(sed -n 's,^+++ b/\([^	]*\).*,\1,p' "$patch")
	why= objects=
	for file in $files; do
		mkdir -p "$dir/$(dirname "$file")"
		cp "$file" "$dir/$file"
	done
	if ! (cd "$dir" && patch -s -p1 < "$here/$patch") > "$dir/log" 2>&1; then
		why="the patch does not apply"
	fi
	if [ "$seeds" = 0 ]; then
		[ -n "$why" ] && echo "$name: $why" && failed=$((failed + 1)) || passed=$((passed + 1))
		rm -rf "$dir"
		continue
	fi
	for object in "$@"; do
		source=${object%.o}.c
		case " $(echo $files) " in
			*" $source "*)
				# $FLAGS is a list of words
				[ -n "$why" ] || ${CC:-cc} $FLAGS -c -o "$dir/$object" "$dir/$source" >> "$dir/log" 2>&1 ||
					why="it does not compile"
				set -- "$@" "$dir/$object" ;;
			*)
				set -- "$@" "$build/$object" ;;
		esac
		shift
	done
	[ -n "$why" ] || ${CC:-cc} $FLAGS -o "$dir/patroni_sim" "$@" $LIBRARIES >> "$dir/log" 2>&1 ||
		why="it does not link"
	if [ -n "$why" ]; then
		echo "$name: $why"
		tail -5 "$dir/log"
		failed=$((failed + 1))
	# $profile is two words or none
	elif "$dir/patroni_sim" $profile --seeds "$seeds" --jobs "$jobs" --first --quiet > "$dir/out" 2>> "$dir/log"; then
		echo "$name: NOT FOUND in $seeds seeds"
		failed=$((failed + 1))
	elif grep -q '^seed ' "$dir/out"; then
		sed -n "1s/^/$name: /p" "$dir/out"
		passed=$((passed + 1))
	else
		echo "$name: the simulator did not run"
		failed=$((failed + 1))
	fi
	rm -rf "$dir/src"
	# back to the names of the objects
	for object in "$@"; do
		set -- "$@" "${object#"$dir/"}"
		shift
	done
	for object in "$@"; do
		set -- "$@" "${object#"$build/"}"
		shift
	done
done
echo "$passed passed, $failed failed"
[ -z "$TALLY" ] || echo "$passed $failed mutants" >> "$TALLY"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
