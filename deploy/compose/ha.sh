#!/usr/bin/env bash
# ha.sh - PostgreSQL with a synchronous standby under Docker Compose (deploy/compose/ha.yml)
#
# Usage: ha.sh status | failover
#
#   status     who is the primary, and whether commits wait for the standby
#   failover   the standby takes over, whether the primary lives or not; the former primary becomes its standby by a fresh copy
#
# Nothing acknowledged is lost while `status` says "sync". From a failover until the new standby has joined, one server commits alone.
# COMPOSE_FILE and COMPOSE_PROJECT_NAME are heeded.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
export COMPOSE_FILE=${COMPOSE_FILE:-docker-compose.yml:deploy/compose/ha.yml}
primary=deploy/compose/primary
compose() { docker compose --project-directory "$PWD" "$@"; }

# in_server SERVICE SQL: by TCP, since the image may ask for the password at its socket, too
in_server() {
	compose exec -T -e "SQL=$2" "$1" sh -c \
		'PGPASSWORD=$POSTGRES_PASSWORD psql --no-psqlrc --quiet --tuples-only --no-align --host=127.0.0.1 --username=postgres --dbname=postgres --command="$SQL"'
}

case ${1:-} in
status)
	echo "primary: $(<$primary)"
	in_server "$(<$primary)" "SELECT 'standby: ' || client_addr || ', ' || state || ', ' || sync_state FROM pg_stat_replication"
	;;
failover)
	old=$(<$primary)
	case $old in postgres) new=postgres-2 ;; postgres-2) new=postgres ;; *) echo "$primary says $old" >&2; exit 1 ;; esac
	[ "$(in_server "$new" 'SELECT pg_is_in_recovery()')" = t ] || { echo "$new is no standby" >&2; exit 1; }
	# It must not come back as a primary, whatever becomes of the rest.
	echo "$new" >$primary
	compose stop --timeout 2 "$old" || compose kill "$old"
	in_server "$new" "ALTER SYSTEM SET synchronous_standby_names = ''"
	compose exec -T "$new" sh -c 'pg_ctl promote --wait --pgdata="$PGDATA"' >/dev/null
	in_server "$new" "SELECT pg_reload_conf()" >/dev/null
	echo "$new is the primary"
	compose up --no-deps -d "$old"
	;;
-h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" ;;
*)
	echo "status or failover (see --help)" >&2
	exit 2
	;;
esac
