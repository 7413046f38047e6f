#!/usr/bin/env bash
# check.sh - is everything here that `make test` needs? Says exactly what is missing, all of it at once. On Debian, as
# root, what is a Debian package is installed.
set -euo pipefail

missing=() packages=()

go_wants=$(sed -n 's/^go //p' "$(dirname "$0")/../go.work")
if ! command -v go >/dev/null; then
	missing+=("Go $go_wants or newer: not found on PATH")
else
	go_has=$(go env GOVERSION)
	go_has=${go_has#go}
	[ "$(printf '%s\n' "$go_wants" "${go_has%%[- ]*}" | sort -V | head -1)" = "$go_wants" ] ||
		missing+=("Go $go_wants or newer: this is $go_has")
fi

if ! command -v node >/dev/null; then
	missing+=("Node 20.10 or newer: not found on PATH")
elif ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 10) ? 0 : 1)'; then
	missing+=("Node 20.10 or newer: this is $(node --version)")
fi
command -v npm >/dev/null || missing+=("npm: not found on PATH (it comes with Node)")

# The race detector is C.
if ! command -v "${CC:-cc}" >/dev/null && ! command -v gcc >/dev/null; then
	packages+=(gcc libc6-dev)
fi
command -v git >/dev/null || packages+=(git)

# The same places as platform/pg/pgserver; where there are none it tries a download.
postgres() {
	command -v initdb >/dev/null && return
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return
	compgen -G '/opt/homebrew/opt/postgresql*/bin/initdb' >/dev/null && return
	compgen -G '/usr/local/opt/postgresql*/bin/initdb' >/dev/null
}
postgres || packages+=(postgresql)

# Python's Socket.IO client is one of the official ones that `make conformance` tries; elsewhere that test is skipped.
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] &&
	! /usr/bin/python3 -c 'import socketio, websocket, requests' 2>/dev/null; then
	packages+=(python3-socketio python3-websocket python3-requests)
fi

if [ ${#packages[@]} -gt 0 ]; then
	if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
		echo "installing ${packages[*]}"
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq
		apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
	else
		for p in "${packages[@]}"; do
			if [ "$p" = postgresql ]; then
				echo "note: no PostgreSQL found; its binaries will be downloaded at the first use (or install postgresql)"
			else
				missing+=("$p: not found (apt-get install $p)")
			fi
		done
	fi
fi

if [ ${#missing[@]} -gt 0 ]; then
	echo "missing on this machine:"
	printf '  %s\n' "${missing[@]}"
	exit 1
fi
echo "Go $(go env GOVERSION), Node $(node --version), npm $(npm --version): nothing is missing"
