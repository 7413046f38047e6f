#!/usr/bin/env bash
# steps.sh STAGE... - runs make targets, each with its name and time, and stops at the first failure.
#
#   steps.sh check 'unit | conformance e2e | nice lint' attack-short
#
# Stages run one after the other. A stage is one lane or more, with | between them, which run at the same time; the steps of a
# lane run one after the other. What the first lane says is shown as it comes, what the steps of another one say in one piece,
# when they and the first lane's step have ended. A lane that begins with the word nice has the lowest priority: it is for what
# only computes, beside what waits most of the time.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

line() { printf '%s\n' '--------------------------------------------------------------------------------'; }
title() {
	line
	echo "make $1"
	line
}
# One at a time, whatever -j says, and nothing of the caller's ARGS or PKG; tests do not wait for a keyboard.
run() { MAKEFLAGS='' make "$1" ARGS= PKG= </dev/null; }

passed=0 failed=0 table=()
# note STEP RESULT SECONDS
note() {
	if [ "$2" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	table+=("$(printf '%-15s %-7s %4d s' "$1" "$2" "$3")")
}

dir=$(mktemp -d)
groups=()
cleanup() {
	local group
	for group in "${groups[@]}"; do kill -- "-$group" 2>/dev/null; done
	rm -rf "$dir"
}
trap cleanup EXIT

shown() {
	local began=$SECONDS result=ok
	title "$1"
	run "$1" || result=FAILED
	note "$1" $result $((SECONDS - began))
}
# hidden STEP... runs a lane and leaves STEP.log of each step that has begun, and STEP.done, result and seconds, of each that has ended.
hidden() {
	local began result step
	if [ "$1" = nice ]; then
		renice -n 19 "$BASHPID" >/dev/null 2>&1
		shift
	fi
	for step; do
		began=$SECONDS result=ok
		run "$step" >"$dir/$step.log" 2>&1 || result=FAILED
		echo "$result $((SECONDS - began))" >"$dir/$step.new"
		mv "$dir/$step.new" "$dir/$step.done"
		[ $result = ok ] || return
	done
}
# Shows what has ended in the other lanes since the last time.
report() {
	local done step result seconds
	for done in "$dir"/*.done; do
		[ -e "$done" ] || continue
		step=$(basename "$done" .done)
		title "$step"
		cat "$dir/$step.log"
		read -r result seconds <"$done"
		note "$step" "$result" "$seconds"
		rm "$done"
	done
}
stage() {
	local lanes lane step
	IFS='|' read -ra lanes <<<"$1"
	[ ${#lanes[@]} = 1 ] || echo "at the same time: $1"
	# In process groups of their own, so that an interrupted run can end all of them.
	set -m
	for lane in "${lanes[@]:1}"; do
		# shellcheck disable=SC2086 # a lane is a list of words
		hidden $lane &
		groups+=($!)
	done
	set +m
	for step in ${lanes[0]}; do
		shown "$step"
		report
		[ $failed = 0 ] || return
	done
	while [ ${#groups[@]} -gt 0 ]; do
		wait -n "${groups[@]}"
		report
		[ $failed = 0 ] || return
		mapfile -t groups < <(jobs -pr)
	done
	report
}

# Every word of the stages but | and nice.
count=$(tr ' |' '\n\n' <<<"$*" | grep -cvx 'nice\|')
total=$SECONDS
for argument; do
	stage "$argument"
	[ $failed = 0 ] || break
done
line
printf '%s\n' "${table[@]}"
left=$((count - passed - failed))
[ $left = 0 ] || echo "not run to the end after the failure: $left"
printf '%-15s         %4d s\n' total $((SECONDS - total))
echo "steps: $passed passed, $failed failed"
[ $failed = 0 ] && [ $left = 0 ]
