#!/usr/bin/env bash
# steps.sh [--beside TARGET] STEP... - runs the make targets STEP... one after the other, each with its name and time, and
# stops at the first failure.
#
# TARGET is made in the background from the second step on, at the lowest priority, and awaited before the last step: for
# tools that take minutes to build and that only the last step needs. Its output is shown then.
set -uo pipefail
cd "$(dirname "$0")/.."

beside=''
if [ "${1:-}" = --beside ]; then
	beside=$2
	shift 2
fi

line() { printf '%s\n' '--------------------------------------------------------------------------------'; }
title() {
	line
	echo "$1"
	line
}
# One at a time, whatever -j says, and nothing of the caller's ARGS or PKG; tests do not wait for a keyboard.
run() { MAKEFLAGS='' make "$1" ARGS= PKG= </dev/null; }

beside_log=$(mktemp)
beside_pid=''
cleanup() {
	[ -z "$beside_pid" ] || kill -- "-$beside_pid" 2>/dev/null
	rm -f "$beside_log"
}
trap cleanup EXIT
start_beside() {
	# In a process group of its own, so that an interrupted run can end all of it.
	set -m
	run_niced "$beside" >"$beside_log" 2>&1 &
	beside_pid=$!
	set +m
	echo "meanwhile: make $beside"
}
run_niced() {
	renice -n 19 "$BASHPID" >/dev/null 2>&1
	run "$1"
}
await_beside() {
	local began=$SECONDS result=0
	[ -n "$beside_pid" ] || return 0
	wait "$beside_pid" || result=$?
	beside_pid=''
	title "make $beside (in the background; waited $((SECONDS - began)) s for it)"
	cat "$beside_log"
	return $result
}

passed=0 failed=0 table=() total=$SECONDS step=0
for target; do
	step=$((step + 1))
	[ -z "$beside" ] || [ $step != 2 ] || start_beside
	began=$SECONDS result=ok
	if [ $step = $# ] && ! await_beside; then
		result=FAILED
	else
		title "make $target"
		run "$target" || result=FAILED
	fi
	if [ $result = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
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
