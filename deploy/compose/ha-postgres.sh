#!/bin/sh
# Starts PostgreSQL as the primary or as its standby, as the file /primary says; with `sync` it has commits wait for the standby from when
# that has joined, and never takes that back: then what was acknowledged would be on one server only.
#
# Environment: NODE, this server's name; POSTGRES_PASSWORD; what the image takes.
set -eu
export PGPASSWORD="$POSTGRES_PASSWORD" PGUSER=postgres PGCONNECT_TIMEOUT=3

ask() { psql --no-psqlrc --quiet --tuples-only --no-align --host="$1" --dbname=postgres --command="$2" 2>/dev/null; }

if [ "${1:-}" = sync ]; then
	trap 'exit 0' TERM INT
	while :; do
		primary=$(cat /primary)
		alone=$(ask "$primary" "SELECT current_setting('synchronous_standby_names') = '' AND EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')" || true)
		if [ "$alone" = t ]; then
			ask "$primary" "ALTER SYSTEM SET synchronous_standby_names = '*'"
			ask "$primary" "SELECT pg_reload_conf()" >/dev/null
			echo "commits of $primary wait for its standby"
		fi
		sleep 2 &
		wait $!
	done
fi

# The standby comes as postgres, over a network that nobody else is in.
let_in() {
	grep -q '^host replication postgres' "$PGDATA/pg_hba.conf" || echo 'host replication postgres all scram-sha-256' >>"$PGDATA/pg_hba.conf"
}

primary=$(cat /primary)
if [ "$primary" = "$NODE" ]; then
	if [ -s "$PGDATA/PG_VERSION" ]; then
		let_in
	else
		(
			until [ "$(ask 127.0.0.1 'SELECT 1')" = 1 ]; do sleep 1; done # the cluster is made
			let_in
			ask 127.0.0.1 'SELECT pg_reload_conf()' >/dev/null
		) &
	fi
	if [ -f "$PGDATA/standby.signal" ]; then # it was the standby when it went down
		(until pg_ctl promote --pgdata="$PGDATA" >/dev/null 2>&1; do sleep 1; done) &
	fi
	exec docker-entrypoint.sh "$@"
fi

# A standby that was one goes on. What a former primary has beyond the present one was never acknowledged, and is dropped with the rest.
if [ ! -f "$PGDATA/standby.signal" ]; then
	until [ "$(ask "$primary" 'SELECT NOT pg_is_in_recovery()')" = t ]; do
		echo "waiting for the primary, $primary"
		sleep 1
	done
	find "$PGDATA" -mindepth 1 -delete
	until pg_basebackup --pgdata="$PGDATA" --host="$primary" --write-recovery-conf --wal-method=stream --checkpoint=fast; do
		find "$PGDATA" -mindepth 1 -delete
		sleep 1
	done
	chmod 700 "$PGDATA"
fi
exec docker-entrypoint.sh "$@"
