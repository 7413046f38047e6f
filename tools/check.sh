#!/usr/bin/env bash
# check.sh - is everything here that `make test` needs? Says exactly what is missing, all of it at once. On Debian, as
# root, what is a Debian package is installed. What only some tests need, and skip without, is a note at most.
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
	missing+=("Node 20.19 or newer: not found on PATH")
elif ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
	missing+=("Node 20.19 or newer: this is $(node --version)")
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

# Tests that need these are skipped where they are missing, each with a line that says so.
optional=()
PATH=$PATH:/usr/sbin:/usr/local/sbin
/usr/bin/python3 -c 'import socketio, websocket, requests' 2>/dev/null || optional+=(python3-socketio python3-websocket python3-requests)
command -v haproxy >/dev/null || optional+=(haproxy)
command -v nginx >/dev/null || optional+=(nginx-light)
command -v pgbouncer >/dev/null || optional+=(pgbouncer)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
	command -v google-chrome-stable >/dev/null || optional+=(chromium)

debian_root() { command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; }
# Programs are wanted, not daemons: where nobody has decided that yet, none is started.
policy=/usr/sbin/policy-rc.d
install_packages() {
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
if [ $((${#packages[@]} + ${#optional[@]})) -gt 0 ] && debian_root; then
	apt-get update -qq || echo "note: apt-get update failed"
fi

if [ ${#packages[@]} -gt 0 ]; then
	if debian_root; then
		echo "installing ${packages[*]}"
		install_packages "${packages[@]}"
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
if [ ${#optional[@]} -gt 0 ]; then
	if ! debian_root; then
		echo "note: not found, so tests that need them are skipped: ${optional[*]}"
	else
		echo "installing ${optional[*]}"
		install_packages "${optional[@]}" || for p in "${optional[@]}"; do # some may exist, though not all of them
			install_packages "$p" 2>/dev/null || echo "note: $p cannot be installed, so tests that need it are skipped"
		done
	fi
fi

if [ ${#missing[@]} -gt 0 ]; then
	echo "missing on this machine:"
	printf '  %s\n' "${missing[@]}"
	exit 1
fi
echo "Go $(go env GOVERSION), Node $(node --version), npm $(npm --version): nothing is missing"
