# shellcheck shell=bash
# For benchmarks of the database itself, to be sourced after throwaway.sh: the end of its PostgreSQL, answers
# without frills, processor time, medians.

end_database() {
    [ -z "$database" ] || { kill -s INT "$database" && wait "$database" || true; }
    database=
}

# Runs SQL in a database; the answer without frills.
query() {
    sql "$1" -t -A -c "$2"
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
