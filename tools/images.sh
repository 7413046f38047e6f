#!/usr/bin/env bash
# images.sh - the images of others that Starling is built from and runs beside, and their digests.
#
# Usage: images.sh [list | pin | check | unpin]
#
#   list    every image, the file that names it, and whether it has a digest (the default)
#   pin     ask the registries for the digests of the tags as they are now, and write them into the files
#   check   fail where a digest is missing
#   unpin   remove the digests, for a machine with images of its own
#
# Only pin needs a network, and one of docker with buildx, crane and skopeo.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

files=(docker-compose.yml deploy/compose/ha.yml deploy/docker/Dockerfile deploy/helm/starling/values.yaml)
# What stands before an image: `image:` in YAML, FROM and the syntax line in a Dockerfile.
before='([[:space:]]*image:[[:space:]]+|FROM[[:space:]]+--platform=[^[:space:]]+[[:space:]]+|FROM[[:space:]]+|#[[:space:]]*syntax=)'
image='[a-z0-9][a-z0-9._/-]*:[A-Za-z0-9._-]+'
digest='@sha256:[0-9a-f]{64}'

# found prints file, line and image, with its digest, of every image; the project's own are built, not pulled.
found() {
	local file
	for file in "${files[@]}"; do
		grep -nE "^$before$image" "$file" | sed -E "s%^([0-9]+):$before($image($digest)?).*%$file \1 \3%" | grep -v ' starling/' || true
	done
}

digest_of() {
	if docker buildx version >/dev/null 2>&1; then
		docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"
	elif command -v crane >/dev/null; then
		crane digest "$1"
	elif command -v skopeo >/dev/null; then
		skopeo inspect --raw "docker://$1" | sha256sum | sed 's/^/sha256:/; s/ .*//'
	else
		echo "pin needs docker with buildx, crane or skopeo" >&2
		return 1
	fi
}

case ${1:-list} in
list)
	found | while read -r file line name; do
		case $name in
		*@*) printf '%-60s %s:%s\n' "${name%%@*}  ${name#*@}" "$file" "$line" ;;
		*) printf '%-60s %s:%s\n' "$name  by tag" "$file" "$line" ;;
		esac
	done
	;;
pin)
	names=$(found | cut -d' ' -f3 | sed 's/@.*//' | sort -u)
	edits=''
	# All of them are asked for before a file is changed.
	for name in $names; do
		now=$(digest_of "$name")
		[[ $now =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "$name: the registry gave no digest: $now" >&2; exit 1; }
		echo "$name $now"
		edits+="s%^($before)${name//./\\.}($digest)?([[:space:]]|\$)%\1$name@$now\4%;"
	done
	sed -E -i "$edits" "${files[@]}"
	;;
check)
	missing=$(found | grep -v '@' || true)
	[ -z "$missing" ] || { printf 'without a digest (tools/images.sh pin):\n%s\n' "$missing" >&2; exit 1; }
	;;
unpin) sed -E -i "s%^($before$image)$digest%\1%" "${files[@]}" ;;
-h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" ;;
*)
	echo "unknown argument: $1 (see --help)" >&2
	exit 2
	;;
esac
