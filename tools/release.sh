#!/usr/bin/env bash
# release.sh - what a release consists of beside its images. .github/workflows/release.yml calls it; so can you.
#
# Usage: release.sh COMMAND VERSION [FOLDER]
#
#   version TAG          the version that a tag v1.2.3 or v1.2.3-rc.1 stands for
#   notes VERSION        the section of CHANGELOG.md for it; fails where there is none
#   archives VERSION FOLDER
#                        the programs for every platform of PLATFORMS (linux/amd64 linux/arm64), a .tar.gz each
#   chart VERSION FOLDER the Helm chart with that version, a .tgz (needs helm)
#   checksums VERSION FOLDER
#                        SHA256SUMS of what is in the folder
#
# The same commit makes the same archives: times are those of the commit, and paths of the machine are left out.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }
valid='^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$'

case ${1:-} in
-h | --help | '') usage; exit ;;
esac
command=$1 version=${2:-} out=${3:-}
if [ "$command" = version ]; then
	[[ $version == v* && ${version#v} =~ $valid ]] || { echo "$version is no tag such as v1.2.3" >&2; exit 1; }
	echo "${version#v}"
	exit
fi
[[ $version =~ $valid ]] || { echo "$version is no version such as 1.2.3 (see --help)" >&2; exit 2; }
if [ "$command" != notes ]; then
	[ -n "$out" ] || { echo "$command needs a folder (see --help)" >&2; exit 2; }
	mkdir -p "$out"
	out=$(readlink -f "$out")
fi

case $command in
notes)
	awk -v want="## $version" '$0 == want || index($0, want " ") == 1 { on = 1; next } /^## / { on = 0 } on' CHANGELOG.md | sed -e '/./,$!d' >"${TMPDIR:-/tmp}/notes.$$"
	trap 'rm -f "${TMPDIR:-/tmp}/notes.$$"' EXIT
	[ -s "${TMPDIR:-/tmp}/notes.$$" ] || { echo "CHANGELOG.md has no section \"## $version\"" >&2; exit 1; }
	cat "${TMPDIR:-/tmp}/notes.$$"
	;;
archives)
	time=$(git log -1 --format=%ct)
	for platform in ${PLATFORMS:-linux/amd64 linux/arm64}; do
		name=starling_${version}_${platform/\//_}
		dir=$(mktemp -d)
		mkdir "$dir/$name"
		for program in starling:deploy/local gateway:gateway/cmd/gateway auth-service:auth-service/cmd/auth-service \
			chat-service:chat-service/cmd/chat-service presence-service:presence-service/cmd/presence-service; do
			CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} go build -trimpath -buildvcs=false \
				-ldflags "-s -w -buildid= -X github.com/starling-chat/starling/platform/obs.version=$version" \
				-o "$dir/$name/${program%%:*}" "./${program#*:}"
		done
		cp README.md CHANGELOG.md SECURITY.md deploy/systemd/starling.service deploy/systemd/starling.env "$dir/$name/"
		tar --create --directory "$dir" --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner "$name" | gzip -9n >"$out/$name.tar.gz"
		rm -rf "$dir"
	done
	;;
chart)
	helm package deploy/helm/starling --version "$version" --app-version "$version" --destination "$out" >/dev/null
	;;
checksums)
	rm -f "$out/SHA256SUMS"
	(cd "$out" && sha256sum -- * >"$out/.sums" && mv .sums SHA256SUMS)
	;;
*)
	echo "unknown command: $command (see --help)" >&2
	exit 2
	;;
esac
