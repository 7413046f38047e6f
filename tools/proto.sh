#!/usr/bin/env bash
# proto.sh generate - lints the protos, generates proto/gen, looks for breaking changes, notes a checksum of all of it.
# proto.sh check    - is everything as generate left it? If the checksum says so, nothing has to be built to know; otherwise,
#                     or with FULL=1, lint, generate into a temporary folder and compare, look for breaking changes.
#
# BREAKING=1 lets breaking changes pass.
set -euo pipefail
cd "$(dirname "$0")/../proto"
export PATH="$PWD/../bin:$PATH"
note=.generated

# Of the protos, their settings, the versions of the tools, and what was generated: names and contents.
checksum() {
	find . ../tools/go.mod ../tools/go.sum -type f \
		\( -name '*.proto' -o -name 'buf*.yaml' -o -path './gen/*' -o -path './cmd/openapi/*' -o -path '../tools/*' \) |
		LC_ALL=C sort | while read -r file; do printf '%s ' "$file"; git hash-object "$file"; done | git hash-object --stdin
}

# Against the last release; before there is one, against main, or what main was before its last commit.
breaking() {
	local base=''
	base=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)
	if [ -z "$base" ]; then
		for ref in origin/main main; do
			if base=$(git rev-parse --verify --quiet "$ref^{commit}"); then break; fi
		done
		if [ -n "$base" ] && [ "$base" = "$(git rev-parse HEAD)" ] && git diff --quiet HEAD -- .; then
			base=$(git rev-parse --verify --quiet HEAD^ || true)
		fi
	fi
	if [ -z "$base" ] || ! git rev-parse --verify --quiet "$base:proto/buf.yaml" >/dev/null; then
		echo "breaking changes: nothing to compare with in this clone"
		return
	fi
	mkdir "$work/base"
	(cd .. && git archive "$base" proto) | tar -x -C "$work/base"
	if buf breaking --against "$work/base/proto"; then
		echo "breaking changes: none since $(git log -1 --format=%h "$base")"
	elif [ -n "${BREAKING:-}" ]; then
		echo "breaking changes: let pass"
	else
		echo "clients of $(git log -1 --format=%h "$base") would break (BREAKING=1 lets it pass)" >&2
		return 1
	fi
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case ${1:-} in
generate)
	make -C .. proto-tools
	buf lint
	buf generate
	go run ./cmd/openapi gen/openapi/starling.swagger.json
	breaking
	checksum >"$note"
	;;
check)
	if [ -z "${FULL:-}" ] && [ "$(checksum)" = "$(cat "$note" 2>/dev/null)" ]; then
		echo "protos and generated code are as \`make proto\` left them"
		exit
	fi
	make -C .. proto-tools
	buf lint
	buf generate --output "$work"
	go run ./cmd/openapi "$work/gen/openapi/starling.swagger.json"
	if ! diff -r gen "$work/gen"; then
		echo "proto/gen is not what the protos say: make proto" >&2
		exit 1
	fi
	breaking
	echo "linted, fresh; \`make proto\` would note it, so that the next check takes no time"
	;;
*)
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2
	exit 2
	;;
esac
