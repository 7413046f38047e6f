#!/usr/bin/env bash
# steps.sh [--beside 'STEP…'] STEP... - runs the make targets STEP... one after the other, each with its name and time, and
# stops at the first failure.
#
# The steps after --beside are run in the background from the second step on, one after the other at the lowest priority: for
# what only computes, while the other steps wait most of the time. What they say is shown at the end, or when one has failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

beside=()
if [ "${1:-}" = --beside ]; then
	read -ra beside <<<"$2"
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

passed=0 failed=0 table=()
# note STEP RESULT SECONDS
note() {
	if [ "$2" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	table+=("$(printf '%-12s %-7s %4d s%s' "$1" "$2" "$3" "${4:-}")")
}

dir=$(mktemp -d)
beside_pid=''
cleanup() {
	[ -z "$beside_pid" ] || kill -- "-$beside_pid" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
# Leaves STEP.log of each that has begun, and STEP.done, the result and the time, of each that has ended.
run_beside() {
	local began result target
	renice -n 19 "$BASHPID" >/dev/null 2>&1
	for target in "${beside[@]}"; do
		began=$SECONDS result=ok
		run "$target" >"$dir/$target.log" 2>&1 || result=FAILED
		echo "$result $((SECONDS - began))" >"$dir/$target.done"
		[ $result = ok ] || return 1
	done
}
start_beside() {
	echo "meanwhile: make ${beside[*]}"
	# In a process group of its own, so that an interrupted run can end all of it.
	set -m
	run_beside &
	beside_pid=$!
	set +m
}
# Whether a step in the background has failed by now.
failed_beside() { [ -n "$beside_pid" ] && grep -qs FAILED "$dir"/*.done; }
# end_beside shows what was done in the background; unless something failed before, it waits for the rest.
end_beside() {
	local began=$SECONDS target result seconds
	[ -n "$beside_pid" ] || return 0
	if [ $failed = 0 ]; then
		wait "$beside_pid"
		beside_pid=''
		echo "waited $((SECONDS - began)) s for the steps in the background"
	fi
	for target in "${beside[@]}"; do
		[ -e "$dir/$target.done" ] || continue
		title "make $target"
		cat "$dir/$target.log"
		read -r result seconds <"$dir/$target.done"
		note "$target" "$result" "$seconds" ', in the background'
	done
}

total=$SECONDS count=$((${#beside[@]} + $#)) step=0
for target; do
	step=$((step + 1))
	[ ${#beside[@]} = 0 ] || [ $step != 2 ] || start_beside
	began=$SECONDS result=ok
	title "make $target"
	run "$target" || result=FAILED
	note "$target" "$result" $((SECONDS - began))
	if [ $failed != 0 ] || failed_beside; then break; fi
done
end_beside
line
printf '%s\n' "${table[@]}"
left=$((count - passed - failed))
[ $left = 0 ] || echo "not run to the end after the failure: $left"
printf '%-12s         %4d s\n' total $((SECONDS - total))
echo "steps: $passed passed, $failed failed"
[ $failed = 0 ] && [ $left = 0 ]
