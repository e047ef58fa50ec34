#!/usr/bin/env bash
# `make bench-others`: Parlance and other servers under the same load, on one machine, in one run. Every
# server starts in a folder of its own, on loopback, new for each load, and ends before the next; in each
# round the servers are loaded in turn. Reports are kept as they come; the table is printed at the end.
#
# Arguments: --only SERVER,… and --loads LOAD,… take a part of it (names below). With BENCH_OUT a folder that
# holds reports, the rounds are further ones: a long run can be taken in pieces, and the table is of all.
# From the environment: ROUNDS (5), SECONDS measured (20), WARM_UP seconds (3), BENCH_BIN, the folder of the
# binaries, and BENCH_OUT, the folder of the reports (target/bench-others/TIME).
measured=${SECONDS:-0} # bash counts in it from 0 when nothing was given
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077

[ "$measured" -gt 0 ] || measured=20
servers=(floor nats jetstream jetstream-consumers ejabberd ejabberd-archive socketio-redis
    socketio-postgres parlance parlance-tls)
# Name, rooms, members of each, messages a second in each.
declare -A shapes=([idle]="100 10 1" [rooms-10]="100 10 10" [big-room]="1 1000 20"
    [rooms-50]="100 10 50" [rooms-200]="100 10 200")
loads=(idle rooms-10 big-room rooms-50 rooms-200)
bin=${BENCH_BIN:-target/release}
rounds=${ROUNDS:-5}
warm_up=${WARM_UP:-3}
out=${BENCH_OUT:-target/bench-others/$(date +%Y%m%d-%H%M%S)}
folder=$(mktemp -d /var/tmp/parlance-others-XXXXXX)
title=others
command="ROUNDS=$rounds SECONDS=$measured WARM_UP=$warm_up make bench-others${*:+ OTHERS=\"$*\"}"
run=$folder/run    # of the server that runs now
server_pid=        # it
helper_pid=        # Redis, where it is used
first_pid=         # a generator that holds connections
database=
used=()            # what is measured beside the server
. benches/throwaway.sh

while [ $# -gt 0 ]; do
    case $1 in
    --only) IFS=, read -ra servers <<<"$2" ;;
    --loads) IFS=, read -ra loads <<<"$2" ;;
    *) fail "$1 is unknown; see the head of benches/others.sh" ;;
    esac
    shift 2
done
for load in "${loads[@]}"; do [ -n "${shapes[$load]:-}" ] || fail "there is no load $load"; done

for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

# Ends one process by its id: politely, and after 15 s not.
end_process() {
    [ -n "$1" ] || return 0
    kill -s "${2:-TERM}" "$1" 2>/dev/null || return 0
    local _
    for _ in {1..300}; do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.05
    done
    kill -s KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

end_server() {
    end_process "$first_pid"
    end_process "$server_pid"
    end_process "$helper_pid"
    first_pid='' server_pid='' helper_pid=''
}

ended() {
    trap - EXIT
    end_server
    end_process "$database" INT
    rm -rf -- "$folder"
}
trap ended EXIT
trap 'exit 130' INT TERM

answers() { (exec 8<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Until the server accepts connections, or has ended.
await_server() {
    for _ in {1..300}; do
        answers "$port" && return
        kill -0 "$server_pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# An empty database in place of the last one.
new_database() {
    sql postgres -c "DROP DATABASE IF EXISTS $1 WITH (FORCE)" -c "CREATE DATABASE $1" -c CHECKPOINT
    used=("$database")
}

# --- Each server: starts in $run and sets server_pid, port and used. Returns before it accepts.

start_floor() {
    "$bin/parlance-floor" --listen "127.0.0.1:$port" >"$run/log" 2>&1 &
    server_pid=$!
}

start_nats() {
    nats-server -c benches/others/nats.conf -a 127.0.0.1 -p "$port" "$@" >"$run/log" 2>&1 &
    server_pid=$!
}

start_jetstream() { start_nats -js -sd "$run/jetstream"; }

start_jetstream-consumers() { start_jetstream; }

# Without Erlang's distribution, which would leave its port mapper behind.
start_erlang() {
    local libraries
    libraries=$(dirname "$(compgen -G '/usr/lib/*/ejabberd-*' | sort -V | tail -n 1)")
    ERL_LIBS=$libraries EJABBERD_CONFIG_PATH=$run/ejabberd.yml EJABBERD_LOG_PATH=$run/ejabberd.log \
        ERL_MAX_PORTS=32000 ERL_CRASH_DUMP_SECONDS=0 \
        erl +K true +P 250000 -mnesia dir "\"$run/spool\"" -s ejabberd -noinput >"$run/log" 2>&1 &
    server_pid=$!
}

# The accounts are made once for all runs, by a server of their own.
make_accounts() {
    [ ! -d "$folder/accounts" ] || return 0
    say "making ejabberd's accounts"
    sed "s/PORT/$port/" benches/others/ejabberd.yml >"$run/ejabberd.yml"
    start_erlang
    await_server && "$bin/parlance-others" prepare --protocol xmpp --url "http://127.0.0.1:$port" \
        --rooms 2 --members 1000 2>>"$run/log" || return 1
    end_server
    mv "$run/spool" "$folder/accounts"
}

start_ejabberd() {
    make_accounts || return 1
    cp -R "$folder/accounts" "$run/spool"
    sed "s/PORT/$port/" benches/others/ejabberd.yml >"$run/ejabberd.yml"
    start_erlang
}

start_ejabberd-archive() {
    make_accounts || return 1
    new_database ejabberd
    sql ejabberd -f /usr/share/ejabberd/sql/pg.sql >/dev/null
    cp -R "$folder/accounts" "$run/spool"
    {
        sed "s/PORT/$port/" benches/others/ejabberd.yml
        cat <<YAML
      mam: true
  mod_mam:
    db_type: sql
    default: never
sql_type: pgsql
sql_server: "127.0.0.1"
sql_port: $postgres_port
sql_database: ejabberd
sql_username: parlance
sql_password: ""
YAML
    } >"$run/ejabberd.yml"
    start_erlang
}

start_node() {
    PORT=$port NODE_ENV=production "$@" node benches/others/server.js >"$run/log" 2>&1 &
    server_pid=$!
}

start_socketio-redis() {
    local redis_port
    redis_port=$(free_port)
    # Nothing is to be kept: it passes messages on between processes.
    redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no --dir "$run" \
        >"$run/redis.log" 2>&1 &
    helper_pid=$!
    used=("$helper_pid")
    await answers "$redis_port" || return 1
    start_node env ADAPTER=redis "REDIS_URL=redis://127.0.0.1:$redis_port"
}

start_socketio-postgres() {
    new_database socketio
    start_node env STORE=postgres \
        "DATABASE_URL=postgres://parlance@127.0.0.1:$postgres_port/socketio"
}

# Every limit at its default but those for an address: all load comes from a few.
start_parlance() {
    [ -d "$run/data" ] || new_database parlance
    "$bin/parlance" serve --data-dir "$run/data" --listen "127.0.0.1:$port" --log-level warn \
        --set "database.url=postgres://parlance@127.0.0.1:$postgres_port/parlance" \
        --set auth.register_per_minute=0 --set auth.login_per_minute=0 \
        --set http.requests_per_second=0 --set http.max_connections_per_address=0 \
        "$@" >"$run/log" 2>&1 &
    server_pid=$!
    used=("$database")
}

# The same with TLS 1.3 and a certificate of its own.
start_parlance-tls() {
    [ -f "$folder/certificate" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE \
        -keyout "$folder/key" -out "$folder/certificate" 2>"$run/log" || return 1
    start_parlance --set "http.tls_cert=$folder/certificate" --set "http.tls_key=$folder/key"
}

# --- One run.

# The load generator, for the server that runs now.
generate() {
    local server=$1 load=$2 protocol shape pids=() pid kind=fanout scheme=http
    shift 2
    read -ra shape <<<"${shapes[$load]}"
    for pid in "$server_pid" "${used[@]}"; do pids+=(--server-pid "$pid"); done
    [ "$load" != idle ] || kind=idle
    local program=("$bin/parlance-others" "$kind") flags=(--rooms "${shape[0]}")
    if [[ $server = parlance* ]]; then
        program=("$bin/parlance-load" "$kind")
        [ "$server" = parlance ] || { scheme=https && flags+=(--ca "$folder/certificate"); }
        [ "$kind" != idle ] || flags+=(--sessions $((shape[0] * shape[1])))
        [ "$kind" = idle ] || flags+=(--members "${shape[1]}" --rate "${shape[2]}" --check)
    else
        case $server in
        ejabberd*) protocol=xmpp ;;
        socketio-postgres) protocol=socketio-acked ;;
        socketio*) protocol=socketio ;;
        *) protocol=$server ;;
        esac
        flags+=(--members "${shape[1]}" --rate "${shape[2]}" --protocol "$protocol")
    fi
    exec timeout -k 5 $((measured + warm_up + 90)) "${program[@]}" "${flags[@]}" \
        --url "$scheme://127.0.0.1:$port" "${pids[@]}" --warm-up "$warm_up" --seconds "$measured" "$@"
}

start_server() {
    "start_$1" && await_server || return 1
    [[ $1 != jetstream* ]] || "$bin/parlance-others" prepare --protocol "$1" \
        --url "http://127.0.0.1:$port" >>"$run/log" 2>&1
}

# As many connections as will be measured, which stay: what the server kept free at its start is used up,
# and the measured ones show what one more costs. Parlance's accounts are made before it starts again:
# password hashes leave memory behind too. (ejabberd's are made before any run.)
hold_connections() {
    local first=() second=()
    case $1 in
    parlance*)
        first=(--prepared "$run/first") second=(--prepared "$run/second")
        local which
        for which in first second; do
            (measured=0 warm_up=0 && generate "$1" idle --prepared "$run/$which") || return 1
        done >"$run/generator" 2>&1
        end_server
        start_server "$1" || return 1
        ;;
    *) second=(--first 1000) ;;
    esac
    : >"$run/first.log"
    (measured=$((measured * 2 + warm_up * 2 + 60)) warm_up=1 && generate "$1" idle "${first[@]}") \
        >"$run/first.log" 2>&1 &
    first_pid=$!
    more+=("${second[@]}")
    local _
    for _ in {1..300}; do
        # It says every second how it goes once all are there.
        ! grep -q 'deliveries/s' "$run/first.log" || return 0
        kill -0 "$first_pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# A report, or else the reason for none.
one_run() {
    local server=$1 load=$2 place=1 report status=0
    # After those of earlier runs.
    while compgen -G "$out/$server.$load.$place.*" >/dev/null; do place=$((place + 1)); done
    report=$out/$server.$load.$place
    rm -rf "$run"
    mkdir "$run"
    port=$(free_port)
    used=()
    if ! start_server "$server"; then
        { tail -n 5 "$run/log" || true; echo "does not start"; } >"$report.failed" 2>&1
        cat "$report.failed" >&2
        end_server
        return
    fi
    local more=(--json "$report.json")
    [ "$load" != idle ] || hold_connections "$server" || say "the first connections are not there"
    (generate "$server" "$load" "${more[@]}") >"$run/generator" 2>&1 || status=$?
    if [ ! -s "$report.json" ]; then
        { tail -n 5 "$run/log"; tail -n 5 "$run/generator"; } >"$report.failed" 2>&1 || true
        [ "$status" -ne 124 ] || echo "did not end in time" >>"$report.failed"
    fi
    [ "$status" -eq 0 ] || { say "this run is not good:" && tail -n 5 "$run/generator" >&2; }
    grep -E 'µs a delivery|^delivery p|^memory of|^CPU to' "$run/generator" >&2 || true
    end_server
}

about() {
    local model memory
    model=$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)
    memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
    cat <<MD
Taken until $(date -u +%F) on $(nproc) × ${model:-$(uname -m)}, $memory, Linux $(uname -r), loopback, plaintext,
128-byte bodies, $measured s measured after $warm_up s, by \`$command\`.
Parlance $(git describe --always --dirty 2>/dev/null || "$bin/parlance" --version),
NATS $(nats-server --version | sed 's/.*v//'), ejabberd $(dpkg-query -f '${Version}' -W ejabberd 2>/dev/null || echo '?') on Erlang/OTP \
$(dpkg-query -f '${Version}' -W erlang-base 2>/dev/null | sed 's/.*://; s/+.*//'),
Socket.IO $(sed -n 's/^ *"version": "\(.*\)",*/\1/p' benches/others/node_modules/socket.io/package.json) on Node.js $(node --version),
Redis $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/'), PostgreSQL $("$postgres_programs/postgres" --version | sed 's/.*) \([^ ]*\).*/\1/').
MD
}

mkdir -p "$out"
start_database
about >"$out/about.md"
number=0
total=$((rounds * ${#loads[@]} * ${#servers[@]}))
for round in $(seq "$rounds"); do
    for load in "${loads[@]}"; do
        for server in "${servers[@]}"; do
            number=$((number + 1))
            say "$number of $total: round $round of $rounds, $load, $server"
            one_run "$server" "$load"
        done
    done
done
say "the reports are in $out; \`$bin/parlance-others table $out\` prints this again"
"$bin/parlance-others" table "$out" | tee "$out/table.md"
