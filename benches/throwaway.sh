# shellcheck shell=bash
# For scripts that start servers of their own, to be sourced: words for people, free ports, and a
# PostgreSQL in the script's folder. The script sets `title` and `folder`, and removes both the process
# and the folder at its end.

say() { echo "$title: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

# A port that nobody listens on.
free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 10000))
        (exec 8<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# Until this command succeeds, for 20 s.
await() {
    for _ in {1..200}; do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    return 1
}

# SQL on one of the databases.
sql() {
    PGOPTIONS='-c client_min_messages=warning' "$postgres_programs/psql" -q -X -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$postgres_port" -U parlance \
        -d "$1" "${@:2}"
}

# PostgreSQL on loopback with these databases; it commits to disk as it does by default. It refuses to
# run as root. Its process is `database`, its port `postgres_port`, its programs `postgres_programs`. More of
# its flags come from POSTGRES_FLAGS.
start_database() {
    local account=() name
    postgres_programs=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1 || true)
    [ -n "$postgres_programs" ] || postgres_programs=$(dirname "$(command -v initdb)") \
        || fail "PostgreSQL is missing"
    mkdir "$folder/postgres"
    if [ "$(id -u)" = 0 ]; then
        name=$(id -un postgres 2>/dev/null || echo nobody)
        account=(setpriv --reuid "$name" --regid "$(id -g "$name")" --clear-groups)
        chmod 711 "$folder"
        chown "$name" "$folder/postgres"
    fi
    postgres_port=$(free_port)
    (cd / && "${account[@]}" "$postgres_programs/initdb" -A trust -U parlance -E UTF8 --locale=C \
        -D "$folder/postgres/data") >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log"; exit 1; }
    # shellcheck disable=SC2086 # several flags
    (cd / && exec "${account[@]}" "$postgres_programs/postgres" -D "$folder/postgres/data" -k '' \
        -p "$postgres_port" -c listen_addresses=127.0.0.1 -c max_connections=200 ${POSTGRES_FLAGS:-}) \
        >"$folder/postgres.log" 2>&1 &
    database=$!
    await sql postgres -c "SELECT 1" \
        || fail "PostgreSQL did not start; see $(tail -n 3 "$folder/postgres.log")"
    for name in "$@"; do sql postgres -c "CREATE DATABASE $name"; done
}
