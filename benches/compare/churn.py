"""Job 8: 10,000 instances, of which 50 a second come or go, while requests run."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import checks
from bench import Bench, Running
from checks import Probe
from feeders import INSTANCES, SERVICES, Feeder
from load import Load, head, write_requests
from machine import Failure

CHANGES = 50
"""A second."""
RATE = 1000
"""Requests a second, over all services."""


def requests(bench: Bench) -> Path:
    return write_requests(bench.folder / "churn.txt", [head(f"/svc-{service}/a") for service in range(SERVICES)])


def measure_churn(bench: Bench, running: Running, feeder: Feeder, heads: Path) -> dict[str, float]:
    """A window without changes, and one of the same length with them."""
    feeder.fill(running)
    checks.wait_until(running.port, Probe(path=f"/svc-{SERVICES - 1}/a"), running.process, 20)
    check_removal(bench, running, feeder)
    seconds = max(3, 2 * bench.options.seconds)
    call = bench.generators.fixed_rate
    # Every second instance or so has a connection before it counts.
    call(running.port, heads, 3 * RATE, 2, 0)
    quiet, _, quiet_busy = running.measure(lambda: call(running.port, heads, RATE, seconds))
    changing, busy, made = under_changes(running, feeder, lambda: call(running.port, heads, RATE, seconds))
    return {
        "quiet p99": quiet.latency["p99"],
        "p99": changing.latency["p99"],
        "failed": changing.errors,
        "quiet busy": quiet_busy * 100,
        "busy": busy * 100,
        "each": (busy - quiet_busy) * 1e6 / made,
        "memory": running.process.memory_kib() / 1024,
    }


def under_changes(running: Running, feeder: Feeder, load: Callable[[], Load]) -> tuple[Load, float, float]:
    """What the load saw, the busy share of the core, and how many changes a second there were."""
    outcome: list[tuple[Load, float, float]] = []
    thread = threading.Thread(target=lambda: outcome.append(running.measure(load, errors_count=True)))
    chance = random.Random(1)
    began, made = time.monotonic(), 0
    thread.start()
    try:
        while thread.is_alive():
            feeder.change(chance.randrange(SERVICES), chance.randrange(INSTANCES))
            made += 1
            time.sleep(max(0, began + made / CHANGES - time.monotonic()))
    finally:
        thread.join()
    if not outcome:
        raise Failure("the load did not run to its end")
    rate = made / (time.monotonic() - began)
    if rate < CHANGES * 0.9:
        raise Failure(f"takes {rate:.0f} changes a second and not {CHANGES}")
    result, _, busy = outcome[0]
    return result, busy, rate


def check_removal(bench: Bench, running: Running, feeder: Feeder) -> None:
    """An instance that left is not asked any more, and one that is back is."""
    port = str(bench.ports["MANY_FIRST"]).encode()
    for back in (False, True):
        time.sleep(0.3)
        feeder.change(0, 0)
        until = time.monotonic() + 10
        # With 100 instances, 1,000 requests miss one that is there once in 20,000 times.
        while any(checks.get(running.port, "/svc-0/which")[1] == port for _ in range(1000)) != back:
            if time.monotonic() > until:
                raise Failure(f"an instance that {'is back' if back else 'left'} is not seen to be, after 10 s")
