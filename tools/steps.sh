#!/usr/bin/env bash
# steps.sh TARGET... - runs make targets one after the other, each with its name and time, and stops at the first failure.
set -uo pipefail
cd "$(dirname "$0")/.."

line() { printf '%s\n' '--------------------------------------------------------------------------------'; }
passed=0 failed=0 table=() total=$SECONDS
for target; do
	line
	echo "make $target"
	line
	began=$SECONDS
	# One at a time, whatever -j says, and nothing of the caller's ARGS; tests do not wait for a keyboard.
	if MAKEFLAGS='' make "$target" ARGS= </dev/null; then
		result=ok passed=$((passed + 1))
	else
		result=FAILED failed=$((failed + 1))
	fi
	table+=("$(printf '%-12s %-7s %4d s' "$target" "$result" $((SECONDS - began)))")
	[ $failed = 0 ] || break
done
line
printf '%s\n' "${table[@]}"
left=$(($# - passed - failed))
[ $left = 0 ] || echo "not run after the failure: ${*: -left}"
printf '%-12s         %4d s\n' total $((SECONDS - total))
echo "steps: $passed passed, $failed failed"
[ $failed = 0 ]
