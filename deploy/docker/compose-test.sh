#!/usr/bin/env bash
# compose-test.sh - docker-compose.yml for real: three gateways behind the balancer, the end-to-end suite through it,
# and a rolling stop of gateways; everything it made is removed again, whatever happens.
#
# Usage: compose-test.sh [--keep] [--no-build] [--by-tag] [SUITE...]
#
#   --keep       leave the containers running (prints how to remove them)
#   --no-build   take the images as they are
#   --by-tag     ignore the digests of others' images, for a machine with images of its own under their tags
#   SUITE        names of test files in test/e2e, without .test.js; all of them by default
#
# Needs docker with the compose plugin, node and npm. Where no engine answers and the shared scripts for machines
# without a registry lie beside the repository (../shared/docker), they start one with stand-ins for the images.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

keep='' build=--build by_tag='' suites=()
for arg; do
	case $arg in
	--keep) keep=1 ;;
	--no-build) build='' ;;
	--by-tag) by_tag=1 ;;
	-h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
	-*) echo "unknown argument: $arg (see --help)" >&2; exit 2 ;;
	*) suites+=("$arg") ;;
	esac
done
say() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

# ---- the engine
engine=../shared/docker
if ! docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || ! docker compose version >/dev/null 2>&1; then
	[ -x "$engine/engine.sh" ] || { echo "needs docker with the compose plugin, and a daemon that answers" >&2; exit 1; }
	say "starting an engine"
	"$engine/engine.sh"
	"$engine/standins.sh"
fi
for tool in node npm curl openssl; do
	command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 1; }
done

# ---- settings: those of the suite, fresh secrets, and none of the user's .env
project=starling-test-$$
port=$(node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})')
random() { openssl rand -hex 24; }
API_KEY=$(random) JWT_SECRET=$(random) KEY_ENCRYPTION_SECRET=$(random) POSTGRES_PASSWORD=$(random)
export API_KEY JWT_SECRET KEY_ENCRYPTION_SECRET POSTGRES_PASSWORD
for name in AUTH CHAT PRESENCE; do export "${name}_DB_PASSWORD=$(random)" "${name}_DB_OWNER_PASSWORD=$(random)"; done
for name in GATEWAY PRESENCE BACKEND; do export "${name}_SERVICE_TOKEN=$(random)"; done
for name in AUTH CHAT PRESENCE GATEWAY; do export "NATS_${name}_PASSWORD=$(random)"; done
export AUTH_AUTO_PROVISION=true REGISTRATION=true FRONTEND_URL=http://app.example.test,http://localhost:5173
# The suite's clients come from one address, Docker's bridge.
export LIMIT_EXEMPT_NETWORKS=10.0.0.0/8,172.16.0.0/12,192.168.0.0/16
export STARLING_PORT=$port STARLING_BIND=127.0.0.1 STARLING_VERSION=compose-test
results=$(mktemp -d)
file=docker-compose.yml
if [ -n "$by_tag" ]; then
	file=$results/docker-compose.yml
	sed -E "s/@sha256:[0-9a-f]{64}//" deploy/docker/Dockerfile >"$results/Dockerfile"
	sed -E "s/@sha256:[0-9a-f]{64}//; s%^( *dockerfile:).*%\1 $results/Dockerfile%" docker-compose.yml >"$file"
fi
compose() { docker compose --project-name "$project" --project-directory "$PWD" --file "$file" --env-file /dev/null "$@"; }

finish() {
	status=$?
	trap - EXIT INT TERM
	if [ $status != 0 ]; then
		say "FAILED; the last lines of each container"
		compose ps --all || true
		compose logs --no-color --tail 60 2>&1 | cut -c1-400 || true
	fi
	if [ -n "$keep" ]; then
		echo "left running: docker compose -p $project down -v"
	else
		say "removing everything"
		compose down --volumes --remove-orphans --timeout 5 >/dev/null 2>&1 || true
	fi
	rm -rf "$results"
	exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---- up
if [ -n "$build" ]; then
	say "building the images"
	compose build --quiet
fi
say "starting with three gateways"
started=$SECONDS
compose up --detach --wait --wait-timeout 600 --scale gateway=3
echo "up after $((SECONDS - started)) s"
url=http://127.0.0.1:$port
curl -fsS --max-time 5 -o /dev/null "$url/"

# ---- least privilege, seen from inside
say "what must not be reachable"
refused() {
	what=$1; shift
	if "$@" >"$results/out" 2>&1; then echo "FAILED: $what was possible" >&2; cat "$results/out" >&2; exit 1; fi
	echo "ok: $what is refused"
}
as() { role=$1 password=$2; shift 2; compose exec -T -e PGPASSWORD="$password" postgres psql -h postgres -U "$role" -d starling -v ON_ERROR_STOP=1 -qtA "$@"; }
as starling_chat "$CHAT_DB_PASSWORD" -c 'SELECT count(*) FROM rooms' >/dev/null
as starling_chat "$CHAT_DB_PASSWORD" -c 'SELECT count(*) FROM goose_db_version' >/dev/null
refused "a change of the table of migrations by a running service" as starling_chat "$CHAT_DB_PASSWORD" -c 'DELETE FROM goose_db_version'
refused "another database for a service" as starling_chat "$CHAT_DB_PASSWORD" -d postgres -c 'SELECT 1'
refused "another database for an owner" as starling_chat_owner "$CHAT_DB_OWNER_PASSWORD" -d template1 -c 'SELECT 1'
refused "one owner's password for another" as starling_auth_owner "$CHAT_DB_OWNER_PASSWORD" -c 'SELECT 1'
[ "$(as postgres "$POSTGRES_PASSWORD" -c 'SHOW data_checksums')" = on ] || { echo "FAILED: PostgreSQL's pages have no checksums" >&2; exit 1; }
refused "DDL by a running service" as starling_chat "$CHAT_DB_PASSWORD" -c 'CREATE TABLE t (a int)'
refused "another service's schema" as starling_chat "$CHAT_DB_PASSWORD" -c 'SELECT count(*) FROM auth.goose_db_version'
refused "PostgreSQL's address for the balancer" compose exec -T lb wget -q -T 2 -O /dev/null http://postgres:5432/
refused "the metrics from outside" curl -fsS --max-time 5 "$url/metrics"

# ---- the suite
say "the end-to-end suite through the balancer"
(
	cd test/e2e
	npm ci --no-audit --no-fund --loglevel=error
	STARLING_URLS=$url,$url,$url npm test -- "${suites[@]}"
)

# ---- gateways come and go under requests
say "requests while gateways stop and start"
: >"$results/codes"
touch "$results/load"
while [ -e "$results/load" ]; do
	curl -s -o /dev/null --max-time 10 -w '%{http_code}\n' "$url/healthz" >>"$results/codes" || true
	sleep 0.05
done &
load=$!
compose up --detach --wait --no-recreate --scale gateway=1 >/dev/null 2>&1
compose up --detach --wait --no-recreate --scale gateway=3 >/dev/null 2>&1
rm "$results/load"
wait "$load"
sort "$results/codes" | uniq -c
if grep -qv '^200$' "$results/codes"; then echo "FAILED: requests were lost" >&2; exit 1; fi

# ---- what the log says about permissions
if compose logs --no-color 2>/dev/null | grep -i 'permissions violation\|permission denied' | grep -v '^postgres' >"$results/denied"; then
	echo "FAILED: a service lacks a right" >&2
	head -5 "$results/denied" >&2
	exit 1
fi
say "passed"
