# shellcheck shell=bash
# Each instance keeps four ports of its own from its first start until `reset`.

FIRST_PORT=20000 # below 32768, where the kernel begins to hand out ports to clients that dial
PORT_SLOTS=1000  # of four ports each

is_port_taken() { # port
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

is_slot_free() { # first port
  local port low high
  read -r low high </proc/sys/net/ipv4/ip_local_port_range || { low=32768; high=60999; }
  for port in "$1" "$(($1 + 1))" "$(($1 + 2))" "$(($1 + 3))"; do
    if ((port >= low && port <= high)) || is_port_taken "$port"; then return 1; fi
  done
}

# The search starts at a place given by the instance's id, so that two homes on one machine rarely meet.
choose_ports() {
  if [[ -f $INSTANCE_DIR/ports ]]; then load_ports; return; fi
  take_lock ports "a choice of ports"
  local taken start slot first=
  taken=" $(find "$LOCAL_HOME" -mindepth 2 -maxdepth 2 -name ports -exec sed -n "s/^MYSQL_PORT=//p" {} + 2>/dev/null | tr "\n" " " || true) "
  start=$(printf '%s' "$INSTANCE_DIR" | sha256sum)
  start=$((16#${start:0:8} % PORT_SLOTS))
  for ((slot = start; slot < start + PORT_SLOTS; slot++)); do
    first=$((FIRST_PORT + slot % PORT_SLOTS * 4))
    if [[ $taken != *" $first "* ]] && is_slot_free "$first"; then break; fi
    first=
  done
  [[ -n $first ]] || die "no four free ports in a row from $FIRST_PORT to $((FIRST_PORT + PORT_SLOTS * 4 - 1))"
  printf 'MYSQL_PORT=%d\nKAFKA_PORT=%d\nKAFKA_CONTROLLER_PORT=%d\nPG_PORT=%d\n' \
    "$first" "$((first + 1))" "$((first + 2))" "$((first + 3))" >"$INSTANCE_DIR/ports.new"
  mv "$INSTANCE_DIR/ports.new" "$INSTANCE_DIR/ports"
  release_lock
  load_ports
}

load_ports() {
  # shellcheck source=/dev/null
  source "$INSTANCE_DIR/ports"
}

port_of() {
  case $1 in
    mysql) printf '%s' "$MYSQL_PORT" ;;
    kafka) printf '%s' "$KAFKA_PORT" ;;
    postgres) printf '%s' "$PG_PORT" ;;
  esac
}
