# shellcheck shell=bash
# Names, paths, messages, locks: what every other part uses.

SERVERS=(mysql kafka postgres)
INSTANCE=${TRIBUTARY_LOCAL_INSTANCE:-default}
LOCAL_HOME=${TRIBUTARY_LOCAL_HOME:-/var/lib/tributary-local}
SOFTWARE=$LOCAL_HOME/software
LOGS=$LOCAL_HOME/logs
# What an instance's three servers take when they are new, and some room to work in.
DISK_WANTED_MB=2048

# mysqld and postgres refuse to run as root. The postgresql package brings this account, so all three run under it;
# a developer who is not root runs them as himself.
SERVER_USER=postgres
BECOME_SERVER_USER=(setpriv "--reuid=$SERVER_USER" "--regid=$SERVER_USER" --init-groups)
if ((EUID != 0)); then
  SERVER_USER=$(id -un)
  BECOME_SERVER_USER=()
fi

die() { printf 'servers: %s\n' "$*" >&2; exit 1; }
usage_error() { printf 'servers: %s (see servers help)\n' "$*" >&2; exit 2; }
say() { printf '%s\n' "$*"; }

is_server() {
  local name
  for name in "${SERVERS[@]}"; do [[ $name == "$1" ]] && return 0; done
  return 1
}

# The data lies outside the checkout because another user cannot enter one below a closed home such as /root.
set_paths() {
  local hash
  hash=$(printf '%s' "$CHECKOUT" | sha256sum)
  CHECKOUT_ID=${hash:0:12}
  INSTANCE_ID=$CHECKOUT_ID-$INSTANCE
  INSTANCE_DIR=$LOCAL_HOME/$INSTANCE_ID
}

make_home() {
  [[ -d $LOCAL_HOME/locks && -d $SOFTWARE && -d $LOGS ]] && return
  mkdir -p "$LOCAL_HOME/locks" "$SOFTWARE" "$LOGS" 2>/dev/null ||
    die "cannot make $LOCAL_HOME; set TRIBUTARY_LOCAL_HOME to a folder you may write to"
}

make_instance_dir() {
  make_home
  [[ -d $INSTANCE_DIR ]] && return
  mkdir -p "$INSTANCE_DIR"
  printf '%s\n' "$CHECKOUT" >"$INSTANCE_DIR/checkout"
}

# Runs the rest under an exclusive lock that ends with this process. Servers must not inherit the descriptor, or they
# would hold the lock as long as they run: see spawn.
take_lock() { # name, what we wait for
  make_home
  local fd
  exec {fd}>"$LOCAL_HOME/locks/$1.lock"
  flock -n "$fd" || { say "waiting for another process to finish: $2"; flock -w 900 "$fd" || die "gave up waiting: $2"; }
  LOCK_FD=$fd
}
release_lock() { exec {LOCK_FD}>&-; }

# As the servers' user, with its groups instead of root's.
as_server_user() { "${BECOME_SERVER_USER[@]}" "$@"; }

# Milliseconds; EPOCHREALTIME costs no process.
now_ms() { local t=${EPOCHREALTIME/[.,]/}; printf '%s' "$((t / 1000))"; }

tail_of() { # log, lines
  printf -- '--- the end of %s:\n' "$1" >&2
  tail -n "${2:-25}" "$1" >&2 || true
}

seconds_since() { local ms=$(($(now_ms) - $1)); printf '%d.%d s' "$((ms / 1000))" "$((ms % 1000 / 100))"; }

# One line a step, the output in a log: a wall of apt lines hides the one that matters.
step() { # what, log, command…
  local what=$1 log=$2 from
  shift 2
  from=$(now_ms)
  # In the background, because bash ignores `set -e` inside a condition, however deep.
  "$@" >"$log" 2>&1 </dev/null &
  wait "$!" || { tail_of "$log"; die "failed: $what"; }
  printf '%-40s %s\n' "$what" "$(seconds_since "$from")"
}
