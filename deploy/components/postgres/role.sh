# Runs once, on an empty volume: the role of the services may neither make databases nor is it a superuser.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$PAIRWISE_PASSWORD" <<'SQL'
create role pairwise login password :'password';
create database pairwise owner pairwise;
SQL
