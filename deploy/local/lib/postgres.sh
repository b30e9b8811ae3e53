# shellcheck shell=bash
# PostgreSQL 15, the stand-in for the warehouse: `loader` owns the database `dw` and is no superuser.

PG_USER=loader
PG_PASSWORD=loader-secret
PG_DATABASE=dw
PG_SUPERUSER_PASSWORD=postgres

# Debian keeps each major version's programs in a folder of their own. 15 is what the product is tested with.
postgres_bin() {
  local dir
  for dir in /usr/lib/postgresql/15/bin $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
    [[ -x $dir/initdb ]] && { printf '%s' "$dir"; return; }
  done
  die "no initdb below /usr/lib/postgresql"
}

init_postgres() {
  local dir=$INSTANCE_DIR/postgres bin
  bin=$(postgres_bin)
  rm -rf "$dir/data.new"
  install -d -o "$SERVER_USER" -m 700 "$dir/data.new"
  printf '%s\n' "$PG_SUPERUSER_PASSWORD" >"$dir/superuser-password"
  as_server_user "$bin/initdb" -D "$dir/data.new" --username=postgres --pwfile="$dir/superuser-password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync --no-instructions \
    >>"$INSTANCE_DIR/postgres.log" 2>&1 </dev/null || return 1
  # Single-user mode needs no listener and no password: the role is there before anyone can connect.
  as_server_user "$bin/postgres" --single -D "$dir/data.new" postgres >>"$INSTANCE_DIR/postgres.log" 2>&1 <<SQL || return 1
CREATE ROLE $PG_USER LOGIN PASSWORD '$PG_PASSWORD'
CREATE DATABASE $PG_DATABASE OWNER $PG_USER
SQL
  mv -T "$dir/data.new" "$dir/data"
}

# A new postmaster refuses to start while its predecessor's pid exists, if only as a zombie that init has not reaped
# (a container's first process may never do so), and must not start beside the predecessor's last backends. All of
# them live in the data folder; when nobody does, the pid file is stale.
await_postgres_gone() {
  local data=$INSTANCE_DIR/postgres/data deadline=$((SECONDS + 20)) cwd busy=yes
  [[ -f $data/postmaster.pid ]] || return 0
  while [[ $busy == yes ]]; do
    busy=no
    for cwd in /proc/[0-9]*/cwd; do
      if [[ $cwd -ef $data ]]; then busy=yes; fi
    done
    ((SECONDS < deadline)) || die "PostgreSQL processes that this script did not start live in $data"
    [[ $busy == no ]] || sleep 0.05
  done
  rm -f "$data/postmaster.pid"
}

start_postgres() {
  await_postgres_gone
  spawn postgres "$(postgres_bin)/postgres" -D "$INSTANCE_DIR/postgres/data" \
    -c listen_addresses=127.0.0.1 -c port="$PG_PORT" -c unix_socket_directories= \
    -c shared_buffers=512MB -c max_wal_size=4GB -c max_connections=200 "${EXTRA_FLAGS[@]}"
}

ready_postgres() {
  "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$PG_PORT"
}
