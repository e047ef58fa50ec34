# shellcheck shell=bash disable=SC2154  # run.sh sets the rest
# Base images for where none can be pulled: made by debootstrap and brought in by `docker import`,
# under the names that the Dockerfile and debian.yaml ask for. Sourced by run.sh, which sets $work
# and $root and points `docker` at the test's own daemon. Each is equal in meaning to the official
# image as far as the product uses it, not in content.

release=bookworm

# Runs in a root and keeps its output for when it fails.
inside() {
    local at=$1
    shift
    DEBIAN_FRONTEND=noninteractive chroot "$at" "$@" >"$work/base.log" 2>&1 \
        || { tail -n 20 "$work/base.log" >&2; fail "a base image could not be made"; }
}

# Installs packages without starting any service that they bring.
packages() {
    local at=$1
    shift
    printf '#!/bin/sh\nexit 101\n' >"$at/usr/sbin/policy-rc.d"
    chmod 755 "$at/usr/sbin/policy-rc.d"
    inside "$at" apt-get -qq update
    inside "$at" apt-get -qq -y --no-install-recommends install "$@"
    slim "$at"
}

slim() {
    rm -rf "${1:?}"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* \
        "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/*
}

# import ROOT NAME [CHANGE…]: makes the image; the root is removed unless it is the common one.
import() {
    local at=$1 name=$2 change changes=()
    shift 2
    for change in "$@"; do changes+=(--change "$change"); done
    tar -C "$at" --one-file-system -c . | docker import "${changes[@]}" - "$name" >/dev/null
    [ "$at" = "$work/debian" ] || rm -rf -- "$at"
}

# `docker import` does not take this one.
stop_signal() { printf 'FROM %s\nSTOPSIGNAL %s\n' "$1" "$2" | docker build --quiet -t "$1" - >/dev/null; }

base_debian() {
    debootstrap --variant=minbase "$release" "$work/debian" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} \
        >"$work/base.log" 2>&1 \
        || { tail -n 5 "$work/base.log" >&2; fail "debootstrap failed"; }
    slim "$work/debian"
    import "$work/debian" "debian:$release-slim" 'CMD ["bash"]'
}

# The toolchain is the one on this machine. The daemon's network has no way out, so that the crates
# of Cargo.lock are put beside it, where cargo's configuration finds them.
base_rust() {
    local at=$work/rust home=/usr/local/cargo
    cp -a "$work/debian" "$at"
    packages "$at" gcc g++ libc6-dev make pkg-config
    mkdir -p "$at/usr/local/rustup" "$at$home"
    tar -C "$(rustc --print sysroot)" --exclude=./share --exclude=./lib/rustlib/src -c . \
        | tar -x -C "$at/usr/local/rustup"
    cargo --quiet vendor --locked --manifest-path "$root/Cargo.toml" "$at$home/vendor" >/dev/null
    printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "%s"\n' \
        "$home/vendor" >"$at$home/config.toml"
    import "$at" "$(sed -n 's/^FROM \(.*\) AS build$/\1/p' "$root/deploy/Dockerfile")" \
        "ENV PATH=/usr/local/rustup/bin:$image_path" "ENV CARGO_HOME=$home"
}

base_postgres() {
    local at=$work/postgres
    cp -a "$work/debian" "$at"
    # The package would make a server of its own.
    mkdir -p "$at/etc/postgresql-common"
    echo 'create_main_cluster = false' >"$at/etc/postgresql-common/createcluster.conf"
    packages "$at" postgresql-15
    install -m 755 "$here/postgres-entrypoint.sh" "$at/usr/local/bin/docker-entrypoint.sh"
    import "$at" postgres:15 "ENV PATH=/usr/lib/postgresql/15/bin:$image_path" \
        'ENV PGDATA=/var/lib/postgresql/data' 'VOLUME /var/lib/postgresql/data' \
        'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]'
    stop_signal postgres:15 SIGINT
}

base_haproxy() {
    local at=$work/haproxy
    cp -a "$work/debian" "$at"
    packages "$at" haproxy
    import "$at" haproxy:2.6 'USER haproxy' \
        'ENTRYPOINT ["/usr/sbin/haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
    stop_signal haproxy:2.6 SIGUSR1
}

image_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

make_bases() {
    local one
    # A kept folder may have them all: haproxy's is the last one.
    ! docker image inspect haproxy:2.6 >/dev/null 2>&1 || return 0
    rm -rf -- "$work/debian" "$work/rust" "$work/postgres" "$work/haproxy"
    for one in debian rust postgres haproxy; do
        say "making the base image of $one"
        "base_$one"
    done
    rm -rf -- "$work/debian"
}
