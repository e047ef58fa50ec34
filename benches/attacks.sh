#!/usr/bin/env bash
# `make bench BENCH=attacks`, or `BENCH="attacks idle pings"`: what those who send notice of attacks from
# another address. Each attack has a throwaway node of its own on SQLite, with every limit at its default. It
# ends with 1 when somebody's message had no ack.
#
# From the environment: FLAGS, more of the generator's for each attack (such as "--sessions 50 --rate
# 500"); BENCH_BIN, the folder of the binaries; BENCH_OUT, a folder that keeps the reports (none).
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
title=attacks
. benches/throwaway.sh

bin=${BENCH_BIN:-target/release}
attacks=("$@")
[ $# -gt 0 ] || attacks=(slow-headers slow-body slow-frames idle large-json deep-json fragments pings bomb bad-tokens guesses)
folder=$(mktemp -d /var/tmp/parlance-attacks-XXXXXX)
reports=${BENCH_OUT:-$folder}
node=

for name in $(compgen -e PARLANCE_ || true); do unset "$name"; done
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

end_node() {
    [ -z "$node" ] || { kill "$node" 2>/dev/null; wait "$node" || true; }
    node=
}
ended() {
    trap - EXIT
    end_node
    rm -rf -- "$folder"
}
trap ended EXIT
trap 'exit 130' INT TERM

mkdir -p "$reports"
files=()
bad=()
for attack in "${attacks[@]}"; do
    mkfifo "$folder/$attack.out"
    "$bin/parlance" serve --data-dir "$folder/$attack" --listen 127.0.0.1:0 --log-level error \
        >"$folder/$attack.out" 2>"$folder/$attack.log" &
    node=$!
    read -r line <"$folder/$attack.out" || fail "no node: $(tail -n 3 "$folder/$attack.log")"
    say "$attack"
    # shellcheck disable=SC2086 # several flags
    "$bin/parlance-load" attack --processes 2 --kind "$attack" --url "${line#listening on }" --server-pid "$node" \
        --check --json "$reports/$attack.json" ${FLAGS:-} >"$folder/$attack.table" 2>"$folder/$attack.err" \
        || { cat "$folder/$attack.table" "$folder/$attack.err" >&2; bad+=("$attack"); }
    [ ! -e "$reports/$attack.json" ] || files+=("$reports/$attack.json")
    end_node
done
[ ${#files[@]} -gt 0 ] || fail "no attack took place"
"$bin/parlance-load" attacks "${files[@]}"
[ ${#bad[@]} -eq 0 ] || fail "not good: ${bad[*]}"
