#!/usr/bin/env bash
# web.sh [FOLDER] - builds the web app (web/) into FOLDER, by default where the gateway embeds it, with compressed copies of its files.
# Nothing is done when it was built from the same sources before. Without Node it says so, and the gateway serves a page that does too.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-gateway/internal/edge/page/app}")

if ! command -v node >/dev/null || ! command -v npm >/dev/null ||
	! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
	echo "note: the web app needs Node 20.19 or newer to be built; the gateway serves a small page instead"
	rm -rf "$out"
	exit 0
fi

# All that the app is made of, and this file.
sources() { find web/package.json web/package-lock.json web/tsconfig.base.json web/client/src web/react/src web/app tools/web.sh -type f -not -path '*/node_modules/*' | LC_ALL=C sort; }
stamp=$(sources | xargs cat | cksum | tr ' ' -)
if [ -f "$out/stamp.txt" ] && [ "$(cat "$out/stamp.txt")" = "$stamp" ]; then
	exit 0
fi

echo "building the web app"
if [ ! -f web/node_modules/.package-lock.json ] || [ web/package-lock.json -nt web/node_modules/.package-lock.json ]; then
	(cd web && npm ci --no-progress --no-audit --no-fund --loglevel=error >/dev/null)
	touch web/node_modules/.package-lock.json
fi
# It comes whole into its place: a Go build may be reading what is there.
new=$PWD/web/dist/app.$$
trap 'rm -rf "$new"' EXIT
(cd web && npx --no-install vite build app --outDir "$new" --emptyOutDir --logLevel warn)
node web/compress.js "$new"
echo "$stamp" >"$new/stamp.txt"
rm -rf "$out"
mv "$new" "$out"
