# Shared by the scripts beside it: where things are, how to fail, how to run a node of ours.
# Sourced, never run by itself. Nothing here may print to standard output except results.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
mkdir -p "${LEASEHOLD_CACHE:=$root/.cache}"
cache=$(cd "$LEASEHOLD_CACHE" && pwd -P)
bitcoin_bin=$cache/bitcoin/bin
bitcoind=$bitcoin_bin/bitcoind

say() { printf '%s\n' "$*" >&2; }

# die MESSAGE…: each argument a line; the reader learns what to do next, not only what failed.
die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit "${die_code:-1}"
}
wrong_usage() { die_code=2 die "$@"; }

# Held until the script ends. Two runs in one project may meet, e.g. a demo and a test.
# Close it (9>&-) for what outlives the script, otherwise the lock does too.
lock_cache() {
  command -v flock >/dev/null || return 0
  exec 9>"$cache/lock"
  flock 9
}

# A port nobody listens on, below the range from which the system gives ports by itself.
free_port() {
  local port _
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 10000))
    port_taken "$port" || { echo "$port"; return; }
  done
  die "found no free port between 20000 and 29999"
}
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# write_conf DATADIR [RPCPORT]: what every node of ours needs.
# No peers ever. maxtipage: blocks of last month do not count as "still downloading".
# The self-checks that regtest switches on cost time with every transaction; they test bitcoind, not us.
write_conf() {
  cat >"$1/bitcoin.conf" <<CONF
regtest=1
listen=0
dnsseed=0
rest=1
fallbackfee=0.0001
addresstype=bech32
changetype=bech32
maxtipage=3153600000
keypool=25
dbcache=16
checkmempool=0
checkblockindex=0
CONF
  [ $# -eq 1 ] || printf '[regtest]\nrpcport=%s\n' "$2" >>"$1/bitcoin.conf"
}

cli_of() { # DATADIR ARGUMENT…
  local dir=$1
  shift
  "$bitcoin_bin/bitcoin-cli" -datadir="$dir" "$@"
}

# start_node DATADIR ARGUMENT…: returns when the node answers; its own words when it does not start.
start_node() {
  local dir=$1 log=$1/start.log
  shift
  "$bitcoind" -datadir="$dir" -daemonwait "$@" >"$log" 2>&1 9>&- </dev/null && return
  { cat "$log"; tail -n 30 "$dir/regtest/debug.log" | grep -iE 'error|fail|unable'; } 2>/dev/null |
    sed 's/^/  bitcoind: /' >&2 || true
  die "bitcoind did not start in $dir" "its log: $dir/regtest/debug.log"
}

# stop_node DATADIR: asks, and waits for the process to be gone (only then are its files whole).
# The number in the file may be another process's by now, where a node was killed.
stop_node() {
  local dir=$1 pid _
  pid=$(cat "$dir/regtest/bitcoind.pid" 2>/dev/null) || return 0
  if [ -d /proc/self ] && ! grep -qsF -- "-datadir=$dir" "/proc/$pid/cmdline"; then return 0; fi
  kill -TERM "$pid" 2>/dev/null || return 0
  for _ in {1..600}; do
    kill -0 "$pid" 2>/dev/null || return 0
    # Ended, but its parent (a container's first process, often) has not taken note yet.
    if grep -qs '^State:.Z' "/proc/$pid/status"; then return 0; fi
    sleep 0.05
  done
  die "bitcoind (process $pid) does not stop" "its log: $dir/regtest/debug.log"
}
