#!/usr/bin/env bash
# `make cluster`: three nodes, PostgreSQL and a load balancer on this machine, until Ctrl-C.
#
#   deploy/cluster.sh          start all of it; what it keeps is in ./parlance-cluster
#   deploy/cluster.sh node N   start node N again, after you killed it, until Ctrl-C
#   deploy/cluster.sh clean    remove what it keeps
#
# From the environment: CLUSTER_PORT, where clients come in (8080; the nodes take the next three);
# CLUSTER_DIR, where it keeps things; CLUSTER_BIN, the folder of the binaries.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077

# Debian keeps the balancer outside the PATH of an ordinary account.
PATH=$PATH:/usr/sbin
state=${CLUSTER_DIR:-$PWD/parlance-cluster}
port=${CLUSTER_PORT:-8080}
bin=${CLUSTER_BIN:-target/release}
postgres_port=$((port + 7352))
nodes=(1 2 3)
programs=
account=

# Nobody's own settings reach the nodes.
for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done

say() { echo "cluster: $*"; }

fail() {
    say "$*" >&2
    exit 1
}

http_port() { echo $((port + $1)); }
control_port() { echo $((port - 370 + 10 * $1)); }
data_port() { echo $((port - 369 + 10 * $1)); }

# Each child has a session of its own, so that Ctrl-C reaches this script alone, which then ends
# them in order.
own_session() { exec setsid "$@"; }

# Waits until a command succeeds, for as long as the process lives, a minute at most.
await() {
    local what=$1 pid=$2 log=$3
    shift 3
    for _ in {1..300}; do
        "$@" >/dev/null 2>&1 && return
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    tail -n 20 "$log" >&2
    fail "$what did not start; the end of $log is above"
}

# Ends a process by its id and waits for it.
end() {
    local signal=$1 pid=$2
    kill -s "$signal" "$pid" 2>/dev/null || return 0
    for _ in {1..100}; do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -s KILL "$pid" 2>/dev/null || true
}

ended_in_order() {
    trap '' INT TERM
    trap - EXIT
    say "ending"
    local pids=()
    for n in "${nodes[@]}"; do
        [ -z "${node_pids[$n]:-}" ] || pids+=("${node_pids[$n]}")
    done
    for pid in "${pids[@]}"; do kill -s TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do end TERM "$pid"; done
    [ -z "$balancer" ] || end TERM "$balancer"
    [ -z "$database" ] || end INT "$database"
    rm -f "$state"/*.pid
    say "ended; what it keeps is in $state, and \`make cluster\` goes on from there"
}

# --- Certificates and the secret: made once.
make_identities() {
    [ -e "$state/ca/ca.pem" ] || "$bin/parlance" cert ca --cluster demo --out "$state/ca" >/dev/null
    for n in "${nodes[@]}"; do
        [ -e "$state/certs/node-$n.pem" ] \
            || "$bin/parlance" cert node --ca "$state/ca" --name "node-$n" --out "$state/certs" \
                >/dev/null
    done
    [ -e "$state/cluster.secret" ] \
        || head -c 32 /dev/urandom | base64 >"$state/cluster.secret"
}

# --- PostgreSQL, which refuses to run as root.
find_postgres() {
    local newest
    newest=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1 || true)
    if [ -n "$newest" ]; then
        programs=$newest
    elif command -v initdb >/dev/null; then
        programs=$(dirname "$(command -v initdb)")
    else
        fail "PostgreSQL is not installed"
    fi
    [ "$(id -u)" != 0 ] || account=$(id -un postgres 2>/dev/null || echo nobody)
}

as_account() {
    if [ -z "$account" ]; then
        "$@"
    else
        setpriv --reuid "$account" --regid "$(id -g "$account")" --clear-groups "$@"
    fi
}

make_database() {
    [ ! -e "$state/postgres.made" ] || return 0
    say "making a database"
    local folder=$state/postgres
    if [ -z "$account" ]; then
        rm -rf "$folder"
        mkdir "$folder"
    else
        # The other account need not be able to reach this folder.
        [ ! -L "$folder" ] || rm -rf -- "$(realpath "$folder")" "$folder"
        ln -s "$(mktemp -d /var/tmp/parlance-cluster-XXXXXX)" "$folder"
        folder=$(realpath "$folder")
    fi
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"$state/postgres.password"
    cp "$state/postgres.password" "$folder/password"
    [ -z "$account" ] || chown -R "$account" "$folder"
    (cd / && as_account "$programs/initdb" -A scram-sha-256 -U parlance --pwfile="$folder/password" \
        -E UTF8 --locale=C -D "$folder/data") >"$state/initdb.log" 2>&1 \
        || { cat "$state/initdb.log" >&2; fail "initdb failed"; }
    rm "$folder/password"
    touch "$state/postgres.made"
}

start_database() {
    local data
    data=$(realpath "$state/postgres")/data
    (cd / && own_session ${account:+setpriv --reuid "$account" --regid "$(id -g "$account")" \
        --clear-groups} "$programs/postgres" -D "$data" -k '' -p "$postgres_port" \
        -c listen_addresses=127.0.0.1 -c max_connections=120 -c log_min_messages=warning) \
        >>"$state/postgres.log" 2>&1 &
    database=$!
    echo "$database" >"$state/postgres.pid"
    await PostgreSQL "$database" "$state/postgres.log" \
        "$programs/pg_isready" -q -h 127.0.0.1 -p "$postgres_port"
}

# --- The nodes, each with its file of settings.
settle() {
    local n=$1 join=() other
    for other in "${nodes[@]}"; do
        join+=("\"127.0.0.1:$(control_port "$other")\"")
    done
    mkdir -p "$state/node-$n"
    cat >"$state/node-$n/node.toml" <<TOML
[http]
listen = "127.0.0.1:$(http_port "$n")"
trusted_proxies = ["127.0.0.1"]

[auth]
cluster_secret_file = "$state/cluster.secret"

[database]
url = "postgres://parlance:$(cat "$state/postgres.password")@127.0.0.1:$postgres_port/postgres"

[cluster]
ca = "$state/ca/ca.pem"
cert = "$state/certs/node-$n.pem"
key = "$state/certs/node-$n.key"
control_listen = "127.0.0.1:$(control_port "$n")"
data_listen = "127.0.0.1:$(data_port "$n")"
expect = ${#nodes[@]}
join = [$(IFS=,; echo "${join[*]}")]

[log]
level = "info"
TOML
}

start_node() {
    local n=$1
    own_session "$bin/parlance" serve --data-dir "$state/node-$n" >>"$state/node-$n.log" 2>&1 &
    node_pids[n]=$!
    # Its end is told by us.
    disown
    echo "${node_pids[$n]}" >"$state/node-$n.pid"
}

await_node() {
    await "node $1" "${node_pids[$1]}" "$state/node-$1.log" \
        "$bin/parlance" health --ready --data-dir "$state/node-$1"
}

# The first administrator's password is shown once, to whoever started the node: that is us.
keep_administrator() {
    [ ! -e "$state/administrator" ] || return 0
    cat "$state"/node-*.log | grep -A 1 '^first administrator: ' >"$state/administrator" || true
}

# --- The balancer.
start_balancer() {
    PARLANCE_BIND=127.0.0.1:$port \
        PARLANCE_NODE_1=127.0.0.1:$(http_port 1) \
        PARLANCE_NODE_2=127.0.0.1:$(http_port 2) \
        PARLANCE_NODE_3=127.0.0.1:$(http_port 3) \
        own_session haproxy -db -f deploy/proxy/haproxy.cfg >>"$state/balancer.log" 2>&1 &
    balancer=$!
    echo "$balancer" >"$state/balancer.pid"
    await "the balancer" "$balancer" "$state/balancer.log" \
        "$bin/parlance" health --set "http.listen=127.0.0.1:$port"
}

explain() {
    local shown=${state#"$PWD"/}
    cat <<TEXT

The cluster runs. Ctrl-C ends it.
  clients       http://127.0.0.1:$port
  nodes         $(for n in "${nodes[@]}"; do printf 'http://127.0.0.1:%s ' "$(http_port "$n")"; done)
$(sed 's/^first administrator:/  administrator/; s/^password:/  password     /' "$state/administrator" 2>/dev/null || true)

Chat through the balancer, in two more terminals with two names:
  PARLANCE_PASSWORD=Correct-Horse-1 $bin/parlance-chat --register http://127.0.0.1:$port ada engines
See how it stands:
  $bin/parlance cluster status --data-dir $shown/node-1
Kill a node and watch the chat go on, then start it again:
  kill -9 \$(cat $shown/node-2.pid)
  deploy/cluster.sh node 2
TEXT
}

check_ports() {
    local taken
    for taken in "$port" "$postgres_port" "$(http_port 1)" "$(http_port 2)" "$(http_port 3)"; do
        if (exec 8<>"/dev/tcp/127.0.0.1/$taken") 2>/dev/null; then
            fail "something listens on port $taken already; choose others with CLUSTER_PORT"
        fi
    done
}

take_folder() {
    mkdir -p "$state"
    # The children inherit the lock: whatever of an earlier run still lives holds it.
    exec 9>"$state/lock"
    flock --nonblock 9 \
        || fail "it runs already, or something of it does: the ids are in $state/*.pid"
}

all() {
    take_folder
    check_ports
    find_postgres
    make_identities
    make_database
    declare -ga node_pids=()
    database='' balancer=''
    trap ended_in_order EXIT
    trap 'exit 0' INT TERM
    start_database
    say "starting ${#nodes[@]} nodes"
    for n in "${nodes[@]}"; do settle "$n"; done
    for n in "${nodes[@]}"; do start_node "$n"; done
    for n in "${nodes[@]}"; do await_node "$n"; done
    keep_administrator
    start_balancer
    explain
    # Nodes may die: that is what a cluster is for. Without these two it is none.
    while kill -0 "$balancer" 2>/dev/null && kill -0 "$database" 2>/dev/null; do
        for n in "${nodes[@]}"; do
            [ -n "${node_pids[$n]:-}" ] || continue
            kill -0 "${node_pids[$n]}" 2>/dev/null && continue
            node_pids[n]=
            say "node $n is gone; \`deploy/cluster.sh node $n\` starts it again"
        done
        sleep 1 &
        wait $! || true
    done
    say "the balancer or PostgreSQL ended by itself; their logs are in $state"
    exit 1
}

again() {
    local n=$1
    [ -e "$state/node-$n/node.toml" ] || fail "there is no node $n; start the cluster first"
    say "node $n is at http://127.0.0.1:$(http_port "$n"); Ctrl-C ends it"
    echo $$ >"$state/node-$n.pid"
    exec "$bin/parlance" serve --data-dir "$state/node-$n" --log-level warn
}

clean() {
    [ -e "$state/lock" ] || { say "there is nothing at $state"; return; }
    take_folder
    [ ! -L "$state/postgres" ] || rm -rf -- "$(realpath "$state/postgres")"
    rm -rf -- "$state"
    say "$state is removed"
}

case ${1:-all} in
all) all ;;
node) again "${2:?which node: 1, 2 or 3}" ;;
clean) clean ;;
*) fail "it knows: (nothing), node N, clean" ;;
esac
