# Nodes of a throwaway cluster, to be sourced after throwaway.sh. Before: `bin`, `folder`, `count` (nodes of the
# cluster), `nodes` (their names, several-1 …; one that is called "one" is alone), `postgres_port`. After:
# `pids` and `urls` by name. Each has the database that is called "one" or "several".
declare -A pids=() urls=()

end_nodes() {
    local pid
    for pid in "${pids[@]}"; do kill -s TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    pids=()
}

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
        for name in "${nodes[@]}"; do
            [ "$name" != one ] || continue
            owned=$(counted "$name" parlance_shards_owned)
            [ "${owned:-0}" -ge $((225 / count)) ] || { sleep 0.5; continue 2; }
        done
        return
    done
    fail "the shards were not spread; $name has ${owned:-none}"
}
