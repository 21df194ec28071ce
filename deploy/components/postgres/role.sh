# Runs once, on an empty volume. The services' role is not a superuser and may not create databases.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$PAIRWISE_PASSWORD" <<'SQL'
create role pairwise login password :'password';
create database pairwise owner pairwise;
SQL
