#!/usr/bin/env bash
# proto-check.sh - the protos: linted, generated code as it is in the repository, nothing broken for those who use the
# last version.
set -euo pipefail
cd "$(dirname "$0")/../proto"

buf lint
echo "lint: ok"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
buf generate --output "$work"
if ! diff -r gen "$work/gen"; then
	echo "proto/gen is not what the protos say: make proto" >&2
	exit 1
fi
echo "generated code: fresh"

# Against the last release; before there is one, against main, or what main was before its last commit.
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
	exit 0
fi
mkdir "$work/base"
(cd .. && git archive "$base" proto) | tar -x -C "$work/base"
buf breaking --against "$work/base/proto"
echo "breaking changes: none since $(git log -1 --format=%h "$base")"
