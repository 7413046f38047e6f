#!/bin/sh
# A schema and two roles for each service, with the passwords and rights that they are to have. It may run any number of times: it makes
# what is missing, and brings what is there into line, so that a changed password is taken over.
#
#   starling_<service>_owner  owns the schema and everything in it; used by the one-shot migration only
#   starling_<service>        what the running service is: reads and writes rows, no DDL, no other schema, no other database
#
# Environment: POSTGRES_USER and POSTGRES_DB; AUTH_DB_PASSWORD and AUTH_DB_OWNER_PASSWORD, and the same of CHAT and PRESENCE;
# PGHOST and PGPASSWORD where psql needs them. DB_OWNER_PASSWORD stands for owners' passwords that are not given.
set -eu

# Nobody connects to a database without being named. Databases of others on the same server are left alone.
psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', d.datname) FROM pg_database d
WHERE pg_has_role(d.datdba, 'USAGE') AND (d.datname = current_database() OR d.datname IN ('postgres', 'template1') AND NOT EXISTS (
  SELECT FROM pg_database o WHERE o.datname NOT IN (current_database(), 'postgres', 'template0', 'template1'))) \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SQL

# The passwords reach psql by its environment, never by the arguments, which ps would show.
roles() {
	SERVICE=$1 PASSWORD=$2 OWNER_PASSWORD=$3 \
		psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv service SERVICE
\getenv owner_password OWNER_PASSWORD
\getenv password PASSWORD
SELECT 'starling_' || :'service' AS app, 'starling_' || :'service' || '_owner' AS owner, current_database() AS db \gset
SET client_min_messages = warning;
SELECT format('CREATE ROLE %I', r) FROM unnest(ARRAY[:'owner', :'app']) r WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) \gexec
ALTER ROLE :"owner" LOGIN PASSWORD :'owner_password';
ALTER ROLE :"app" LOGIN PASSWORD :'password';
GRANT CONNECT ON DATABASE :"db" TO :"owner", :"app";
CREATE SCHEMA IF NOT EXISTS :"service" AUTHORIZATION :"owner";
GRANT USAGE ON SCHEMA :"service" TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service" GRANT USAGE, SELECT ON SEQUENCES TO :"app";
ALTER ROLE :"owner" IN DATABASE :"db" SET search_path = :"service";
ALTER ROLE :"app" IN DATABASE :"db" SET search_path = :"service";
SQL
}

roles auth "$AUTH_DB_PASSWORD" "${AUTH_DB_OWNER_PASSWORD:-$DB_OWNER_PASSWORD}"
roles chat "$CHAT_DB_PASSWORD" "${CHAT_DB_OWNER_PASSWORD:-$DB_OWNER_PASSWORD}"
roles presence "$PRESENCE_DB_PASSWORD" "${PRESENCE_DB_OWNER_PASSWORD:-$DB_OWNER_PASSWORD}"
