#!/bin/sh
# Gets every server that the tests of this folder start, into $TOLLGATE_CACHE. Does nothing when all are there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/rnacos.sh" fetch
"$here/nacos.sh" fetch 2
"$here/nacos.sh" fetch 3
