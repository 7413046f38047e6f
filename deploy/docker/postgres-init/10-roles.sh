#!/bin/sh
# Runs once, when the database is made: a schema and two roles for each service.
#
#   starling_<service>_owner  owns the schema and everything in it; used by the one-shot migration only
#   starling_<service>        what the running service is: reads and writes rows, no DDL, no other schema
#
# A password changed later must also be changed here: ALTER ROLE starling_chat PASSWORD '...'.
set -eu

psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SQL

# The passwords reach psql by its environment, never by the arguments, which ps would show.
add() {
	SERVICE=$1 OWNER_PASSWORD=$DB_OWNER_PASSWORD PASSWORD=$2 \
		psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv service SERVICE
\getenv owner_password OWNER_PASSWORD
\getenv password PASSWORD
SELECT 'starling_' || :'service' AS app, 'starling_' || :'service' || '_owner' AS owner, current_database() AS db \gset
CREATE ROLE :"owner" LOGIN PASSWORD :'owner_password';
CREATE ROLE :"app" LOGIN PASSWORD :'password';
GRANT CONNECT ON DATABASE :"db" TO :"owner", :"app";
CREATE SCHEMA :"service" AUTHORIZATION :"owner";
GRANT USAGE ON SCHEMA :"service" TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service" GRANT USAGE, SELECT ON SEQUENCES TO :"app";
ALTER ROLE :"owner" IN DATABASE :"db" SET search_path = :"service";
ALTER ROLE :"app" IN DATABASE :"db" SET search_path = :"service";
SQL
}

add auth "$AUTH_DB_PASSWORD"
add chat "$CHAT_DB_PASSWORD"
add presence "$PRESENCE_DB_PASSWORD"
