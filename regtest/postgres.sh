# One PostgreSQL for one test run: own folder, own port, no care for its data. Sourced by regtest/test.
# Sets LEASEHOLD_TEST_POSTGRES, a URL of its maintenance database. Must leave nothing behind.
# shellcheck shell=bash
# shellcheck source=common.sh disable=SC2154 # root and cache come from there

pg_dir='' pg_pid=''

pg_bin() { # the folder of the newest initdb and postgres
  local dir
  dir=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1) || true
  [ -x "$dir/postgres" ] || dir=$(dirname "$(type -P postgres)") 2>/dev/null || return 1
  [ -x "$dir/initdb" ] && echo "$dir"
}

start_postgres() {
  local bin port password old _
  # PostgreSQL refuses to run as root.
  local as_user=() keeper=()
  [ "$(id -u)" != 0 ] || as_user=(setpriv --reuid=postgres --regid=postgres --init-groups)
  # So that it ends even when this script is killed with SIGKILL. Its death signal is forgotten when
  # the user changes, so this comes after as_user.
  if type -P setpriv >/dev/null; then keeper=(setpriv --pdeathsig QUIT); fi
  bin=$(pg_bin)

  for old in "${TMPDIR:-/tmp}"/leasehold-pg.*; do # of runs killed in that way
    kill -0 "$(cut -d. -f2 <<<"${old##*/}")" 2>/dev/null || rm -rf "$old" 2>/dev/null || true
  done
  pg_dir=$(mktemp -d "${TMPDIR:-/tmp}/leasehold-pg.$$.XXXXXX")
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  echo "$password" >"$pg_dir/password"
  [ "$(id -u)" != 0 ] || chown -R postgres: "$pg_dir"
  cd "$pg_dir" || return # that user may not be allowed to stand where we are
  "${as_user[@]}" "$bin/initdb" -D "$pg_dir/data" -U leasehold --pwfile="$pg_dir/password" \
    --auth-local=trust --auth-host=password --no-locale --encoding=UTF8 --no-sync \
    >"$cache/postgres.log" 2>&1 || pg_failed "initdb failed"
  port=$(free_port)
  # A plain command, not a function: $! must be the server itself, and this script its parent.
  "${as_user[@]}" "${keeper[@]}" "$bin/postgres" -D "$pg_dir/data" -k "$pg_dir" -p "$port" \
    -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c max_connections=400 -c shared_buffers=64MB -c log_min_messages=fatal \
    >>"$cache/postgres.log" 2>&1 </dev/null &
  pg_pid=$!
  cd "$root" || return

  for _ in {1..300}; do
    if "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; then
      export LEASEHOLD_TEST_POSTGRES="postgres://leasehold:$password@127.0.0.1:$port/postgres"
      return
    fi
    kill -0 "$pg_pid" 2>/dev/null || pg_failed "the server ended at once"
    sleep 0.1
  done
  pg_failed "not ready after 30 s"
}

pg_failed() {
  tail -n 8 "$cache/postgres.log" | sed 's/^/  /' >&2
  die "the temporary PostgreSQL did not start: $1"
}

# For a trap: never fails, works at any point of the above.
stop_postgres() {
  if [ -n "$pg_pid" ]; then
    kill -QUIT "$pg_pid" 2>/dev/null || true # at once: nobody wants its data
    wait "$pg_pid" 2>/dev/null || true
  fi
  [ -z "$pg_dir" ] || rm -rf "$pg_dir"
}
