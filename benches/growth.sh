#!/usr/bin/env bash
# `make bench BENCH="growth [PART …]"`: what a delivery costs, what a node holds and how long it takes to start
# while something grows. Everything is a throwaway and on loopback, on one PostgreSQL; each run has a new
# node and an empty database. Parts, all without arguments:
#   rooms      10, 100 and 1,000 rooms of ten sockets, and 5,000 of two; the same messages a second in all
#   asleep     100 rooms of ten sockets beside 1,000 … others that the node knows of, and its start
#   members    one room of 10 … 10,000 sockets
#
# From the environment: RATE, messages a second in all rooms together (500); ASLEEP, the rooms of `asleep`
# ("1000 10000 100000"); MEMBERS ("10 100 1000 10000"); SECONDS measured (6); WARM_UP (2); BENCH_BIN.
measured=${SECONDS:-0} # bash counts in it from 0 when nothing was given
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
[ "$measured" -gt 0 ] || measured=6
bin=${BENCH_BIN:-target/release}
rate=${RATE:-500}
warm_up=${WARM_UP:-2}
title=growth
folder=$(mktemp -d /var/tmp/parlance-growth-XXXXXX)
database=
node=
. benches/throwaway.sh
. benches/database.sh

for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

end_node() {
    [ -z "$node" ] || { kill -s TERM "$node" 2>/dev/null && wait "$node" || true; }
    node=
}

ended() {
    trap - EXIT
    end_node
    end_database
    rm -rf -- "$folder"
}
trap ended EXIT
trap 'exit 130' INT TERM

# Starts the node on $folder/data; `url` and `took`, the milliseconds until it answers.
start_node() {
    local begun line
    rm -f "$folder/out"
    mkfifo "$folder/out"
    begun=$(date +%s%N)
    "$bin/parlance" serve --data-dir "$folder/data" --listen 127.0.0.1:0 --log-level warn \
        --set "database.url=postgres://parlance@127.0.0.1:$postgres_port/growth" \
        --set auth.register_per_minute=0 --set auth.login_per_minute=0 --set http.requests_per_second=0 \
        --set http.max_connections_per_address=0 --set http.upgrades_per_second=0 \
        >"$folder/out" 2>"$folder/log" &
    node=$!
    read -r line <"$folder/out" || { tail -n 5 "$folder/log" >&2; fail "the node did not start"; }
    took=$((($(date +%s%N) - begun) / 1000000))
    url=${line#listening on }
}

new_node() {
    end_node
    rm -rf "$folder/data"
    sql postgres -c "DROP DATABASE IF EXISTS growth WITH (FORCE)" -c "CREATE DATABASE growth" -c CHECKPOINT
    start_node
}

resident_mib() { awk '/^VmRSS/ { printf "%d", $2 / 1024 }' "/proc/$node/status"; }

# One row of a table: the generator's own words for cost and latency.
load() {
    local head=$1
    shift
    "$bin/parlance-load" "$@" --url "$url" --server-pid "$node" --server-pid "$database" --check \
        --warm-up "$warm_up" --seconds "$measured" --json "$folder/run.json" >"$folder/generator" 2>&1 \
        || { tail -n 5 "$folder/generator" >&2; say "this run does not count"; }
    local own store p50 p99
    own=$(sed -n 's/.*"cpu_us_per_delivery": *\([0-9.]*\).*/\1/p' "$folder/run.json" | sed -n 1p)
    store=$(sed -n 's/.*"cpu_us_per_delivery": *\([0-9.]*\).*/\1/p' "$folder/run.json" | sed -n 2p)
    read -r p50 p99 < <(sed -n 's|^delivery p50.*ms *\([0-9.]*\) / [0-9.]* / \([0-9.]*\) /.*|\1 \2|p' "$folder/generator")
    LC_ALL=C printf '| %s | %.1f | %.1f | %s / %s | %s |\n' "$head" "${own:-0}" "${store:-0}" "${p50:-?}" "${p99:-?}" "$(resident_mib)"
}

columns='µs a delivery, node | PostgreSQL | p50 / p99 ms | node, MiB |'

rooms() {
    printf '\n| rooms × sockets, %s messages a second in all | %s\n| --- | ---: | ---: | ---: | ---: |\n' "$rate" "$columns"
    local shape each
    for shape in 10x10 100x10 1000x10 5000x2; do
        new_node
        each=$(awk -v all="$rate" -v rooms="${shape%x*}" 'BEGIN { print all / rooms }')
        load "${shape/x/ × }" fanout --rooms "${shape%x*}" --members "${shape#*x}" --rate "$each"
    done
}

# So many rooms that nobody talks in, with a message in each.
others() {
    "$bin/parlance-load" history --rooms "$1" --length 1 --page 1 --connections 1 --rate 1 --url "$url" --server-pid "$node" --warm-up 0 --seconds 1 \
        >"$folder/generator" 2>&1 || { tail -n 5 "$folder/generator" >&2; fail "the rooms were not made"; }
    local made
    made=$(query growth "SELECT count(*) FROM main.room")
    [ "$made" -ge "$1" ] || fail "$1 rooms were to be made, and $made are there"
}

asleep() {
    printf '\n| rooms that the node knows | start, ms | after it, MiB | %s\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n' "$columns"
    local count
    for count in ${ASLEEP:-1000 10000 100000}; do
        new_node
        others "$count"
        end_node
        start_node
        load "$count | $took | $(resident_mib)" fanout --rooms 100 --members 10 --rate "$(awk -v all="$rate" 'BEGIN { print all / 100 }')"
    done
}

members() {
    printf '\n| sockets in the room | messages a second | %s\n| ---: | ---: | ---: | ---: | ---: | ---: |\n' "$columns"
    local count each
    for count in ${MEMBERS:-10 100 1000 10000}; do
        new_node
        # At most 20,000 deliveries a second, so that no core is full.
        each=$((20000 / count > 20 ? 20 : 20000 / count))
        load "$count | $each" big-room --members "$count" --rate "$each"
    done
}

start_database
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(rooms asleep members)
for part in "${parts[@]}"; do
    case $part in
    rooms | asleep | members) "$part" ;;
    *) fail "$part is unknown; see the head of benches/growth.sh" ;;
    esac
done
