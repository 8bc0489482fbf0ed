#!/bin/sh
# r-nacos, a server in Rust that speaks Nacos' protocol, for tests: `rnacos.sh fetch` and `rnacos.sh start PORT DATA [KEY=VALUE ...]`.
#
# `fetch` builds it once from its crate. `start` runs it in the foreground: HTTP on PORT, gRPC on PORT + 1000. Its files
# are in DATA, and KEY=VALUE are its own environment variables.
set -eu
version=0.8.8
home="${TOLLGATE_CACHE:-$HOME/.cache/tollgate}/rnacos-$version"

fetch() {
    [ -x "$home/bin/rnacos" ] && return
    echo "building r-nacos $version into $home (5 minutes of CPU)" >&2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cargo install --quiet --locked --debug --version "$version" --root "$home" --target-dir "$work" rnacos
    strip --strip-debug "$home/bin/rnacos"
}

start() {
    port=$2
    data=$3
    shift 3
    mkdir -p "$data"
    exec env RUST_LOG=warn RNACOS_HTTP_PORT="$port" RNACOS_GRPC_PORT=$((port + 1000)) RNACOS_HTTP_CONSOLE_PORT=0 \
        RNACOS_DATA_DIR="$data" RNACOS_RAFT_NODE_ADDR="127.0.0.1:$((port + 1000))" "$@" "$home/bin/rnacos"
}

case "${1-}" in
    fetch) fetch ;;
    start) start "$@" ;;
    version) echo "r-nacos $version" ;;
    *) sed -n '2p' "$0" >&2; exit 2 ;;
esac
