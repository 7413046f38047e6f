#!/usr/bin/env bash
# fuzz.sh BOUND - runs every fuzz target of the repository, after its seeds, for BOUND: a number of executions (20000x), or
# a time (5m). A number is for CI: when a time ends, the fuzzing engine of Go may report its own end as a failure of the
# target ("context deadline exceeded", on a busy machine), and a busy machine would try less.
set -euo pipefail
cd "$(dirname "$0")/.."
bound=${1:?for how long each, such as 20000x or 5m}

count=0
while IFS=: read -r file target; do
	echo "$target in $(dirname "$file")"
	go test -run='^$' -fuzz="^$target\$" -fuzztime="$bound" "./$(dirname "$file")"
	count=$((count + 1))
done < <(grep -rEo '^func Fuzz\w+' --include='*_test.go' --exclude-dir=node_modules . | sed 's|^\./||; s/:func /:/' | sort)
echo "$count fuzz targets, $bound each"
