#!/bin/sh
# A real Nacos server, for tests: `nacos.sh fetch 2|3` and `nacos.sh start 2|3 PORT DATA [KEY=VALUE ...]`.
#
# `fetch` takes the server's own jars from Maven's central repository, where they are republished, and compiles the few
# lines that start them; it does nothing when that is done. `start` runs the server in the foreground on loopback: HTTP
# on PORT, gRPC on PORT + 1000 (and PORT + 1001, PORT - 1000 for its cluster side). Its files are in DATA, and KEY=VALUE
# are lines for its application.properties. Later lines win.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

case "${2-}" in
    2)
        # This build of 2.2.4 alone has its Raft groups left in, which persistent instances and changed weights need.
        version=2.2.4-x86
        group=io.springboot.nacos
        # The republished 2.x leaves the versions of Spring to whoever uses it; 3.x knows them itself.
        platform='<dependency><groupId>org.springframework.boot</groupId><artifactId>spring-boot-dependencies</artifactId><version>2.7.18</version><type>pom</type><scope>import</scope></dependency>'
        artifacts="nacos-naming nacos-config nacos-plugin-default-impl"
        ;;
    3)
        version=3.1.0-bugfix
        group=io.github.pig-mesh.nacos
        platform=
        artifacts="nacos-console nacos-server"
        ;;
    *) sed -n '2p' "$0" >&2; exit 2 ;;
esac
home="${TOLLGATE_CACHE:-$HOME/.cache/tollgate}/nacos-$version"

pom() {
    echo '<project><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>tollgate</groupId><artifactId>nacos</artifactId><version>1</version>'
    echo "<dependencyManagement><dependencies>$platform</dependencies></dependencyManagement><dependencies>"
    for artifact in $artifacts; do
        echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
    done
    echo '</dependencies></project>'
}

fetch() {
    [ -d "$home" ] && return
    "$here/../../.ci/setup" mvn:maven javac:default-jdk-headless
    mkdir -p "$(dirname "$home")"
    work=$(mktemp -d "$home.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "fetching Nacos $version into $home" >&2
    pom >"$work/pom.xml"
    mvn -q -B -f "$work/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DoutputDirectory="$work/lib" -DincludeScope=runtime >&2
    # Two artifacts carry classes of the same names; Nacos needs the newer ones.
    mkdir "$work/first"
    mv "$work"/lib/hessian-4.*.jar "$work/first"
    javac -d "$work/classes" -cp "$work/lib/*" "$here/nacos/$2/NacosServer.java"
    mv "$work" "$home"
}

start() {
    port=$3
    mkdir -p "$4/conf"
    data=$(cd "$4" && pwd)
    shift 4
    {
        echo "server.port=$port"
        echo "nacos.server.main.port=$port"
        echo "server.servlet.contextPath=/nacos"
        echo "nacos.core.auth.system.type=nacos"
        echo "nacos.core.auth.enabled=false"
        echo "nacos.core.auth.admin.enabled=false"
        echo "nacos.core.auth.caching.enabled=false"
        echo "nacos.core.auth.server.identity.key=tests"
        echo "nacos.core.auth.server.identity.value=tests"
        # Signs the tokens of this server: base64 of 48 bytes that are the same in every run.
        echo "nacos.core.auth.plugin.nacos.token.secret.key=dG9sbGdhdGUtdGVzdHMtZG9sbGdhdGUtdGVzdHMtZG9sbGdhdGUtdGVzdHMtMTIz"
        echo "spring.autoconfigure.exclude=org.springframework.boot.autoconfigure.jdbc.DataSourceAutoConfiguration,org.springframework.boot.autoconfigure.jdbc.DataSourceTransactionManagerAutoConfiguration"
        for line in "$@"; do echo "$line"; done
    } >"$data/conf/application.properties"
    cd "$data"
    exec java -Xms128m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Duser.home="$data" -Dnacos.home="$data" -Dnacos.standalone=true \
        -Dnacos.inetutils.ip-address=127.0.0.1 -Dserver.address=127.0.0.1 \
        -cp "$home/classes:$home/first/*:$home/lib/*" NacosServer \
        --spring.config.additional-location="file:$data/conf/"
}

case "$1" in
    fetch) fetch "$@" ;;
    start) start "$@" ;;
    version) echo "Nacos ${version%-*}" ;;
    *) sed -n '2p' "$0" >&2; exit 2 ;;
esac
