#!/bin/sh
# layering.sh OBJECT...: a folder includes headers only of folders listed
# before it (docs/architecture.md), and every source file is in a list of the
# Makefile.  One result for each folder, one for the lists.
passed=0 failed=0

allowed_for() {
	case $1 in
		base)       echo 'base' ;;
		cluster)    echo 'base cluster' ;;
		ha)         echo 'base cluster ha' ;;
		config)     echo 'base cluster ha config' ;;
		postgres)   echo 'base cluster ha config postgres' ;;
		dcs)        echo 'base cluster config dcs' ;;
		node)       echo 'base cluster ha config postgres dcs node' ;;
		worker)     echo 'base cluster ha config postgres dcs node worker' ;;
		rest)       echo 'base cluster ha config postgres dcs node rest' ;;
		supervisor) echo 'base cluster ha config postgres dcs node rest supervisor' ;;
		ctl)        echo 'base cluster ha config postgres dcs node rest ctl' ;;
		sim)        echo 'base cluster ha config postgres dcs node sim' ;;
		*)          echo '' ;;
	esac
}

for folder in src/*/; do
	folder=$(basename "$folder")
	allowed=$(allowed_for "$folder")
	if [ -z "$allowed" ]; then
		echo "folder src/$folder has no place in the order of layers"
		failed=$((failed + 1))
		continue
	fi
	pattern=$(echo "$allowed" | tr ' ' '|')
	# our own includes name a folder of src: "ha/ha.h"
	bad=$(grep -nE '^#[[:space:]]*include "[a-z0-9_]+/' src/"$folder"/*.[ch] 2>/dev/null |
		while IFS= read -r line; do
			other=$(echo "$line" | sed 's/.*include "\([a-z0-9_]*\)\/.*/\1/')
			[ -d "src/$other" ] || continue
			echo "$other" | grep -qE "^($pattern)\$" || echo "$line"
		done)
	if [ -n "$bad" ]; then
		echo "$bad"
		echo "src/$folder includes from above"
		failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
done

# only the worker knows the server
bad=$(grep -lE '^#[[:space:]]*include "(postgres|fmgr|miscadmin|postgres_ext)\.h"' src/*/*.[ch] | grep -v '^src/worker/')
if [ -n "$bad" ]; then
	echo "these include headers of the server:" $bad
	failed=$((failed + 1))
else
	passed=$((passed + 1))
fi

# inside the server the locale is not ours: cluster/ascii.h
bad=$(grep -nE '[^a-z_](strn?casecmp|isalpha|isalnum|isspace|islower|isupper|tolower|toupper)(_l)? ?\(' src/*/*.[ch] |
	grep -v '^src/cluster/ascii\.h:')
if [ -n "$bad" ]; then
	echo "$bad"
	echo "these compare letters as the locale does"
	failed=$((failed + 1))
else
	passed=$((passed + 1))
fi

unlisted=
for source in src/*/*.c; do
	case " $* " in
		*" ${source%.c}.o "*) ;;
		*) unlisted="$unlisted $source" ;;
	esac
done
if [ -n "$unlisted" ]; then
	echo "no list of the Makefile names:$unlisted"
	failed=$((failed + 1))
else
	passed=$((passed + 1))
fi
[ -z "$TALLY" ] || echo "$passed $failed layering" >> "$TALLY"
echo "layering: $passed passed, $failed failed"
[ $failed -eq 0 ]
