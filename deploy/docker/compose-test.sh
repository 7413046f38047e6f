#!/usr/bin/env bash
# compose-test.sh - docker-compose.yml for real: three gateways behind the balancer, what accounts and containers must not be able to
# do, the end-to-end suite, and official clients that chat while every container is restarted and killed, gateways come and go,
# and everything goes down and comes up again over its data. Everything it made is removed again, whatever happens; images that it
# built stay, for --no-build.
#
# Usage: compose-test.sh [--keep] [--no-build] [--by-tag] [--steps=LIST] [--report=FILE] [SUITE...]
#
#   --keep         leave the containers running (prints how to remove them)
#   --no-build     take the images as they are
#   --by-tag       ignore the digests of others' images, for a machine with images of its own under their tags
#   --steps=LIST   all of them by default, in this order:
#                    suite     the end-to-end suite, through the balancer
#                    requests  gateways come and go under plain requests
#                    restarts  every container is restarted, one after the other
#                    kills     every container is killed; NATS and PostgreSQL stay away for 10 s
#                    scale     gateways from 3 to 1, 5 and 3
#                    volume    NATS loses its volume
#                    down      down, and up again over the data
#                    ha        two more NATS servers and a standby for PostgreSQL (deploy/compose/ha.yml); each server is killed
#   --report=FILE  write the report there, as Markdown
#   SUITE          names of test files in test/e2e, without .test.js; all of them by default
#
# The load: CROWD_CLIENTS clients (60), CROWD_RATE messages a second of all of them (30), CROWD_WAIT seconds that no client may wait for an
# ack while a part that there are several of goes away (unset: the report tells, and nothing fails).
#
# Needs docker with the compose plugin, node, npm, openssl and curl. Where no engine answers and the shared scripts for machines
# without a registry lie beside the repository (../shared/docker), they start one with stand-ins for the images.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

all_steps=suite,requests,restarts,kills,scale,volume,down,ha
keep='' build=--build by_tag='' steps=$all_steps report='' suites=()
for arg; do
	case $arg in
	--keep) keep=1 ;;
	--no-build) build='' ;;
	--by-tag) by_tag=1 ;;
	--steps=*) steps=${arg#*=} ;;
	--report=*) report=${arg#*=} ;;
	-h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
	-*) echo "unknown argument: $arg (see --help)" >&2; exit 2 ;;
	*) suites+=("$arg") ;;
	esac
done
results=$(mktemp -d)
. deploy/trial.sh
needs node npm curl openssl

# ---- the engine
engine=../shared/docker
if ! docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || ! docker compose version >/dev/null 2>&1; then
	[ -x "$engine/engine.sh" ] || { echo "needs docker with the compose plugin, and a daemon that answers" >&2; exit 1; }
	say "starting an engine"
	"$engine/engine.sh"
	"$engine/standins.sh"
fi

# ---- settings: those of the suite, fresh secrets, and none of the user's .env
project=starling-test-$$
port=$(node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})')
API_KEY=$(random) JWT_SECRET=$(random) KEY_ENCRYPTION_SECRET=$(random) POSTGRES_PASSWORD=$(random)
export API_KEY JWT_SECRET KEY_ENCRYPTION_SECRET POSTGRES_PASSWORD
for name in AUTH CHAT PRESENCE; do export "${name}_DB_PASSWORD=$(random)" "${name}_DB_OWNER_PASSWORD=$(random)"; done
for name in GATEWAY PRESENCE BACKEND; do export "${name}_SERVICE_TOKEN=$(random)"; done
for name in AUTH CHAT PRESENCE GATEWAY ROUTE; do export "NATS_${name}_PASSWORD=$(random)"; done
export AUTH_AUTO_PROVISION=true REGISTRATION=true GUESTS=true FRONTEND_URL=http://app.example.test,http://localhost:5173
# The suite's clients come from one address, Docker's bridge.
export LIMIT_EXEMPT_NETWORKS=10.0.0.0/8,172.16.0.0/12,192.168.0.0/16
export STARLING_PORT=$port STARLING_BIND=127.0.0.1 STARLING_VERSION=compose-test
file=docker-compose.yml
if [ -n "$by_tag" ]; then
	file=$results/docker-compose.yml
	sed -E "s/@sha256:[0-9a-f]{64}//" deploy/docker/Dockerfile >"$results/Dockerfile"
	sed -E "s/@sha256:[0-9a-f]{64}//; s%^( *dockerfile:).*%\1 $results/Dockerfile%" docker-compose.yml >"$file"
fi
volumes() { docker volume ls --quiet | sort; }
volumes >"$results/volumes"
files=(--file "$file")
compose() { bounded docker compose --project-name "$project" --project-directory "$PWD" "${files[@]}" --env-file /dev/null "$@"; }
cp deploy/compose/primary "$results/primary" # which a failover changes

about() {
	local base
	base=$(docker image inspect --format '{{index .Config.Labels "standin"}}' postgres:17-alpine 2>/dev/null || true)
	cat <<END
Written by \`make compose-test\` (\`deploy/docker/compose-test.sh\`) on $(date -u +%Y-%m-%d) of commit $(git rev-parse --short HEAD): Docker $(docker version --format '{{.Server.Version}}'),
compose $(docker compose version --short), $(nproc) CPUs${base:+, stand-ins for the public images}. Three gateways, one of everything else; the clients run on the same machine.
END
}

finish() {
	local status=$? left
	trap - EXIT INT TERM ERR
	status=$(judge $status)
	stop_crowd
	deadline=$((SECONDS + 600))
	if [ $status != 0 ]; then
		say "FAILED; the last lines of each container"
		compose ps --all || true
		compose logs --no-color --tail 60 2>&1 | cut -c1-400 || true
	fi
	write_report $status "docker-compose.yml, run" "$(about)" || true
	if [ -n "$keep" ]; then
		echo "left running: docker compose -p $project down -v"
	else
		say "removing everything"
		compose down --volumes --remove-orphans --timeout 5 >/dev/null 2>&1 || true
		left=$(for kind in "container ls --all" "volume ls" "network ls"; do docker $kind --quiet --filter "label=com.docker.compose.project=$project"; done)
		left+=$(volumes | comm -13 "$results/volumes" -) # images may ask for some without a name
		[ -z "$left" ] || { echo "left behind: $left" >&2; status=1; }
	fi
	cp "$results/primary" deploy/compose/primary
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
# A container that cannot be started, or is not healthy within the time, is an error.
up() { compose up --detach --wait --wait-timeout 600 --no-recreate --scale "gateway=$1" >"$results/up.log" 2>&1 || { cat "$results/up.log" >&2; fail "docker compose up"; }; }
up 3
ok "Up and healthy with three gateways after $((SECONDS - started)) s."
url=http://127.0.0.1:$port
curl -fsS --max-time 5 -o /dev/null "$url/"

# ---- least privilege, seen from inside
say "what must not be possible"
refused() {
	if "${@:2}" >"$results/out" 2>&1; then cat "$results/out" >&2; fail "$1 was possible"; fi
	grep -qi 'denied\|permission\|authentication failed\|must be\|bad address\|unable to resolve\|not resolve\|timed out\|404' "$results/out" || { cat "$results/out" >&2; fail "$1 failed for another reason"; }
	ok "Refused: $1."
}
as() { compose exec -T -e PGPASSWORD="$2" postgres psql -h postgres -U "$1" -d starling -v ON_ERROR_STOP=1 -qtA "${@:3}"; } # ROLE PASSWORD FLAG...
as starling_chat "$CHAT_DB_PASSWORD" -c 'SELECT count(*) FROM rooms' >/dev/null
as starling_chat "$CHAT_DB_PASSWORD" -c 'SELECT count(*) FROM goose_db_version' >/dev/null
refused "a change of the table of migrations by a running service" as starling_chat "$CHAT_DB_PASSWORD" -c 'DELETE FROM goose_db_version'
refused "another database for a service" as starling_chat "$CHAT_DB_PASSWORD" -d postgres -c 'SELECT 1'
refused "another database for an owner" as starling_chat_owner "$CHAT_DB_OWNER_PASSWORD" -d template1 -c 'SELECT 1'
refused "one owner's password for another" as starling_auth_owner "$CHAT_DB_OWNER_PASSWORD" -c 'SELECT 1'
[ "$(as postgres "$POSTGRES_PASSWORD" -c 'SHOW data_checksums')" = on ] || fail "PostgreSQL's pages have no checksums"
for service in auth chat presence; do
	password=${service^^}_DB_PASSWORD
	as "starling_$service" "${!password}" -c 'SELECT 1' >/dev/null || fail "$service's role cannot log in"
	refused "DDL by running $service-service" as "starling_$service" "${!password}" -c 'CREATE TABLE t (a int)'
	for other in auth chat presence; do
		[ $other != $service ] || continue
		refused "the schema of $other for $service" as "starling_$service" "${!password}" -c "SELECT count(*) FROM $other.goose_db_version"
		refused "the role of $other for $service" as "starling_$service" "${!password}" -c "SET ROLE starling_$other"
	done
	refused "the owner's role for $service" as "starling_$service" "${!password}" -c "SET ROLE starling_${service}_owner"
	refused "a program of the machine for $service" as "starling_$service" "${!password}" -c "COPY (SELECT 1) TO PROGRAM 'true'"
done
refused "PostgreSQL's address for the balancer" compose exec -T lb wget -T 2 -O /dev/null http://postgres:5432/
refused "the metrics from outside" curl -fsS --max-time 5 "$url/metrics"
# nats WORDS...: what NATS answers to a client that sends them, by its own protocol
nats() { compose exec -T nats sh -c "{ printf '%s\r\n' \"\$@\"; sleep 2; } | timeout 10 nc 127.0.0.1 4222" sh "$@" >"$results/out" 2>&1 || true; }
login() { echo "CONNECT {\"verbose\":false,\"user\":\"$1\",\"pass\":\"$2\"}"; }
if compose exec -T nats sh -c 'command -v nc' >/dev/null 2>&1; then
	nats "$(login gateway "$NATS_GATEWAY_PASSWORD")" PING
	grep -q PONG "$results/out" || { cat "$results/out" >&2; fail "a gateway's password is not taken by NATS"; }
	denies() { # WHAT WORDS...
		nats "${@:2}" PING
		grep -qi 'authorization violation\|permissions violation' "$results/out" || { cat "$results/out" >&2; fail "NATS lets $1"; }
		ok "NATS does not let $1."
	}
	denies "a client without a password in" 'CONNECT {"verbose":false}'
	denies "the password of another service in" "$(login chat-service "$NATS_GATEWAY_PASSWORD")"
	denies "a gateway publish what rooms say" "$(login gateway "$NATS_GATEWAY_PASSWORD")" 'PUB room.v1.x 2' '{}'
	denies "auth-service read what clients send" "$(login auth-service "$NATS_AUTH_PASSWORD")" 'SUB client.v1.> 1'
	denies "presence-service read a room" "$(login presence-service "$NATS_PRESENCE_PASSWORD")" 'SUB room.v1.> 1'
	denies "chat-service remove the stream" "$(login chat-service "$NATS_CHAT_PASSWORD")" 'PUB $JS.API.STREAM.DELETE.ROOMS 0' ''
else
	echo "not tried, for NATS's image has no nc: what its accounts must not do"
fi

# ---- what containers are, seen from the engine
say "containers"
for id in $(compose ps --all --quiet); do
	name=$(docker inspect -f '{{index .Config.Labels "com.docker.compose.service"}}' "$id")
	read -r readonly memory processes privileged <<<"$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.Privileged}}' "$id")"
	[ "$readonly $privileged" = "true false" ] && [ "$memory" -gt 0 ] && [ "$processes" -gt 0 ] || fail "$name: root read-only $readonly, memory $memory, processes $processes, privileged $privileged"
	docker inspect -f '{{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}' "$id" | grep -q '^\[ALL\] .*no-new-privileges' || fail "$name keeps capabilities, or may gain privileges"
	pid=$(docker inspect -f '{{.State.Pid}}' "$id")
	[ "$pid" != 0 ] && [ -r "/proc/$pid/status" ] || continue # it has ended, or runs on another machine
	read -r uid caps gains <<<"$(awk '/^Uid:/ {uid = $3} /^CapEff:/ {caps = $2} /^NoNewPrivs:/ {gains = $2} END {print uid, caps, gains}' "/proc/$pid/status")"
	[ "$uid" != 0 ] && [ "$caps" = 0000000000000000 ] && [ "$gains" = 1 ] || fail "$name runs as $uid with the capabilities $caps, no_new_privs $gains"
	echo "$name runs as $uid, without capabilities, within $memory bytes and $processes processes"
done
ok "No container that goes on runs as root, has a capability or may gain one, writes to its image, or has no limit of memory and processes."

# ---- the suite
(cd test/e2e && bounded npm ci --no-audit --no-fund --loglevel=error)
if step suite 5400 "the end-to-end suite through the balancer"; then
	suite "$url" "${suites[@]}"
	ok "The end-to-end suite passes${suites[0]:+ (${suites[*]})}."
fi

# ---- gateways come and go under requests
if step requests 1200 "requests while gateways stop and start"; then
	: >"$results/codes"
	touch "$results/load"
	while [ -e "$results/load" ]; do
		curl -s -o /dev/null --max-time 10 -w '%{http_code}\n' "$url/healthz" >>"$results/codes" || true
		sleep 0.05
	done &
	load=$!
	up 1
	up 3
	rm "$results/load"
	wait "$load"
	sort "$results/codes" | uniq -c
	! grep -qv '^200$' "$results/codes" || fail "requests were lost"
	ok "$(wc -l <"$results/codes") requests, each answered with 200, while two gateways stopped and started."
fi

# denied: what the log says about permissions
denied() {
	compose logs --no-color 2>/dev/null | grep -i 'permissions violation\|permission denied' | grep -v '^postgres\|^nats' >"$results/denied" || true
	[ ! -s "$results/denied" ] || { head -5 "$results/denied" >&2; fail "a service lacks a right"; }
}

# ---- clients that chat while parts of it go away
pass
! [[ $steps =~ restarts|kills|scale|volume|down|ha ]] || start_crowd "$url"
for how in restarts kills; do
	step $how 3600 "every container ($how)" || continue
	for service in gateway chat-service presence-service auth-service lb nats postgres; do
		i=0
		for id in $(compose ps -q "$service"); do
			i=$((i + 1)) kind=outage name=$service
			[ $service != gateway ] || kind=phase name="gateway $i"
			if [ $how = restarts ]; then
				tell $kind "$name is restarted"
				bounded docker restart --time 60 "$id" >/dev/null
			else
				away=0
				case $service in nats | postgres) away=10 ;; esac
				tell $kind "$name is killed$([ $away = 0 ] || echo " and away for $away s")"
				bounded docker kill "$id" >/dev/null
				sleep $away
				bounded docker start "$id" >/dev/null
			fi
			up 3
		done
	done
done
if step scale 1800 "scaled"; then
	for n in 1 5 3; do
		tell phase "scaled to $n gateways"
		up $n
	done
fi
if step volume 900 "NATS loses its volume"; then
	tell outage "NATS loses its volume"
	compose rm --stop --force nats nats-volume >/dev/null 2>&1
	bounded docker volume rm "${project}_nats" >/dev/null
	up 3
	ok "NATS comes up with an empty volume, and clients go on."
fi
if step down 1800 "down, and up again over the same data"; then
	denied
	tell outage "down, and up again"
	compose down --timeout 60 >/dev/null 2>&1
	up 3
fi
if step ha 1800 "three NATS servers and a standby for PostgreSQL"; then
	denied
	tell outage "two NATS servers and a standby are added"
	files+=(--file deploy/compose/ha.yml)
	# Containers that exist get what changed for them.
	compose up --detach --wait --wait-timeout 600 --scale gateway=3 >"$results/up.log" 2>&1 || { cat "$results/up.log" >&2; fail "docker compose up with ha.yml"; }
	ha() { COMPOSE_PROJECT_NAME=$project COMPOSE_FILE=$file:deploy/compose/ha.yml bounded deploy/compose/ha.sh "$@"; }
	synchronous() { # until commits are on both servers
		until ha status 2>/dev/null | grep -q ', sync$'; do
			[ "$SECONDS" -lt "$deadline" ] || fail "the standby does not join"
			sleep 1
		done
	}
	synchronous
	for service in nats nats-2 nats-3; do
		id=$(compose ps -q $service)
		tell outage "$service of three is killed and away for 8 s"
		bounded docker kill "$id" >/dev/null
		sleep 8
		bounded docker start "$id" >/dev/null
		up 3
	done
	tell outage "PostgreSQL is killed, and the standby takes over"
	bounded docker kill "$(compose ps -q "$(<deploy/compose/primary)")" >/dev/null
	ha failover
	synchronous
	tell outage "PostgreSQL goes over to the standby"
	ha failover
	synchronous
	up 3
	ok "Each of three NATS servers was killed, and PostgreSQL failed over twice, to a standby that has every commit."
fi
pass
end_crowd
denied
the_end
