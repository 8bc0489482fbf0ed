#!/bin/sh
# Installs a client that the tests run, once, and prints where it is.
#
# install.sh nacos-python | nacos-npm
set -eu

cache="${TOLLGATE_CACHE:-$HOME/.cache/tollgate}"
case "${1:-}" in
nacos-python)
    home="$cache/nacos-sdk-python-0.1.17"
    install() {
        python3 -m venv "$home" &&
            "$home/bin/pip" install --quiet --disable-pip-version-check nacos-sdk-python==0.1.17
    }
    ;;
nacos-npm)
    home="$cache/nacos-npm-2.6.3"
    install() {
        mkdir -p "$home" && npm install --silent --no-fund --no-audit --prefix "$home" nacos@2.6.3
    }
    ;;
*)
    echo "usage: $0 nacos-python | nacos-npm" >&2
    exit 2
    ;;
esac

# The mark is made last, so that an installation that was broken off is begun again.
if [ ! -e "$home/.installed" ]; then
    rm -rf "$home"
    mkdir -p "$cache"
    install >&2
    : >"$home/.installed"
fi
echo "$home"
