#!/usr/bin/env bash
# `make bench BENCH=takeover`: how long rooms wait when their node is killed, against their number. Three nodes; the
# sockets of all rooms are on two of them, and the third, which owns a third of the rooms, is killed with -9 while messages
# are sent to all. What a message waits at most is the takeover, because its latency counts from when it was
# due. Everything is a throwaway and on loopback; each size has new nodes and an empty database.
#
# From the environment: ROOMS of two sockets ("100 1000 5000"); RATE, messages a second in all (500); ROUNDS of each
# (1); BENCH_BIN, the folder of the binaries.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077

bin=${BENCH_BIN:-target/release}
rate=${RATE:-500}
rounds=${ROUNDS:-1}
count=3
top=$(mktemp -d /var/tmp/parlance-takeover-XXXXXX)
folder=$top
title=takeover
nodes=(several-1 several-2 several-3)
database=
. benches/throwaway.sh
. benches/database.sh
. benches/nodes.sh

for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

ended() {
    trap - EXIT
    end_nodes
    end_database
    rm -rf -- "$top"
}
trap ended EXIT
trap 'exit 130' INT TERM

start_database several
printf '\n| rooms of two sockets | rooms awake on the killed node | ack p50 / p99 / longest, ms |\n| ---: | ---: | ---: |\n'
for rooms in ${ROOMS:-100 1000 5000}; do
    for round in $(seq "$rounds"); do
        folder=$top/$rooms-$round
        mkdir "$folder"
        sql postgres -c "DROP DATABASE IF EXISTS several WITH (FORCE)" -c "CREATE DATABASE several"
        start_nodes
        await_balance
        each=$(awk -v all="$rate" -v rooms="$rooms" 'BEGIN { print all / rooms }')
        "$bin/parlance-load" fanout --rooms "$rooms" --members 2 --rate "$each" --url "${urls[several-1]}" --url "${urls[several-2]}" \
            --server-pid "${pids[several-1]}" --server-pid "${pids[several-2]}" --server-pid "$database" --check \
            --warm-up 3 --seconds 20 --json "$folder/run.json" >"$folder/generator" 2>"$folder/said" &
        generator=$!
        # A line a second, from the warm-up on.
        until [ "$(wc -l <"$folder/said")" -ge 10 ] || ! kill -0 "$generator" 2>/dev/null; do sleep 0.1; done
        owned=$(counted several-3 parlance_rooms_awake)
        kill -s KILL "${pids[several-3]}"
        wait "${pids[several-3]}" 2>/dev/null || true
        unset 'pids[several-3]'
        wait "$generator" || { tail -n 5 "$folder/generator" "$folder/said" >&2; say "this run does not count"; }
        printf '| %s | %s | %s |\n' "$rooms" "$owned" "$(sed -n 's|^ack p50.* ms  *\([0-9.]*\) / [0-9.]* / \([0-9.]*\) / [0-9.]* / \([0-9.]*\).*|\1 / \2 / \3|p' "$folder/generator")"
        end_nodes
    done
done
