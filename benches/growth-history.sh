#!/usr/bin/env bash
# `make bench BENCH=growth-history`: what reads and appends cost while a PostgreSQL's history grows. Rooms are
# made in SQL in the product's own tables: ten large ones that hold half of all events, and small ones of
# 500. At each size the product's own reads and lanes run on them. Everything is a throwaway and on loopback.
#
# From the environment: SIZES, the rows ("1000000 5000000 50000000"; a million is about 0.4 GB, and as
# much again while it is made); COUNT of each read (500); BENCH_BIN, the folder of the binary.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
title=growth-history
database=
. benches/throwaway.sh
. benches/database.sh

bin=${BENCH_BIN:-target/release}
sizes=${SIZES:-1000000 5000000 50000000}
count=${COUNT:-500}
large=10
small_events=500
folder=$(mktemp -d /var/tmp/parlance-growth-XXXXXX)

for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done

ended() {
    trap - EXIT
    end_database
    rm -rf -- "$folder"
}
trap ended EXIT
trap 'exit 130' INT TERM

ask() { query history "$1"; }

# Room number $1; its last byte is its shard.
room() {
    local text
    text=$(printf 'room %d' "$1" | md5sum | cut -c 1-30)$(printf '%02x' $(($1 % 256)))
    echo "${text:0:8}-${text:8:4}-${text:12:4}-${text:16:4}-${text:20:12}"
}

# The constraints and indexes of the table, which are left out while it is filled.
keys() {
    ask "SELECT format('ALTER TABLE main.event ADD CONSTRAINT %I %s;', conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE conrelid = 'main.event'::regclass AND contype IN ('p', 'u')
      UNION ALL
      SELECT replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') || ';' FROM pg_index i
        WHERE i.indrelid = 'main.event'::regclass
          AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)"
}

without_keys() {
    ask "SELECT format('ALTER TABLE main.event DROP CONSTRAINT %I;', conname)
        FROM pg_constraint WHERE conrelid = 'main.event'::regclass AND contype IN ('p', 'u')
      UNION ALL
      SELECT format('DROP INDEX main.%I;', i.indexrelid::regclass::name) FROM pg_index i
        WHERE i.indrelid = 'main.event'::regclass
          AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)" |
        sed 's/main\."main\.\(.*\)"/main.\1/'
}

# Events $2 to $3 of the rooms with the numbers $1, a set of integers. Every 40th is a pin on an earlier one;
# 20 senders take turns. A room's positions begin at a place of its own in its shard's stream.
events() {
    echo "INSERT INTO main.event (shard, room, seq, pos, epoch, kind, sender, device, key, target, sent_at, body)
        SELECT (r.n % 256)::smallint, r.room, s, r.n * 100000000::bigint + s, 1,
          CASE WHEN s % 40 = 0 THEN 5 ELSE 1 END,
          (left(r.room::text, 32) || lpad((s % 20)::text, 4, '0'))::uuid, NULL,
          md5(r.n || ' ' || s)::uuid, CASE WHEN s % 40 = 0 THEN s - 7 END, 1700000000000 + s,
          CASE WHEN s % 40 = 0 THEN '{\"on\":true}'::bytea ELSE b.body END
        FROM (SELECT n, (left(md5('room ' || n), 30) || lpad(to_hex(n % 256), 2, '0'))::uuid AS room FROM $1 AS n) r,
          generate_series($2::bigint, $3::bigint) AS s,
          (SELECT convert_to(repeat('x', 128), 'UTF8') AS body) b;"
}

# From $1 rows to $2.
fill() {
    local from=$1 to=$2 definitions
    definitions=$(keys)
    without_keys >"$folder/without.sql"
    {
        cat "$folder/without.sql"
        events "generate_series(0, $((large - 1)))" $((from / 2 / large + 1)) $((to / 2 / large))
        events "generate_series($((large + from / 2 / small_events)), $((large + to / 2 / small_events - 1)))" 1 $small_events
        echo "SET maintenance_work_mem = '1GB'; SET max_parallel_maintenance_workers = 0;"
        echo "$definitions"
        echo "VACUUM ANALYZE main.event;"
        echo "CHECKPOINT;"
    } | "$postgres_programs/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$postgres_port" -U parlance -d history >/dev/null
}

url() { echo "postgres://parlance@127.0.0.1:$postgres_port/history"; }

# Pages that PostgreSQL touched until now. Sessions that ended have told.
touched() { ask "SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = 'history'"; }

reads() {
    local size=$1 operation=$2 place=$3 flags=() line before after number
    shift 3
    for number in "$@"; do flags+=(--room "$(room "$number")"); done
    # One run that touches what every run touches; the difference is the operations'.
    before=$(touched)
    "$bin/parlance-store" reads --url "$(url)" --operation "$operation" --place "$place" --count 1 "${flags[@]}" >/dev/null
    after=$(touched)
    local base=$((after - before))
    before=$after
    line=$("$bin/parlance-store" reads --url "$(url)" --operation "$operation" --place "$place" \
        --count "$count" --server-pid "$database" "${flags[@]}")
    after=$(touched)
    awk -v size="$size" -v what="$operation, $place" -v pages=$((after - before - base)) -v count="$count" '
        { for (i = 1; i <= NF; i++) { split($i, pair, "="); v[pair[1]] = pair[2] } }
        END { printf "| %d | %s | %.1f | %.1f | %d | %.0f |\n", size, what, v["p50_us"] / 1000, v["p99_us"] / 1000,
            v["database_us"], pages / count }' <<<"$line"
}

appends() {
    local size=$1
    "$bin/parlance-store" rows --url "$(url)" --batch 64 --warm-up 1 --seconds 4 --server-pid "$database" |
        tr ' ' '\n' | awk -F= -v size="$size" '{ v[$1] = $2 }
            END { printf "| %d | append, batches of 64: %d rows/s | | | %.1f a row | |\n", size, v["rows_per_second"],
                v["database_us_per_row"] }'
}

POSTGRES_FLAGS="-c shared_buffers=512MB -c max_wal_size=2GB -c checkpoint_timeout=30min ${POSTGRES_FLAGS:-}"
start_database history
"$bin/parlance-store" rows --url "$(url)" --rows 1 --batch 1 >/dev/null
ask "TRUNCATE main.event"
echo "| rows | what | p50 ms | p99 ms | PostgreSQL: µs | pages touched |"
echo "| --- | --- | --- | --- | --- | --- |"
have=0
for size in $sizes; do
    say "filling to $size rows"
    fill "$have" "$size"
    have=$size
    say "$(ask "SELECT pg_size_pretty(pg_database_size('history'))"), $(ask "SELECT count(DISTINCT room) FROM main.event WHERE shard = 3") rooms in one shard"
    reads "$size" open head $(seq 0 $((large + 20)))
    for operation in before after; do
        for place in head middle beginning; do reads "$size" "$operation" "$place" $(seq 0 $((large - 1))); done
    done
    reads "$size" before head $(seq $large $((large + 40)))
    reads "$size" key middle $(seq 0 $((large - 1)))
    appends "$size"
done
