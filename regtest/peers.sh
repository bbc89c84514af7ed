# What regtest/test and regtest/bench set up alike. Sourced by them, after common.sh.
# shellcheck shell=bash disable=SC2154 # root and bitcoin_bin come from there

stage() { # NAME COMMAND…: runs it here and says how long it took
  local name=$1 began=$SECONDS
  shift
  "$@"
  say "== $name: $((SECONDS - began)) s"
}

get_bitcoind() {
  BITCOIND_EXE=$("$root/regtest/setup")
  BITCOIN_CLI_EXE=$bitcoin_bin/bitcoin-cli
  LEASEHOLD_TEST_DATADIR=$("$root/regtest/template")
  export BITCOIND_EXE BITCOIN_CLI_EXE LEASEHOLD_TEST_DATADIR
}
