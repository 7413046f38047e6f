#!/usr/bin/env bash
# fuzz.sh TIME - runs every fuzz target of the repository for TIME, after its seeds.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?how long each, such as 3s}

count=0
while IFS=: read -r file target; do
	echo "$target in $(dirname "$file")"
	go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" "./$(dirname "$file")"
	count=$((count + 1))
done < <(grep -rEo '^func Fuzz\w+' --include='*_test.go' --exclude-dir=node_modules . | sed 's|^\./||; s/:func /:/' | sort)
echo "$count fuzz targets, $time each"
