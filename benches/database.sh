# A throwaway PostgreSQL for a benchmark, with fsync and synchronous_commit on, listening on loopback. To be sourced.
# `start_database FOLDER NAME…` makes databases with these names and sets postgres_port, database
# (its process id) and programs; `end_database` ends it. More of its flags come from POSTGRES_FLAGS.

database=

# A port that nobody listens on.
free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 10000))
        (exec 8<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# PostgreSQL refuses to run as root.
start_database() {
    local folder=$1 account=() name
    shift
    programs=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1 || true)
    [ -n "$programs" ] || programs=$(dirname "$(command -v initdb)") || { echo "PostgreSQL is missing" >&2; return 1; }
    mkdir "$folder/postgres"
    if [ "$(id -u)" = 0 ]; then
        name=$(id -un postgres 2>/dev/null || echo nobody)
        account=(setpriv --reuid "$name" --regid "$(id -g "$name")" --clear-groups)
        chmod 711 "$folder"
        chown "$name" "$folder/postgres"
    fi
    postgres_port=$(free_port)
    (cd / && "${account[@]}" "$programs/initdb" -A trust -U parlance -E UTF8 --locale=C \
        -D "$folder/postgres/data") >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; return 1; }
    # shellcheck disable=SC2086 # several flags
    (cd / && exec "${account[@]}" "$programs/postgres" -D "$folder/postgres/data" -k '' \
        -p "$postgres_port" -c listen_addresses=127.0.0.1 -c max_connections=200 ${POSTGRES_FLAGS:-}) \
        >"$folder/postgres.log" 2>&1 &
    database=$!
    for name in "$@"; do
        for _ in {1..100}; do
            query postgres "CREATE DATABASE $name" 2>/dev/null && continue 2
            sleep 0.2
        done
        echo "PostgreSQL did not start; see $(tail -n 3 "$folder/postgres.log")" >&2
        return 1
    done
}

end_database() {
    [ -z "$database" ] || { kill -s INT "$database" && wait "$database" || true; }
    database=
}

# Runs SQL in a database; the answer without frills.
query() {
    "$programs/psql" -X -q -t -A -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$postgres_port" -U parlance -d "$1" -c "$2"
}

# Milliseconds of processor time of PostgreSQL and its children until now.
database_cpu() {
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v top="$database" -v tick="$(getconf CLK_TCK)" '
        { sub(/^[0-9]+ \(.*\) /, sprintf("%s ", $1)) }
        $1 == top { sum += $13 + $14 + $15 + $16 }
        $3 == top { sum += $13 + $14 }
        END { printf "%d\n", sum * 1000 / tick }'
}

# The middle one of some numbers, one a line.
median() {
    sort -g | awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'
}
