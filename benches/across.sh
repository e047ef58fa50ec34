#!/usr/bin/env bash
# `make bench BENCH="across --rate 10"`: what a delivery costs on one node with all rooms and sockets,
# and on several nodes over which both are spread, so that (of three) two of three deliveries are on another node
# than their room's owner. The arguments are those of the generator's `fanout`. Everything is a
# throwaway and on loopback: PostgreSQL with a database for each of the two, which run all the time
# and are loaded in turn.
#
# From the environment: NODES, how many the several are (3); ROUNDS of each (3); BENCH_BIN, the folder of the binaries; BENCH_OUT, a
# folder that keeps the reports (none).
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077

bin=${BENCH_BIN:-target/release}
rounds=${ROUNDS:-3}
count=${NODES:-3}
folder=$(mktemp -d /var/tmp/parlance-across-XXXXXX)
title=across
nodes=(one)
for place in $(seq "$count"); do nodes+=("several-$place"); done
database=
. benches/throwaway.sh
. benches/nodes.sh

for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

ended() {
    trap - EXIT
    end_nodes
    [ -z "$database" ] || { kill -s INT "$database" && wait "$database" || true; }
    rm -rf -- "$folder"
}
trap ended EXIT
trap 'exit 130' INT TERM

load() {
    local name=$1 round=$2
    shift 2
    local flags=() node
    for node in "${nodes[@]}"; do
        [ "${node%-?}" = "$name" ] || continue
        flags+=(--url "${urls[$node]}" --server-pid "${pids[$node]}")
    done
    say "round $round of $rounds, $name"
    "$bin/parlance-load" fanout "${flags[@]}" --server-pid "$database" --check \
        --json "$folder/$name.$round.json" "$@" 2>>"$folder/load.log" \
        || { tail -n 5 "$folder/load.log" >&2; fail "this run does not count"; }
}

[ "$count" -ge 2 ] || fail "NODES must be 2 or more, and is $count"
start_database one several
start_nodes
await_balance
for round in $(seq "$rounds"); do
    for name in one several; do load "$name" "$round" "$@"; done
done
[ -z "${BENCH_OUT:-}" ] || { mkdir -p "$BENCH_OUT" && cp "$folder"/*.json "$BENCH_OUT"; }
echo
"$bin/parlance-load" compare --one "$folder"/one.*.json --several "$folder"/several.*.json
