# shellcheck shell=bash
# Processes: started so that they outlive this script, known by pid and start time, ended by pid only.

# A pid alone may belong to someone else by now; with its start time it cannot. A killed process whose first thread is
# a zombie still holds its port while other threads end: it is ENDING, and gone only with the last of them.
start_time_of() { # pid; sets START_TIME and ENDING, fails if the process is gone
  local stat fields
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }"
  ENDING=no
  if [[ ${fields[0]} == [ZX] ]]; then
    ((fields[17] > 1)) || return 1
    ENDING=yes
  fi
  START_TIME=${fields[19]}
}

is_running() { # name; sets PID and ENDING
  local recorded
  PID=
  [[ -f $INSTANCE_DIR/$1.pid ]] || return 1
  read -r PID recorded <"$INSTANCE_DIR/$1.pid" || true
  if [[ -n $PID ]] && start_time_of "$PID" && [[ $START_TIME == "$recorded" ]]; then return 0; fi
  PID=
  return 1
}

# Ready is remembered for one process, so that a second `up` asks no server anything.
is_ready() { # name
  is_running "$1" && [[ $ENDING == no ]] && cmp -s "$INSTANCE_DIR/$1.pid" "$INSTANCE_DIR/$1.ready"
}

# Its own session and none of our descriptors: the caller's terminal, pipes and locks must not live as long as the
# server does (a test harness waits for the end of its pipe).
spawn() { # name, command…
  local name=$1 log=$INSTANCE_DIR/$1.log pid
  shift
  (
    local fd number
    for fd in /proc/self/fd/*; do
      number=${fd##*/}
      if ((number > 2)); then eval "exec $number>&-"; fi
    done
    cd "$INSTANCE_DIR/$name" || exit 1
    exec setsid "${BECOME_SERVER_USER[@]}" env HOME="$PWD" "$@"
  ) >>"$log" 2>&1 </dev/null &
  pid=$!
  disown "$pid"
  start_time_of "$pid" || START_TIME=gone
  printf '%s %s\n' "$pid" "$START_TIME" >"$INSTANCE_DIR/$name.pid"
}

# Waits for `ready_NAME`, not for a time; a server that died is reported at once.
await_ready() { # name, seconds
  local name=$1 deadline=$((SECONDS + $2))
  until "ready_$name"; do
    if ! is_running "$name"; then
      tail_of "$INSTANCE_DIR/$name.log"
      die "$name ended while it was starting"
    fi
    if ((SECONDS > deadline)); then
      tail_of "$INSTANCE_DIR/$name.log"
      signal_and_wait "$name" KILL 10 || true
      die "$name did not answer on port $(port_of "$name") within $2 s"
    fi
    sleep 0.05
  done
  is_running "$name" || die "$name ended, yet another process answers on port $(port_of "$name")"
  cp "$INSTANCE_DIR/$name.pid" "$INSTANCE_DIR/$name.ready"
}

signal_and_wait() { # name, signal, seconds
  local name=$1 deadline=$((SECONDS + $3))
  is_running "$name" || return 0
  kill -s "$2" "$PID" 2>/dev/null || true
  while is_running "$name"; do
    ((SECONDS <= deadline)) || return 1
    sleep 0.02
  done
  rm -f "$INSTANCE_DIR/$name.pid" "$INSTANCE_DIR/$name.ready"
}

stop_server() { # name
  local signal=TERM from
  # Without SIGINT ("fast") PostgreSQL waits for its clients to leave.
  if [[ $1 == postgres ]]; then signal=INT; fi
  is_running "$1" || return 0
  from=$(now_ms)
  if ! signal_and_wait "$1" "$signal" 60; then
    say "$1 did not stop within 60 s: killed"
    signal_and_wait "$1" KILL 10 || die "$1 (pid $PID) cannot be killed"
  fi
  say "$1: stopped in $(seconds_since "$from")"
}

kill_server() { # name
  is_running "$1" || { say "$1: not running"; return 0; }
  signal_and_wait "$1" KILL 10 || die "$1 (pid $PID) cannot be killed"
  say "$1: killed"
}
