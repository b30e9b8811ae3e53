# shellcheck shell=bash
# The commands. Those that change an instance hold its lock.

load_flags() { # name; sets EXTRA_FLAGS
  EXTRA_FLAGS=()
  if [[ -s $INSTANCE_DIR/$1.flags ]]; then mapfile -t EXTRA_FLAGS <"$INSTANCE_DIR/$1.flags"; fi
}

# A server that runs out of disk in the middle says so in a hundred ways, none of them plain.
require_disk() {
  local free
  free=$(df --output=avail -BM "$LOCAL_HOME" | tail -n 1 | tr -dc 0-9)
  ((free >= DISK_WANTED_MB)) ||
    die "only $free MB are free at $LOCAL_HOME, and new servers want $DISK_WANTED_MB MB: free some (\`servers reset\`" \
      "deletes an instance's data), or set TRIBUTARY_LOCAL_HOME to a folder on another disk"
}

command_start() { # up or restart
  local name starting pid failed=no
  install_all
  make_instance_dir
  take_lock "$INSTANCE_ID" "instance '$INSTANCE'"
  choose_ports
  if [[ $HAS_EXTRA == yes ]]; then
    printf '%s\n' "${EXTRA[@]}" | sed '/^$/d' >"$INSTANCE_DIR/${NAMES[0]}.flags"
  fi
  for name in "${NAMES[@]}"; do
    if [[ $1 == restart ]] || { is_running "$name" && has_new_flags "$name"; }; then stop_server "$name"; fi
  done
  # Twice, because a server that a test killed a moment ago may have looked alive the first time.
  for _ in 1 2; do
    starting=()
    for name in "${NAMES[@]}"; do
      if ! is_ready "$name"; then start_server "$name" & starting+=("$!"); fi
    done
    for pid in "${starting[@]}"; do wait "$pid" || failed=yes; done
    [[ $failed == no ]] || exit 1
  done
  print_table "${NAMES[@]}"
}

has_new_flags() { ! cmp -s "$INSTANCE_DIR/$1.flags" "$INSTANCE_DIR/$1.started-with" &&
  [[ -s $INSTANCE_DIR/$1.flags || -s $INSTANCE_DIR/$1.started-with ]]; }

# In a process of its own, beside the other servers' starts.
start_server() { # name
  local name=$1 from
  from=$(now_ms)
  while is_running "$name" && [[ $ENDING == yes ]]; do sleep 0.02; done
  if ! is_running "$name"; then
    is_port_taken "$(port_of "$name")" &&
      die "port $(port_of "$name") of $name is taken by another process; \`servers reset\` deletes the data and chooses others"
    load_flags "$name"
    mkdir -p "$INSTANCE_DIR/$name"
    as_server_user test -x "$INSTANCE_DIR/$name" ||
      die "user $SERVER_USER cannot enter $INSTANCE_DIR; set TRIBUTARY_LOCAL_HOME to a folder that all may enter"
    if [[ ! -d $INSTANCE_DIR/$name/data ]]; then
      require_disk
      "init_$name" || { tail_of "$INSTANCE_DIR/$name.log"; die "$name cannot be initialized"; }
      say "$name: initialized in $(seconds_since "$from")"
      from=$(now_ms)
    fi
    printf '%s\n' "${EXTRA_FLAGS[@]}" | sed '/^$/d' >"$INSTANCE_DIR/$name.started-with"
    "start_$name"
  fi
  await_ready "$name" 90
  say "$name: ready in $(seconds_since "$from")"
}

command_stop() { # down or kill
  local name stopping=() failed=no verb=stop_server
  if [[ $1 == kill ]]; then verb=kill_server; fi
  [[ -d $INSTANCE_DIR ]] || return 0
  take_lock "$INSTANCE_ID" "instance '$INSTANCE'"
  load_ports_if_any
  for name in "${NAMES[@]}"; do "$verb" "$name" & stopping+=("$!"); done
  for name in "${stopping[@]}"; do wait "$name" || failed=yes; done
  [[ $failed == no ]]
}

command_reset() { # how many names were given
  local name
  [[ -d $INSTANCE_DIR ]] || return 0
  command_stop down || die "nothing was deleted"
  if (($1 == 0)); then
    rm -rf "$INSTANCE_DIR"
  else
    for name in "${NAMES[@]}"; do
      rm -rf "${INSTANCE_DIR:?}/$name" "$INSTANCE_DIR/$name".{log,pid,ready,started-with}
    done
  fi
  say "deleted the data of ${NAMES[*]} of instance '$INSTANCE'"
}

load_ports_if_any() { if [[ -f $INSTANCE_DIR/ports ]]; then load_ports; fi; }

state_of() {
  if is_ready "$1"; then printf up
  elif is_running "$1"; then printf starting
  else printf down; fi
}

print_table() { # names
  local name
  printf '%-9s %-9s %-22s %-8s %s\n' SERVER STATE ADDRESS PID LOG
  for name in "$@"; do
    is_running "$name" || true
    printf '%-9s %-9s %-22s %-8s %s\n' "$name" "$(state_of "$name")" "127.0.0.1:$(port_of "$name")" "${PID:--}" \
      "$INSTANCE_DIR/$name.log"
  done
}

command_status() {
  local name
  [[ -f $INSTANCE_DIR/ports ]] || { say "instance '$INSTANCE' of $CHECKOUT was never started"; return 1; }
  load_ports
  print_table "${NAMES[@]}"
  for name in "${NAMES[@]}"; do is_ready "$name" || return 1; done
}

command_env() {
  local name
  make_instance_dir
  choose_ports
  mysql_loader
  cat <<ENV
INSTANCE_DIR='$INSTANCE_DIR'
MYSQL_HOST=127.0.0.1
MYSQL_PORT=$MYSQL_PORT
MYSQL_ROOT_PASSWORD=$MYSQL_ROOT_PASSWORD
MYSQL_READER_PASSWORD=$MYSQL_READER_PASSWORD
MYSQL_CLI='$(mysql_cli)'
MYSQLBINLOG='${LOADER[*]} $SOFTWARE/mysql/usr/bin/mysqlbinlog'
KAFKA_PORT=$KAFKA_PORT
KAFKA_CONTROLLER_PORT=$KAFKA_CONTROLLER_PORT
KAFKA_BROKERS=127.0.0.1:$KAFKA_PORT
KCAT_CLI='kcat -b 127.0.0.1:$KAFKA_PORT'
PG_HOST=127.0.0.1
PG_PORT=$PG_PORT
PG_DATABASE=$PG_DATABASE
PG_USER=$PG_USER
PG_PASSWORD=$PG_PASSWORD
PG_SUPERUSER_PASSWORD=$PG_SUPERUSER_PASSWORD
PSQL_CLI='psql postgresql://$PG_USER:$PG_PASSWORD@127.0.0.1:$PG_PORT/$PG_DATABASE'
ENV
  if is_running mysql; then printf 'MYSQL_PID=%s\n' "$PID"; fi
  if is_running kafka; then printf 'KAFKA_PID=%s\n' "$PID"; fi
  if is_running postgres; then printf 'POSTGRES_PID=%s\n' "$PID"; fi
}

command_instances() {
  local dir
  for dir in "$LOCAL_HOME/$CHECKOUT_ID"-*/; do
    dir=${dir%/}
    if [[ -d $dir ]]; then printf '%s\n' "${dir##*/"$CHECKOUT_ID"-}"; fi
  done
}
