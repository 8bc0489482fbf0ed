"""What is measured, one function for each job; each returns the tables that it filled."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import checks
import churn
import swap
from backend import GRPC_MESSAGE, GRPC_PATH
from bench import Bench, Results, Running, say
from checks import Probe, bearer
from clients import Clients
from feeders import WAYS
from load import head, write_requests
from peers import FEATURES
from report import Column, Table

DIRECT = "no proxy"
# Seconds after which an access log is looked at: those that write in blocks do so once a second.
LOG_DELAY = 1.5
IDLE = 10_000
CPU = Column("CPU us a request", "cpu", 1, ratio=True)
RATE = Column("requests a second", "rate", 0)
BUSY = Column("core busy %", "busy", 0)
MEMORY = Column("memory MiB", "memory")
CAPACITY = [CPU, RATE, BUSY, MEMORY]


def plain(bench: Bench) -> list[Table]:
    """Job 1."""
    probe = Probe()
    requests = write_requests(bench.folder / "plain.txt", [head("/")])
    results = bench.take_turns("plain", probe, saturated(bench, requests))
    rate = fixed_rate(bench, "plain", probe, requests, results)
    about = "Every request goes to one instance and brings 24 bytes; no log, no policy. HTTP/1.1, 64 connections."
    return [Table("Plain proxy", about, CAPACITY + latency(rate), results, [capacity_note()])]


def job(bench: Bench) -> list[Table]:
    """Job 2."""
    tokens = bench.tokens.good
    probe = Probe(headers=bearer(tokens[0]))
    heads = [head("/orders/42?page=1", f"Authorization: Bearer {token}") for token in tokens]
    requests = write_requests(bench.folder / "job.txt", heads)
    load = saturated(bench, requests, log=True)
    results = bench.take_turns("job", probe, load, first=lambda peer: checks.check_job(bench, peer))
    rate = fixed_rate(bench, "job", probe, requests, results)
    columns = CAPACITY + [Column("log lines %", "log", 1)] + latency(rate)
    about = (
        "JWT (RS256) of 1,000 users verified, a rate limit for each user, ejection of failing instances or a circuit "
        "breaker, four weighted instances, a request id, an access log to a file, metrics on. Each feature that a row "
        "does not lack was seen at work: bad tokens refused, one user's limit reached and not the other's, shares by "
        "weight, failing instances left out."
    )
    remarks = {peer.name: lacks(peer.missing) for peer in bench.peers}
    notes = [
        capacity_note(),
        "A row that lacks a feature does not compete, and has its ratios in brackets: verifying RS256 is most of the "
        "work where there is no cache for it.",
        "tollgate, and Envoy with its cache, remember tokens that they have verified; HAProxy and Envoy else do not.",
        "Log lines: those in the file after the load, as a share of what wrk saw answered; requests that it cut off at "
        "the end are in the log too, so the share may be a little over 100.",
    ]
    beside = {DIRECT} | {peer.name for peer in bench.peers if peer.missing}
    return [Table("The job", about, columns, results, notes, remarks, beside)]


def lacks(missing: dict[str, str]) -> str:
    if set(missing) == set(FEATURES):
        return "has none of it: the floor"
    return "; ".join(f"no {feature}: {why}" for feature, why in missing.items()) or "all of it"


def capacity_note() -> str:
    return (
        "Where the core was not busy, backend and load generator were the limit: requests a second are then too low, "
        "and CPU a request is what it cost at that rate."
    )


def few(bench: Bench) -> int:
    """Rounds of the jobs after the first two, so that a whole run takes less than half an hour."""
    return min(2, bench.options.rounds)


def saturated(
    bench: Bench, requests: Path, log: bool = False, tls: bool = False
) -> Callable[[Running], dict[str, float]]:
    """As many requests as the peer can answer, after a second to warm up."""

    def work(running: Running) -> dict[str, float]:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{running.port}"
        lines = checks.log_lines(running) if log else 0
        warm = bench.generators.saturate(url, requests, 1)
        load, cpu, busy = running.measure(lambda: bench.generators.saturate(url, requests, bench.options.seconds))
        memory = running.process.memory_kib() / 1024
        metrics = {"cpu": cpu, "rate": load.answered / load.seconds, "busy": busy * 100, "memory": memory}
        if log and "access log" not in running.peer.missing:
            time.sleep(LOG_DELAY)
            written = checks.log_lines(running) - lines
            metrics["log"] = written / (warm.answered + load.answered) * 100
        return metrics

    return work


def fixed_rate(bench: Bench, config: str, probe: Probe, requests: Path, results: Results) -> float:
    """The latency of all peers at half of what the slowest one can take; returns that rate."""
    capacities = [statistics.median(metrics["rate"]) for metrics in results.values.values() if "rate" in metrics]
    if not capacities:
        return 0.0
    rate = min(capacities) / 2
    say(f"  at {rate:.0f} requests a second")

    def work(running: Running) -> dict[str, float]:
        return paced(bench, running, requests, rate)

    for _ in range(bench.options.rounds):
        load = bench.generators.fixed_rate(bench.ports["INSTANCE1"], requests, rate, bench.options.seconds)
        results.add(DIRECT, load.latency)
    bench.take_turns(config, probe, work, results=results)
    return rate


def paced(bench: Bench, running: Running, requests: Path, rate: float) -> dict[str, float]:
    load, _, _ = running.measure(
        lambda: bench.generators.fixed_rate(running.port, requests, rate, bench.options.seconds)
    )
    return load.latency


def latency(rate: float) -> list[Column]:
    first = Column(f"p50 us at {rate:,.0f}/s", "p50", 0)
    return [first, Column("p99 us", "p99", 0, ratio=True), Column("p99.9 us", "p99.9", 0)]


def bodies(bench: Bench) -> list[Table]:
    """Job 3."""
    sizes = {"64k": 64 * 1024, "1m": 1024 * 1024}
    files = {name: write_requests(bench.folder / f"{name}.txt", [head(f"/{name}")]) for name in sizes}

    def work(running: Running) -> dict[str, float]:
        url, metrics = f"http://127.0.0.1:{running.port}", {}
        for name, size in sizes.items():
            checks.expect(running.port, Probe(path=f"/{name}", length=size))
            # Fewer connections than for small bodies: what counts is to move bytes, and not to queue for it.
            load, cpu, _ = running.measure(
                lambda name=name: bench.generators.saturate(url, files[name], bench.options.seconds, connections=16)
            )
            metrics |= {f"{name} cpu": cpu, f"{name} rate": load.answered * size / load.seconds / 1e6}
        return metrics | {"memory": running.process.memory_kib() / 1024}

    columns = []
    for name, title in (("64k", "64 KiB"), ("1m", "1 MiB")):
        columns.append(Column(f"{title}: CPU us a request", f"{name} cpu", 0, ratio=True))
        columns.append(Column("MB a second", f"{name} rate", 0))
    results = bench.take_turns("plain", Probe(), work, rounds=few(bench))
    about = "Answers of 64 KiB and 1 MiB, which the backend sends from the page cache. HTTP/1.1, 16 connections."
    return [Table("Large bodies", about, [*columns, MEMORY], results)]


def tls(bench: Bench) -> list[Table]:
    """Job 6."""
    requests = write_requests(bench.folder / "tls.txt", [head("/")])
    kept = saturated(bench, requests, tls=True)

    def work(running: Running) -> dict[str, float]:
        metrics = kept(running)
        load, cpu, _ = running.measure(lambda: bench.generators.handshakes(running.port, bench.options.seconds))
        return metrics | {"handshake": cpu, "handshakes": load.answered / load.seconds}

    columns = [CPU, RATE, Column("CPU us a handshake", "handshake", 0, ratio=True)]
    columns += [Column("handshakes a second", "handshakes", 0), MEMORY]
    results = bench.take_turns("tls", Probe(tls=True), work, rounds=few(bench))
    about = (
        "HTTP/1.1 over TLS with a P-256 certificate, the backend without TLS: 64 connections that are kept; then full "
        "handshakes of TLS 1.3, of which eight openssl clients make one after the other."
    )
    return [Table("TLS", about, columns, results, [capacity_note()])]


def http2(bench: Bench) -> list[Table]:
    """Job 4."""
    columns = [CPU, RATE, BUSY, MEMORY]
    about = "Over TLS, 16 connections with 10 streams each; the backend speaks HTTP/1.1."
    work = streams(bench, checks.check_http2, ())
    results = bench.take_turns("tls", Probe(tls=True), work, rounds=few(bench))
    tables = [Table("HTTP/2", about, columns, results, [capacity_note()])]
    message = bench.folder / "grpc.bin"
    message.write_bytes(GRPC_MESSAGE)
    call = ("-d", str(message), "-H", "content-type: application/grpc", "-H", "te: trailers")
    about = (
        "Unary calls with messages of 24 bytes, over TLS, 16 connections with 10 streams each; the backend speaks h2c "
        "and ends its answers with trailers, which were seen to come through."
    )
    work = streams(bench, lambda port: checks.check_grpc(port, message), call, GRPC_PATH)
    results = bench.take_turns("grpc", None, work, rounds=few(bench))
    return [*tables, Table("gRPC", about, columns, results, [capacity_note()])]


def streams(
    bench: Bench, check: Callable[[int], None], extra: tuple[str, ...], path: str = "/"
) -> Callable[[Running], dict[str, float]]:
    def work(running: Running) -> dict[str, float]:
        check(running.port)
        url = f"https://127.0.0.1:{running.port}{path}"
        bench.generators.http2(url, 1, extra)
        load, cpu, busy = running.measure(lambda: bench.generators.http2(url, bench.options.seconds, extra))
        memory = running.process.memory_kib() / 1024
        return {"cpu": cpu, "rate": load.answered / load.seconds, "busy": busy * 100, "memory": memory}

    return work


def routes(bench: Bench) -> list[Table]:
    """Job 7."""
    load = saturated(bench, many_routes(bench))

    def work(running: Running) -> dict[str, float]:
        checks.check_routes(running.port)
        return load(running) | {"starting": running.starting}

    about = (
        "10,000 path prefixes to 100 upstreams, of which the load asks for 1,000 in turn; a path without a route is "
        "404. HTTP/1.1, 64 connections."
    )
    columns = [*CAPACITY, Column("start s", "starting", 2)]
    results = bench.take_turns("routes", Probe(path="/svc-9999/a"), work, rounds=few(bench))
    return [Table("10,000 routes", about, columns, results, [capacity_note()])]


def many_routes(bench: Bench) -> Path:
    """Requests to every tenth route."""
    heads = [head(f"/svc-{number}/a") for number in range(0, checks.ROUTES, 10)]
    return write_requests(bench.folder / "routes.txt", heads)


def idle(bench: Bench) -> list[Table]:
    """Job 5."""
    requests = write_requests(bench.folder / "idle.txt", [head("/")])

    def work(running: Running) -> dict[str, float]:
        url = f"http://127.0.0.1:{running.port}"
        bench.generators.saturate(url, requests, 1)
        quiet = running.process.memory_kib()
        with Clients(running.port, IDLE) as clients:
            time.sleep(1)
            held = running.process.memory_kib()
            _, cpu, _ = running.measure(lambda: bench.generators.saturate(url, requests, 1))
            clients.ask_some()
        return {"quiet": quiet / 1024, "held": held / 1024, "each": (held - quiet) / IDLE, "cpu": cpu}

    columns = [Column("KiB a connection", "each", 1, ratio=True), Column("MiB before", "quiet")]
    columns += [Column("MiB with", "held"), Column("CPU us a request beside them", "cpu", 1, ratio=True)]
    about = (
        f"{IDLE:,} connections that made one request each and stay open; then 64 more make requests beside them. "
        "Memory before is taken after a load on 64 connections, when buffers and pools are there."
    )
    results = bench.take_turns("plain", Probe(), work, rounds=few(bench))
    return [Table("10,000 idle connections", about, columns, results)]


def swaps(bench: Bench) -> list[Table]:
    """Job 9."""
    requests = many_routes(bench)

    def work(running: Running) -> dict[str, float]:
        return swap.measure_swaps(bench, running, requests)

    results = bench.take_turns(
        "routes",
        Probe(path="/svc-9999/a"),
        work,
        rounds=1,
        peers=[peer for peer in bench.peers if peer.reload],
    )
    columns = [
        Column("p99 us quiet", "quiet p99", 0),
        Column("p99 us swapping", "p99", 0),
        Column("swapping to quiet", "p99 ratio", 2),
        Column("max us swapping", "max", 0),
        Column("failed", "failed", 0),
        Column("resent", "resent", 0),
        Column("applied in ms", "applied", 0),
        Column("swaps", "swaps", 0),
        Column("CPU ms a swap", "cpu", 0, ratio=True),
        Column("memory MiB", "memory"),
    ]
    about = (
        f"A config with 10,000 routes replaced by another each second, under {swap.RATE:,} requests a second. Applied "
        "is when a new route is first seen to answer. Resent: requests that met a connection just closed and were sent "
        "once more, as clients do; failed: those without an answer after that, or with another than 200."
    )
    notes = [
        "tollgate, Envoy and Traefik see that the file was replaced; nginx and HAProxy are sent the signal of their "
        "manuals, and start new processes. Envoy takes the routes alone that way, the others the whole config.",
        "Not done: Caddy, which takes half a minute to read this config; pingap, which looks for changes every 90 s.",
    ]
    return [Table("A config swap each second at 10,000 routes", about, columns, results, notes)]


def instances(bench: Bench) -> list[Table]:
    """Job 8."""
    heads, results = churn.requests(bench), Results()
    for row, name, config, kind in WAYS:
        for peer in bench.peers:
            if peer.name == name:
                bench.programs[row] = bench.programs[name]
                feeder = kind(bench.ports["MANY_FIRST"])
                bench.take_turns(
                    config,
                    None,
                    lambda running, feeder=feeder: churn.measure_churn(bench, running, feeder, heads),
                    rounds=1,
                    results=results,
                    peers=[dataclasses.replace(peer, name=row)],
                    prepare=feeder.prepare,
                )
                feeder.close()
    columns = [
        Column("core busy % quiet", "quiet busy", 1),
        Column("core busy % changing", "busy", 1, ratio=True),
        Column("CPU us a change", "each", 0),
        Column("p99 us quiet", "quiet p99", 0),
        Column("p99 us changing", "p99", 0),
        Column("failed", "failed", 0),
        Column("memory MiB", "memory"),
    ]
    about = (
        f"100 services with 100 instances each, of which {churn.CHANGES} a second come or go, under {churn.RATE:,} "
        "requests a second that go to all services; an instance that left was seen to be left alone."
    )
    notes = [
        "tollgate: instances register with its embedded registry, one request a change; or a file with all 10,000, "
        "written five times a second. Envoy: a file for each service (EDS). HAProxy: its runtime API.",
        "CPU a change is the difference of two windows: where it is less than 200 us, or negative, it is noise.",
        "Not done: nginx, Traefik, Caddy and pingap, which would have to read a whole config 50 times a second.",
    ]
    return [Table("10,000 instances with 50 changes a second", about, columns, results, notes)]


JOBS: dict[str, Callable[[Bench], list[Table]]] = {
    "plain": plain,
    "job": job,
    "bodies": bodies,
    "tls": tls,
    "http2": http2,
    "routes": routes,
    "idle": idle,
    "swaps": swaps,
    "instances": instances,
}
