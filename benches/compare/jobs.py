"""What is measured, one function for each job; each returns the tables that it filled."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import checks
from bench import Bench, Results, Running, say
from checks import Probe, bearer
from load import head, write_requests
from peers import FEATURES
from report import Column, Table

DIRECT = "no proxy"
# Seconds after which an access log is looked at: those that write in blocks do so once a second.
LOG_DELAY = 1.5
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
        "A row that lacks JWT does not compete: verifying RS256 is most of the work where there is no cache for it.",
        "tollgate, and Envoy with its cache, remember tokens that they have verified; HAProxy and Envoy else do not.",
        "Log lines: those in the file after the load, as a share of what wrk saw answered; requests that it cut off at "
        "the end are in the log too, so the share may be a little over 100.",
    ]
    return [Table("The job", about, columns, results, notes, remarks)]


def lacks(missing: dict[str, str]) -> str:
    if set(missing) == set(FEATURES):
        return "has none of it: the floor"
    return "; ".join(f"no {feature}: {why}" for feature, why in missing.items()) or "all of it"


def capacity_note() -> str:
    return (
        "Where the core was not busy, backend and load generator were the limit: requests a second are then too low, "
        "and CPU a request is still right."
    )


def saturated(bench: Bench, requests: Path, log: bool = False) -> Callable[[Running], dict[str, float]]:
    """As many requests as the peer can answer, after a second to warm up."""

    def work(running: Running) -> dict[str, float]:
        url = f"http://127.0.0.1:{running.port}"
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


JOBS: dict[str, Callable[[Bench], list[Table]]] = {"plain": plain, "job": job}
