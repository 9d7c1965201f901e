#!/bin/bash
# One database a service, an owner role for migrations and an app role that works in it. Runs once, when the
# data directory is empty. The passwords come from the secrets of compose.
set -euo pipefail
for service in lead_intake qualification sales_feedback attribution; do
  psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    -v owner="${service}_owner" -v app="$service" -v database="baton_$service" \
    -v owner_password="$(cat "/run/secrets/${service}_owner_password")" \
    -v app_password="$(cat "/run/secrets/${service}_password")" <<'SQL'
CREATE ROLE :"owner" LOGIN PASSWORD :'owner_password';
CREATE ROLE :"app" LOGIN PASSWORD :'app_password';
ALTER ROLE :"app" SET transaction_timeout = '60s';
GRANT pg_read_all_stats TO :"app";
CREATE DATABASE :"database" OWNER :"owner";
\connect :"database"
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO :"owner", :"app";
GRANT USAGE ON SCHEMA public TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT ALL ON SEQUENCES TO :"app";
SQL
done
