# trial.sh - what k8s-test.sh and compose-test.sh share: steps with a bound of time each, a crowd of official clients (test/e2e/crowd.js)
# that chats meanwhile, and the report. Sourced by them, in the repository's root, after these are set:
#
#   all_steps, steps   names of the steps that there are, and of those that are wanted, separated by commas
#   report             file for the report, or nothing
#   results            folder for what is kept until the end
# shellcheck shell=bash

say() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }
# ok TEXT...: something was seen to hold, which the report tells
ok() { echo "ok: $*"; echo "* $*" >>"$results/checks.md"; }
fail() { echo "FAILED: $*" >&2; echo "$*" >"$results/reason"; exit 1; }
# A command that fails where nobody expects it ends the test, too.
set -o errtrace
trap 'echo "\`$BASH_COMMAND\` failed (line $LINENO)" >"$results/reason"' ERR
random() { openssl rand -hex 24; }
for name in ${steps//,/ }; do
	case ,$all_steps, in *,"$name",*) ;; *) echo "unknown step: $name (see --help)" >&2; exit 2 ;; esac
done
# needs PROGRAM...: ends the test where one is missing
needs() {
	local name
	for name; do command -v "$name" >/dev/null || { echo "needs $name" >&2; exit 1; }; done
}
: >"$results/checks.md"

# ---- steps
declare -A outcome=() took=()
current='' began=0 deadline=3600 ended=''
# step NAME SECONDS WHAT: begins a step that has so many seconds, unless it is not wanted; the one before has passed then
step() {
	pass
	case ,$steps, in *,"$1",*) ;; *) return 1 ;; esac
	current=$1 began=$SECONDS deadline=$((SECONDS + $2))
	outcome[$1]=failed
	say "$3"
}
pass() {
	[ -n "$current" ] || return 0
	outcome[$current]=passed took[$current]=$((SECONDS - began)) current=''
	deadline=$((SECONDS + 1800)) # for what is between steps
}
# cannot REASON...: the step that has begun cannot be done here
cannot() {
	echo "not run: $*"
	outcome[$current]="not run: $*" current=''
}
# the_end: nothing is left to do; a test that ends before it has failed, whatever its status
the_end() { pass; ended=1; say "passed"; }
# judge STATUS: the status of a test that ends now
judge() {
	if [ "$1" = 0 ] && [ -z "$ended" ]; then
		echo "it ended before its end" >"$results/reason"
		echo 1
	else
		echo "$1"
	fi
}
# left: seconds that the step still has
left() { echo $((deadline > SECONDS ? deadline - SECONDS : 1)); }
# bounded COMMAND...: within the time of the step
bounded() { timeout --foreground --kill-after 10 "$(left)" "$@"; }

# ---- the end-to-end suite
# suite URL [NAME...]: test files, all of them by default, at a system that runs; JWT_SECRET and API_KEY are its
suite() {
	local url=$1
	shift
	(cd test/e2e && STARLING_URLS=$url,$url,$url bounded node run.js "$@") || fail "the end-to-end suite${1:+ ($*)}"
}

# ---- the crowd: it answers each command when all its clients are served
crowd='' crowd_in='' crowd_out=''
start_crowd() { # URL
	say "clients begin to chat"
	coproc CROWD {
		exec node test/e2e/crowd.js --url="$1" --clients="${CROWD_CLIENTS:-60}" --rate="${CROWD_RATE:-30}" --results="$results/crowd.json" ${CROWD_WAIT:+--longest="$CROWD_WAIT"}
	}
	crowd=$CROWD_PID crowd_out=${CROWD[0]} crowd_in=${CROWD[1]}
	hear
	tell phase nothing # what came before was the start
	sleep 15
}
hear() {
	local answer
	IFS= read -r -t "$(left)" answer <&"$crowd_out" || fail "the clients have gone, or are not served"
	printf '   %s\n' "$answer"
}
# tell COMMAND...: phase NAME; outage NAME, in which clients may wait for longer; end
tell() {
	kill -0 "$crowd" 2>/dev/null || fail "the clients have gone"
	case $1 in end) ;; *) printf -- '-- %s (%ss)\n' "${*:2}" "$SECONDS" ;; esac
	echo "$*" >&"$crowd_in"
	hear
}
end_crowd() {
	[ -n "$crowd" ] || return 0
	local pid=$crowd
	tell phase "nothing again"
	sleep 10
	say "what every client saw, against the history"
	tell end
	crowd=''
	wait "$pid" || fail "what clients saw breaks a promise (above)"
	ok "No acknowledged message was lost, none was delivered or stored twice, and each reached every member of its room."
}
stop_crowd() { [ -z "$crowd" ] || kill "$crowd" 2>/dev/null || true; }

# ---- the report
# write_report STATUS TITLE TEXT: what passed, what did not, what was not run, and what the clients saw
write_report() {
	[ -n "$report" ] || return 0
	local name
	{
		printf '# %s\n\n%s\n\n' "$2" "$3"
		[ "$1" = 0 ] || printf '**It failed**: %s.\n\n' "$(cat "$results/reason" 2>/dev/null || echo "it was interrupted")"
		printf '| step | outcome | s |\n|---|---|--:|\n'
		for name in ${all_steps//,/ }; do printf '| %s | %s | %s |\n' "$name" "${outcome[$name]:-not run}" "${took[$name]:-}"; done
		echo
		cat "$results/checks.md"
		if [ -e "$results/crowd.json" ]; then
			echo
			node test/e2e/crowd.js --table="$results/crowd.json"
		fi
	} >"$report"
	say "the report is in $report"
}
