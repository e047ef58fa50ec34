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
declare -A pids=() urls=()
database=
. benches/throwaway.sh

for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

ended() {
    trap - EXIT
    local pid
    for pid in "${pids[@]}"; do kill -s TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    [ -z "$database" ] || { kill -s INT "$database" && wait "$database" || true; }
    rm -rf -- "$folder"
}
trap ended EXIT
trap 'exit 130' INT TERM

# --- Nodes.
start_nodes() {
    "$bin/parlance" cert ca --cluster bench --out "$folder/ca" >/dev/null
    local name join=() controls=() datas=() place=0
    for _ in $(seq "$count"); do
        controls+=("$(free_port)")
        datas+=("$(free_port)")
        join+=("\"127.0.0.1:${controls[-1]}\"")
    done
    for name in "${nodes[@]}"; do
        mkdir "$folder/$name"
        {
            cat <<TOML
[http]
listen = "127.0.0.1:0"
requests_per_second = 0
max_connections_per_address = 0
upgrades_per_second = 0
[auth]
register_per_minute = 0
login_per_minute = 0
cluster_secret = "bm90IGEgc2VjcmV0LCBidXQgbG9uZyBlbm91Z2ggZm9yIG9uZSE"
[database]
url = "postgres://parlance@127.0.0.1:$postgres_port/${name%-?}"
TOML
            if [ "$name" != one ]; then
                "$bin/parlance" cert node --ca "$folder/ca" --name "$name" --out "$folder/certs" \
                    >/dev/null
                cat <<TOML
[cluster]
ca = "$folder/ca/ca.pem"
cert = "$folder/certs/$name.pem"
key = "$folder/certs/$name.key"
control_listen = "127.0.0.1:${controls[$place]}"
data_listen = "127.0.0.1:${datas[$place]}"
expect = $count
join = [$(IFS=,; echo "${join[*]}")]
TOML
                place=$((place + 1))
            fi
        } >"$folder/$name/node.toml"
        mkfifo "$folder/$name/out"
        "$bin/parlance" serve --config "$folder/$name/node.toml" --data-dir "$folder/$name/data" \
            --log-level warn >"$folder/$name/out" 2>"$folder/$name/log" &
        pids[$name]=$!
    done
    local line
    for name in "${nodes[@]}"; do
        read -r line <"$folder/$name/out" || { cat "$folder/$name/log" >&2; fail "no node $name"; }
        urls[$name]=${line#listening on }
    done
}

# What a node counts under this name.
counted() {
    local address=${urls[$1]#http://}
    exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
    printf 'GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n' >&7
    awk -v name="$2" '$1 == name { print int($2) }' <&7
    exec 7<&-
}

# Until each of the several has nearly its share of the 256 shards.
await_balance() {
    local name owned
    for _ in {1..300}; do
        for name in "${nodes[@]:1}"; do
            owned=$(counted "$name" parlance_shards_owned)
            [ "${owned:-0}" -ge $((225 / count)) ] || { sleep 0.5; continue 2; }
        done
        return
    done
    fail "the shards were not spread; node several-1 has ${owned:-none}"
}

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
