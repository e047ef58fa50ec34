#!/usr/bin/env bash
# `make bench BENCH="across --rate 10"`: what a delivery costs on one node with all rooms and sockets,
# and on three nodes over which both are spread, so that two of three deliveries are on another node
# than their room's owner. The arguments are those of the generator's `fanout`. Everything is a
# throwaway and on loopback: PostgreSQL with a database for each of the two, which run all the time
# and are loaded in turn.
#
# From the environment: ROUNDS of each (3); BENCH_BIN, the folder of the binaries; BENCH_OUT, a
# folder that keeps the reports (none).
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077

bin=${BENCH_BIN:-target/release}
rounds=${ROUNDS:-3}
folder=$(mktemp -d /var/tmp/parlance-across-XXXXXX)
nodes=(one three-1 three-2 three-3)
declare -A pids=() urls=()
database=

for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

say() { echo "across: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

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

# A port that nobody listens on.
free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 10000))
        (exec 8<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# --- PostgreSQL, which refuses to run as root.
start_database() {
    local programs account=()
    programs=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1 || true)
    [ -n "$programs" ] || programs=$(dirname "$(command -v initdb)") || fail "PostgreSQL is missing"
    mkdir "$folder/postgres"
    if [ "$(id -u)" = 0 ]; then
        local name
        name=$(id -un postgres 2>/dev/null || echo nobody)
        account=(setpriv --reuid "$name" --regid "$(id -g "$name")" --clear-groups)
        chmod 711 "$folder"
        chown "$name" "$folder/postgres"
    fi
    postgres_port=$(free_port)
    (cd / && "${account[@]}" "$programs/initdb" -A trust -U parlance -E UTF8 --locale=C \
        -D "$folder/postgres/data") >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log"; exit 1; }
    (cd / && exec "${account[@]}" "$programs/postgres" -D "$folder/postgres/data" -k '' \
        -p "$postgres_port" -c listen_addresses=127.0.0.1 -c max_connections=200) \
        >"$folder/postgres.log" 2>&1 &
    database=$!
    local name
    for name in one three; do
        for _ in {1..100}; do
            "$programs/psql" -q -h 127.0.0.1 -p "$postgres_port" -U parlance -d postgres \
                -c "CREATE DATABASE $name" 2>/dev/null && continue 2
            sleep 0.2
        done
        fail "PostgreSQL did not start; see $(tail -n 3 "$folder/postgres.log")"
    done
}

# --- Nodes.
start_nodes() {
    "$bin/parlance" cert ca --cluster bench --out "$folder/ca" >/dev/null
    local name join=() controls=() datas=() place=0
    for _ in 1 2 3; do
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
expect = 3
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

# Until each of the three has its share of the 256 shards.
await_balance() {
    local name owned
    for _ in {1..300}; do
        for name in three-1 three-2 three-3; do
            owned=$(counted "$name" parlance_shards_owned)
            [ "${owned:-0}" -ge 75 ] || { sleep 0.5; continue 2; }
        done
        return
    done
    fail "the shards were not spread; node three-1 has ${owned:-none}"
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

start_database
start_nodes
await_balance
for round in $(seq "$rounds"); do
    for name in one three; do load "$name" "$round" "$@"; done
done
[ -z "${BENCH_OUT:-}" ] || { mkdir -p "$BENCH_OUT" && cp "$folder"/*.json "$BENCH_OUT"; }
echo
"$bin/parlance-load" compare --one "$folder"/one.*.json --several "$folder"/three.*.json
