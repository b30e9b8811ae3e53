# shellcheck shell=bash
# MySQL as a source has it: row binlog, GTIDs, row metadata at the server's default (MINIMAL).

MYSQL_ROOT_PASSWORD=root
MYSQL_READER_PASSWORD=reader-secret

# Its libc is newer than this system's, so its programs run under its own loader.
mysql_loader() { # sets LOADER
  local p=$SOFTWARE/mysql/usr found
  found=("$p"/lib64/ld-linux-*.so.* "$p"/lib/ld-linux-*.so.*)
  [[ -e ${found[0]} ]] || found=("${found[@]:1}")
  LOADER=("${found[0]}" --library-path "$(printf '%s\n' "$p"/lib/*-linux-gnu)")
}

mysqld_command() { # data folder; sets COMMAND
  local p=$SOFTWARE/mysql
  mysql_loader
  COMMAND=(
    "${LOADER[@]}" "$p/usr/sbin/mysqld"
    --no-defaults --basedir="$p/usr" --datadir="$1"
    --lc-messages-dir="$p/usr/share/mysql" --character-sets-dir="$p/usr/share/mysql/charsets"
    --plugin-dir="$p/usr/lib/mysql/plugin" --secure-file-priv= --mysqlx=OFF
    # A socket's path may be too long, and nobody needs it.
    --socket=
    --bind-address=127.0.0.1 --port="$MYSQL_PORT" --skip-name-resolve
    --server-id=1 --log-bin=binlog --gtid-mode=ON --enforce-gtid-consistency=ON
    --innodb-buffer-pool-size=512M --innodb-redo-log-capacity=128M --max-allowed-packet=64M
  )
}

# The initialization makes the accounts, so that no data folder lacks them; without a binlog, so that gtid_executed
# begins empty.
init_mysql() {
  local new=$INSTANCE_DIR/mysql/data.new flag fixed=()
  rm -rf "$new"
  install -d -o "$SERVER_USER" -m 755 "$new"
  cat >"$INSTANCE_DIR/mysql/initialize.sql" <<SQL
ALTER USER 'root'@'localhost' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
CREATE USER 'root'@'127.0.0.1' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
CREATE USER 'reader'@'%' IDENTIFIED BY '$MYSQL_READER_PASSWORD';
GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'%';
USE mysql;
SQL
  # Named time zones, as a hosted server has them.
  mysql_loader
  "${LOADER[@]}" "$SOFTWARE/mysql/usr/bin/mysql_tzinfo_to_sql" /usr/share/zoneinfo \
    >>"$INSTANCE_DIR/mysql/initialize.sql" 2>>"$INSTANCE_DIR/mysql.log" || return 1
  # These can be chosen at initialization only; the others wait for the real start.
  for flag in "${EXTRA_FLAGS[@]}"; do
    [[ $flag =~ ^--(lower[-_]case|innodb[-_](page[-_]size|data[-_]file)) ]] && fixed+=("$flag")
  done
  mysqld_command "$new"
  as_server_user "${COMMAND[@]}" --initialize-insecure --init-file="$INSTANCE_DIR/mysql/initialize.sql" \
    --disable-log-bin --gtid-mode=OFF --enforce-gtid-consistency=OFF "${fixed[@]}" >>"$INSTANCE_DIR/mysql.log" 2>&1 </dev/null || return 1
  mv -T "$new" "$INSTANCE_DIR/mysql/data"
}

start_mysql() {
  mysqld_command "$INSTANCE_DIR/mysql/data"
  spawn mysql "${COMMAND[@]}" "${EXTRA_FLAGS[@]}"
}

mysql_cli() { printf 'mysql -h127.0.0.1 -P%s -uroot -p%s' "$MYSQL_PORT" "$MYSQL_ROOT_PASSWORD"; }

ready_mysql() {
  is_port_taken "$MYSQL_PORT" && $(mysql_cli) --connect-timeout=5 -e 'DO 1' >/dev/null 2>&1
}
