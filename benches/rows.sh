#!/usr/bin/env bash
# `make bench BENCH=rows`: how many rows a second the product's lanes commit to PostgreSQL, flat out, and
# how many pgbench commits beside it (in turn) with the statement of the lanes, the same arrays, batch,
# rooms and connections. Everything is a throwaway and on loopback, with fsync and synchronous_commit on.
#
# From the environment: BATCHES, the rows of a commit ("1 8 64": with more, pgbench
# itself is what is slow); ROUNDS of each (5); SECONDS_EACH
# (5, after a second of warm-up); LANES (the product's default); BENCH_BIN, the folder of the binary.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
title=rows
database=
. benches/throwaway.sh
. benches/database.sh

bin=${BENCH_BIN:-target/release}
batches=${BATCHES:-1 8 64}
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-5}
default_lanes=$(awk -F '[ ;]+' '/LANES_POSTGRES: usize/ { print $(NF - 1) }' storage/src/limits.rs)
lanes=${LANES:-$default_lanes}
folder=$(mktemp -d /var/tmp/parlance-rows-XXXXXX)

for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done

ended() {
    trap - EXIT
    end_database
    rm -rf -- "$folder"
}
trap ended EXIT
trap 'exit 130' INT TERM

# Rooms of each lane: each in a shard of its own, and as many rows of each in a batch.
rooms_of() { echo $(($1 < 16 ? $1 : 16)); }

# The lanes' statement and one transaction of it for pgbench: heads and positions count on from :n, keys are
# drawn, everything else stays. Arrays are text, which pgbench cannot send otherwise.
script() {
    local batch=$1
    echo '\if :prepared'
    echo '\else'
    echo 'SET plan_cache_mode = force_generic_plan;'
    echo 'PREPARE append (smallint[], bigint[], bigint[], smallint[], uuid[], bigint[], bigint[], smallint[], uuid[],'
    echo '  uuid[], uuid[], bigint[], bigint[], boolean[], bigint[], integer[], bytea[]) AS'
    sed -e 's/--.*//' -e 's/{t}/main/g' -e 's/{g}/parlance/g' storage/queries/append_plain.sql
    echo ';'
    echo '\set prepared 1'
    echo '\endif'
    awk -v batch="$batch" -v rooms="$(rooms_of "$batch")" -v lanes="$lanes" '
        function array(kind, count,  i, text) {
            for (i = 0; i < count; i++) text = text (i ? "," : "") element(kind, i)
            return "\x27{" text "}\x27"
        }
        function element(kind, i,  room, turn) {
            room = i % rooms
            turn = int(i / rooms) + 1
            if (kind == "shard") return ":s" room
            if (kind == "one") return "1"
            if (kind == "room") return sprintf("%08x-:r-4000-8000-00000000000:client_id", room + 1)
            if (kind == "place") return ":h" turn
            if (kind == "sender") return sprintf("%08x-0000-4000-a000-00000000000:client_id", room + 1)
            if (kind == "device") return "11111111-2222-4333-8444-555555555555"
            if (kind == "key") return sprintf("%08x-:r-4000-8000-:k", i + 1)
            if (kind == "null") return "NULL"
            if (kind == "no") return "f"
            if (kind == "time") return "1700000000000"
            return "\"\\\\x" body "\""
        }
        BEGIN {
            for (i = 0; i < 128; i++) body = body "78"
            print "\\set n :n + 1"
            print "\\set k random(100000000000, 999999999999)"
            for (i = 0; i < rooms; i++) print "\\set s" i " " i * lanes " + :client_id"
            for (i = 1; i <= batch / rooms; i++) print "\\set h" i " (:n - 1) * " batch / rooms " + " i
            split("one one shard room place place one sender device key null null no time null body", kinds, " ")
            line = array("shard", rooms)
            for (i = 1; i <= 16; i++) line = line ", " array(kinds[i], i < 3 ? rooms : batch)
            print "EXECUTE append(" line ");"
        }'
}

# Each prints: rows a second, PostgreSQL's microseconds a row, the client's.
lane_round() {
    "$bin/parlance-store" rows --url "postgres://parlance@127.0.0.1:$postgres_port/lanes" --lanes "$lanes" \
        --batch "$1" --rooms $((lanes * $(rooms_of "$1"))) --warm-up 1 --seconds "$seconds" --server-pid "$database" |
        tr ' ' '\n' | awk -F= '{ v[$1] = $2 } END { print v["rows_per_second"], v["database_us_per_row"], v["own_us_per_row"] }'
}

pgbench_round() {
    local batch=$1 round=$2 before after rows cpu
    before=$(database_cpu)
    TIMEFORMAT='%3U %3S'
    { time "$postgres_programs/pgbench" -n -M simple -h 127.0.0.1 -p "$postgres_port" -U parlance -c "$lanes" -j 1 \
        -T "$seconds" -D prepared=0 -D n=$((round * 10000000)) -D r="$(printf '%04d' $((round % 10000)))" \
        -f "$folder/$batch.sql" pgbench >"$folder/pgbench.out" 2>"$folder/pgbench.err"; } 2>"$folder/time" \
        || { cat "$folder/pgbench.err" >&2; return 1; }
    after=$(database_cpu)
    if grep -q ERROR "$folder/pgbench.err"; then cat "$folder/pgbench.err" >&2; return 1; fi
    rows=$(awk -v batch="$batch" '/transactions actually processed/ { print $NF * batch }' "$folder/pgbench.out")
    cpu=$(awk '{ print $1 + $2 }' "$folder/time")
    awk -v rows="$rows" -v batch="$batch" -v ms=$((after - before)) -v cpu="$cpu" '
        /^tps/ { printf "%.0f %.2f %.2f\n", $3 * batch, ms * 1000 / rows, cpu * 1e6 / rows }' "$folder/pgbench.out"
}

start_database lanes pgbench
"$bin/parlance-store" rows --url "postgres://parlance@127.0.0.1:$postgres_port/pgbench" --rows 1 --batch 1 >/dev/null
query pgbench "TRUNCATE main.event; INSERT INTO parlance.fence SELECT n, 1, 1, '' FROM generate_series(0, 255) n
    ON CONFLICT (shard) DO UPDATE SET epoch = 1, turn = 1"
echo "$lanes connections, bodies of 128 bytes, medians of $rounds rounds of $seconds s in turn"
echo "| rows a commit | lanes: rows/s | PostgreSQL, lanes: µs a row | pgbench: rows/s | PostgreSQL, pgbench: µs a row | lanes to pgbench |"
echo "| --- | --- | --- | --- | --- | --- |"
number=0
for batch in $batches; do
    script "$batch" >"$folder/$batch.sql"
    rm -f "$folder"/{lanes,pgbench}.{1,2,3}
    for round in $(seq "$rounds"); do
        number=$((number + 1))
        for side in lanes pgbench; do
            if [ "$side" = lanes ]; then line=$(lane_round "$batch"); else line=$(pgbench_round "$batch" "$number"); fi
            echo "batch $batch, round $round, $side: $line" >&2
            for field in 1 2 3; do cut -d ' ' -f "$field" <<<"$line" >>"$folder/$side.$field"; done
        done
    done
    of() { median <"$folder/$1.$2"; }
    echo "| $batch | $(of lanes 1) | $(of lanes 2), its client $(of lanes 3) | $(of pgbench 1) | $(of pgbench 2), its client $(of pgbench 3) | $(
        awk -v a="$(of lanes 1)" -v b="$(of pgbench 1)" 'BEGIN { printf "%.2f", a / b }') |"
done
