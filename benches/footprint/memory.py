"""What the gateway holds in memory: idle, with connections, with routes, with instances."""

import os
import time

import clients
import configs
from process import Failure, Program, answer_of, metric, status_of
from report import KIB, MIB, Row, kib, mib

IDLE = 20 * MIB
CONNECTION, CONNECTION_HELD = 12 * KIB, 45 * KIB
ROUTES, ROUTES_HELD = 60 * MIB, 85 * MIB
INSTANCES = 150 * MIB
SHARE_OF_A_CORE = 0.20


def idle(bench):
    """A gateway with one route that has been asked a little."""
    with bench.backend() as backend, bench.small(backend) as gateway:
        for _ in range(100):
            gateway.ask()
        used = gateway.program.settled_rss()
        own, files = gateway.program.split()
    yield Row("RSS, idle", IDLE, used, mib, note=f"{mib(own)} its own, {mib(files)} of files")


def connections(bench):
    """What one kept connection costs, after one request, and what it costs a bare pingora proxy."""
    count = bench.options.connections
    with bench.backend() as backend:
        with bench.small(backend) as gateway:
            each, note = per_connection(gateway.program, gateway.port, count)
        with bench.bare(backend) as (program, port):
            bare, _ = per_connection(program, port, count)
        yield Row(
            f"RSS of an idle connection, of {count:,}",
            CONNECTION,
            each,
            kib,
            note=f"bare pingora {kib(bare)}: {each / bare:.2f} of it; {note}",
            held=CONNECTION_HELD,
        )
        yield from tls_connections(bench, backend)


def tls_connections(bench, backend):
    count, files = bench.options.tls_connections, bench.certificate()
    context = clients.trusting()
    with bench.small(backend, tls=files) as gateway:
        each, note = per_connection(gateway.program, gateway.port, count, context)
    with bench.bare(backend, tls=files) as (program, port):
        bare, _ = per_connection(program, port, count, context)
    yield Row(
        f"RSS of an idle TLS connection, of {count:,}",
        None,
        each,
        kib,
        note=f"bare pingora {kib(bare)}: {each / bare:.2f} of it; {note}",
    )


def per_connection(program, port, count, tls=None):
    """Resident bytes for each connection, against before; and what stays when they have gone."""
    # What the first connections set up is not theirs.
    for connection in clients.idle(port, 50, tls):
        connection.close()
    before = program.settled_rss()
    opened = clients.idle(port, count, tls)
    used = program.settled_rss() - before
    for connection in opened:
        connection.close()
    time.sleep(1)
    left = program.settled_rss(longest=5) - before
    return used / count, f"{mib(left)} are kept of {mib(used)} when they have gone"


def routes(bench):
    """A fleet's routes: just read, and after many reloads."""
    count = bench.options.routes
    with bench.backend() as backend, bench.fleet(count, backend) as gateway:
        first = gateway.program.settled_rss()
        own, files = gateway.program.split()
        note = f"{mib(own)} its own, {mib(files)} of files"
        yield Row(f"RSS, {count:,} routes", ROUTES, first, mib, note=note, held=ROUTES_HELD)
        for edition in range(1, 11):
            gateway.reload(edition)
        after = gateway.program.settled_rss()
        yield Row(f"RSS, {count:,} routes, after 10 reloads", None, after, mib)
        answer_of(gateway.admin, "/metrics")
        scraped = gateway.program.settled_rss()
        yield Row(f"RSS, {count:,} routes, and after a scrape", None, scraped, mib)
    with bench.backend() as backend, bench.fleet(count, backend, configs.POLICIES) as gateway:
        used = gateway.program.settled_rss()
        yield Row(f"RSS, {count:,} routes, each with breaker and header edit", None, used, mib)


def instances(bench):
    """Instances from a file and from the embedded registry, while some of them change."""
    seconds = bench.options.seconds
    for services, each in [(100, 100), (1, 10_000)]:
        with FileFleet(bench, services, each) as fleet:
            yield from changing(fleet, f"file, {services} × {each:,}", seconds)
    with EmbeddedFleet(bench, 100, 100) as fleet:
        yield from changing(fleet, "embedded, 100 × 100", seconds)


def changing(fleet, what, seconds, rate=50):
    program = fleet.gateway.program
    quiet = program.settled_rss()
    yield Row(f"RSS, 10,000 instances ({what})", INSTANCES, quiet, mib)
    views = metric(fleet.gateway.admin, "tollgate_registry_views_total")
    cpu, began, peak = program.cpu(), time.monotonic(), quiet
    changes = 0
    while time.monotonic() - began < seconds:
        fleet.change(changes)
        changes += 1
        peak = max(peak, program.rss())
        time.sleep(max(0.0, began + changes / rate - time.monotonic()))
    taken = time.monotonic() - began
    share = (program.cpu() - cpu) / taken
    views = metric(fleet.gateway.admin, "tollgate_registry_views_total") - views
    if not views:
        raise Failure("no change has reached the gateway")
    yield Row(
        f"CPU at {changes / taken:.0f} changes a second ({what})",
        SHARE_OF_A_CORE,
        share,
        lambda value: f"{value * 100:.1f} % of a core",
        note=f"{views / taken:.0f} views a second",
        timing=True,
    )
    yield Row(f"RSS, highest during that ({what})", INSTANCES, peak, mib)


class FileFleet:
    """Services of a `file` registry. A change rewrites the file, in one move."""

    def __init__(self, bench, services, each):
        self.services, self.each = services, each
        self.path = bench.folder / "instances.json"
        self.entries = [configs.instance(number) for number in range(services * each)]
        self.write()
        self.gateway = bench.services(services, f'kind = "file"\npath = "{self.path}"')

    def __enter__(self):
        self.gateway.__enter__()
        self.gateway.wait_for_instances(self.services * self.each)
        return self

    def __exit__(self, *end):
        self.gateway.__exit__(*end)

    def change(self, turn):
        number = turn * 37 % len(self.entries)
        self.entries[number] = configs.instance(number, weight=2 + turn % 9)
        self.write()

    def write(self):
        beside = self.path.with_suffix(".new")
        beside.write_text(configs.instances(self.entries, self.each))
        os.replace(beside, self.path)


class EmbeddedFleet:
    """Services of the embedded registry. A change is an edited weight."""

    def __init__(self, bench, services, each):
        self.services, self.each = services, each
        self.port = bench.ports.free()
        kind = f'kind = "embedded"\nlisten = "127.0.0.1:{self.port}"'
        self.gateway = bench.services(services, kind)

    def __enter__(self):
        self.gateway.__enter__()
        self.api = clients.Api(self.port)
        for number in range(self.services * self.each):
            self.register("POST", number, 1.0)
        self.gateway.wait_for_instances(self.services * self.each)
        return self

    def __exit__(self, *end):
        self.gateway.__exit__(*end)

    def change(self, turn):
        self.register("PUT", turn * 37 % (self.services * self.each), 1.0 + turn % 9)

    def register(self, method, number, weight):
        ip, _, port = configs.address(number).partition(":")
        status = self.api.ask(
            method,
            f"/nacos/v1/ns/instance?serviceName=service-{number // self.each}&ip={ip}&port={port}"
            f"&weight={weight}&ephemeral=false",
        )
        if status != 200:
            raise Failure(f"the embedded registry answers {status}")
