#!/usr/bin/env bash
# Builds the image, brings the compose file up, and chats over its balancer while each node's
# container in turn is killed and comes back, and one is stopped. At the end the history must hold
# every message once, in order, and a listener must have seen the same.
#
# Everything happens in a Docker daemon of the test's own, in namespaces for processes, mounts and
# network that have no way out: nothing is pulled, and neither images, ports nor firewall of this
# machine change. `make soak` runs it; where it cannot run it says why and ends well.
#
# From the environment: IMAGE_TEST=required makes that an error; PROFILE is cargo's profile (dev);
# IMAGE_TEST_DIR is a folder that is kept, so that the next run is faster.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
cd "$root"
export PROFILE=${PROFILE:-dev}
PATH=$PATH:/usr/sbin:/sbin

# Nobody's own settings reach the nodes, Docker or Compose.
for name in $(compgen -e | grep -E '^(PARLANCE|COMPOSE|DOCKER)_' || true); do unset "$name"; done

say() { echo "image: $*"; }

fail() {
    say "$*" >&2
    exit 1
}

cannot() {
    [ "${IMAGE_TEST:-}" != required ] || fail "cannot run: $*"
    say "SKIPPED: $*"
    exit 0
}

# shellcheck source=deploy/compose/test/bases.sh
. "$here/bases.sh"

# --- What it needs.

# A client that can ask for BuildKit: before 23 it has that built in, later it is a plugin.
find_docker() {
    local one version
    for one in $(type -ap docker || true) /usr/bin/docker; do
        [ -x "$one" ] || continue
        version=$("$one" --version | sed 's/^Docker version \([0-9]*\).*/\1/')
        if [ "$version" -lt 23 ] || "$one" buildx version >/dev/null 2>&1; then
            echo "$one"
            return
        fi
    done
}

check_needs() {
    local need
    [ "$(id -u)" = 0 ] || cannot "only root may start a Docker daemon"
    for need in dockerd debootstrap unshare nsenter ip curl rustc cargo; do
        command -v "$need" >/dev/null || cannot "$need is not there"
    done
    docker=$(find_docker)
    [ -n "$docker" ] || cannot "there is no docker client with BuildKit"
    if "$docker" compose version >/dev/null 2>&1; then
        composer=("$docker" compose)
    elif command -v docker-compose >/dev/null; then
        composer=(docker-compose)
    else
        cannot "neither docker compose nor docker-compose is there"
    fi
}

# --- The daemon.

start_daemon() {
    work=${IMAGE_TEST_DIR:-$(mktemp -d)}
    mkdir -p "$work/bin"
    ln -sf "$docker" "$work/bin/docker"
    PATH=$work/bin:$PATH
    export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config
    export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
    # Its end, which is process 1 of its namespace, is the end of every container.
    # shellcheck disable=SC2016  # for the shell in there
    setsid unshare --net --mount --pid --fork --mount-proc --kill-child bash -euc '
        ip link set lo up
        mount -t tmpfs tmpfs /run
        exec dockerd --data-root "$1/data" --exec-root /run/docker --pidfile /run/docker.pid \
            --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$2" -H "unix://$1/docker.sock"
        ' dockerd "$work" "/$cgroup" >"$work/daemon.log" 2>&1 </dev/null &
    outside=$!
    disown
    for _ in {1..100}; do
        docker info >/dev/null 2>&1 && break
        kill -0 "$outside" 2>/dev/null || break
        sleep 0.2
    done
    if ! docker info >/dev/null 2>&1; then
        tail -n 5 "$work/daemon.log" >&2
        cannot "the Docker daemon did not start; the end of its log is above"
    fi
    daemon=$(pgrep -P "$outside")
}

ended() {
    local pid
    trap - EXIT
    [ -z "$lines" ] || exec {lines}>&-
    for pid in "$writer" "$listener"; do [ -z "$pid" ] || kill "$pid" 2>/dev/null || true; done
    if [ -n "$outside" ]; then
        [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
        for _ in {1..300}; do
            kill -0 "$outside" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$outside" 2>/dev/null || true
        # Groups that are still in use are being emptied by the kernel.
        find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || true
    fi
    [ -z "$work" ] || [ -n "${IMAGE_TEST_DIR:-}" ] || rm -rf -- "$work"
}

# --- What the test does with it.

compose() {
    "${composer[@]}" -f deploy/compose/compose.yaml -f deploy/compose/test/debian.yaml "$@"
}

container() { compose ps -q -a "$1" 2>/dev/null || compose ps -q "$1"; }

state_of() { docker inspect -f "$2" "$(container "$1")"; }

# Runs in the daemon's network, where the balancer's port is.
there() { nsenter --net="/proc/$daemon/ns/net" -- "$@"; }

# Waits until a command succeeds, three minutes at most.
await() {
    local what=$1
    shift
    for _ in {1..600}; do
        "$@" >/dev/null 2>&1 && return
        sleep 0.3
    done
    compose ps >&2 || true
    compose logs --tail 15 >&2 || true
    tail -n 3 "$work"/*.said >&2 || true
    fail "$what: not within three minutes"
}

api() {
    local path=$1
    shift
    there curl --silent --show-error --fail --noproxy '*' "http://127.0.0.1:8080$path" \
        -H 'content-type: application/json' "$@"
}

token_of() {
    api /api/auth/login -d "{\"username\":\"$1\",\"password\":\"$2\"}" \
        | sed 's/.*"access_token":"\([^"]*\)".*/\1/'
}

healthy() { [ "$(state_of "$1" '{{.State.Health.Status}}')" = healthy ]; }

ready() { docker exec "$(container "$1")" parlance health --ready; }

all_healthy() {
    local one
    for one in postgres node-1 node-2 node-3 balancer; do healthy "$one" || return 1; done
}

expect() {
    local what=$1 wanted=$2 found=$3
    [ "$wanted" = "$found" ] || fail "$what is \"$found\" and not \"$wanted\""
    say "$what: $found"
}

as_an_operator_wants_it() {
    local node
    node=$(container node-1)
    expect "account" 10001:10001 "$(docker exec "$node" sh -c 'echo $(id -u):$(id -g)')"
    expect "root file system" read-only \
        "$(docker exec "$node" sh -c 'touch /x 2>/dev/null && echo writable || echo read-only')"
    expect "mode and owner of the data" "700 10001:10001" \
        "$(docker exec "$node" stat -c '%a %u:%g' /var/lib/parlance)"
    expect "mode and owner of the key" "600 10001:10001" \
        "$(docker exec "$node" stat -c '%a %u:%g' /etc/parlance/node-1.key)"
    expect "nodes in the cluster's status" 3 \
        "$(docker exec "$node" parlance cluster nodes | grep -o 'node-[123]' | sort -u | wc -l)"
    say "size of the image: $(($(docker image inspect -f '{{.Size}}' parlance) / 1000000)) MB, of it" \
        "$(($(docker image inspect -f '{{.Size}}' debian:bookworm-slim) / 1000000)) MB the base"
}

the_administrator_signs_in() {
    local shown name password
    shown=$(compose logs --no-color 2>/dev/null | grep -E 'first administrator:|password:')
    name=$(sed -n 's/.*first administrator: *//p' <<<"$shown" | tr -d '\r')
    password=$(sed -n 's/.*| *password: *//p' <<<"$shown" | tr -d '\r')
    api /api/cluster -H "authorization: Bearer $(token_of "$name" "$password")" >/dev/null
    say "the administrator of the logs signs in and sees the cluster"
}

# The terminal client, with what it shows in NAME.said. In the place of this shell, whose id is told.
talk() {
    export PARLANCE_PASSWORD=Correct-Horse-1
    exec nsenter --net="/proc/$daemon/ns/net" -- target/debug/parlance-chat --register \
        http://127.0.0.1:8080 "$1" engines >>"$work/$1.said" 2>&1
}

heard() { grep -q "\] ada: message $1\$" "$work/$2.said"; }

start_chat() {
    local pipe=$work/lines nothing=$work/nothing
    rm -f "$work"/*.said "$pipe" "$nothing"
    mkfifo "$pipe" "$nothing"
    # It says nothing; opened for both, its input never ends.
    talk bob <>"$nothing" &
    listener=$!
    await "the listener's room" grep -q 'you are in engines' "$work/bob.said"
    talk ada <"$pipe" &
    writer=$!
    exec {lines}>"$pipe"
}

# Says 20 more lines, one after the other, and waits until the listener has them all.
chat_on() {
    for _ in {1..20}; do
        said=$((said + 1))
        echo "message $said" >&"$lines"
        sleep 0.1
    done
    await "message $said, $1" heard "$said" bob
    say "message $said arrived, $1"
}

kill_and_start_each() {
    local n
    for n in 1 2 3; do
        docker kill "$(container "node-$n")" >/dev/null
        chat_on "node-$n killed"
        compose up -d >>"$work/compose.log" 2>&1
        await "node-$n healthy again" healthy "node-$n"
        await "node-$n ready again" ready "node-$n"
        chat_on "node-$n back"
    done
}

stop_one_in_order() {
    local before took
    before=$(date +%s%N)
    compose stop node-1 >>"$work/compose.log" 2>&1
    took=$((($(date +%s%N) - before) / 1000000))
    # 137 would mean that its time was up.
    expect "exit code of a node that was stopped" 0 "$(state_of node-1 '{{.State.ExitCode}}')"
    say "it took $took ms"
    chat_on "node-1 stopped"
}

history_is_complete() {
    local token room wanted page
    token=$(token_of ada Correct-Horse-1)
    room=$(api /api/rooms -H "authorization: Bearer $token" | grep -o '{[^{}]*"name":"engines"' \
        | sed 's/.*"id":"\([^"]*\)".*/\1/')
    page=$(api "/api/rooms/$room/messages?after=0&limit=200" -H "authorization: Bearer $token")
    wanted=$(seq "$said")
    [ "$(grep -o '"body":"message [0-9]*"' <<<"$page" | grep -o '[0-9]*')" = "$wanted" ] \
        || fail "the history is not each message once, in order: $page"
    [ "$(sed -n 's/^\[[0-9]*\] ada: message //p' "$work/bob.said")" = "$wanted" ] \
        || fail "the listener did not see each message once, in order: $(cat "$work/bob.said")"
    ! grep 'not sent' "$work/ada.said" || fail "the writer was told that a message was not sent"
    say "$said messages: history and listener have each of them once, in order"
}

comes_back_after_down() {
    compose down >>"$work/compose.log" 2>&1
    compose up -d >>"$work/compose.log" 2>&1
    await "all of it healthy, after down and up" all_healthy
    await "a balancer that serves" api /api/health/ready
    history_is_complete
    compose down -v >>"$work/compose.log" 2>&1
    expect "volumes after down -v" 0 "$(docker volume ls -q | grep -c '^parlance_' || true)"
}

work='' outside='' daemon='' writer='' listener='' said=0 lines=''
cgroup=parlance-image-test-$$
check_needs
trap ended EXIT
trap 'exit 130' INT TERM
start_daemon
say "building the terminal client"
cargo build --quiet --locked -p parlance-client --bin parlance-chat
make_bases
say "building the image with the profile $PROFILE, and bringing all of it up"
# What an earlier run left in a folder that is kept.
compose down -v >/dev/null 2>&1
compose up --build -d >"$work/compose.log" 2>&1 \
    || { tail -n 30 "$work/compose.log" >&2; fail "compose up failed"; }
await "all of it healthy" all_healthy
for n in 1 2 3; do await "node-$n ready" ready "node-$n"; done
as_an_operator_wants_it
the_administrator_signs_in
start_chat
chat_on "all nodes there"
kill_and_start_each
stop_one_in_order
history_is_complete
comes_back_after_down
say "passed"
