"""Job 9: a config with 10,000 routes is swapped for another each second, while requests run."""

import os
import signal
import statistics
import threading
import time
from pathlib import Path

import checks
from bench import Bench, Running, render_config
from checks import Probe
from load import Load
from machine import Failure

RATE = 1000
"""Requests a second: little, so that what is seen is the swap and not a full core."""


def measure_swaps(bench: Bench, running: Running, requests: Path) -> dict[str, float]:
    """A window without swaps, and one of the same length with one in each second."""
    seconds = max(3, 2 * bench.options.seconds)
    configs = [prepare(running, number) for number in range(1, seconds + 1)]
    quiet, quiet_cpu = window(bench, running, requests, seconds, [])
    swapping, swapping_cpu = window(bench, running, requests, seconds, configs)
    applied, swaps = swapping.latency["applied"], swapping.latency["swaps"]
    return {
        "quiet p99": quiet.latency["p99"],
        "p99": swapping.latency["p99"],
        "max": swapping.latency["max"],
        "p99 ratio": swapping.latency["p99"] / quiet.latency["p99"],
        "failed": swapping.errors,
        "resent": swapping.resent,
        "applied": applied,
        "swaps": swaps,
        "cpu": (swapping_cpu - quiet_cpu) / swaps * 1000,
        "memory": running.process.memory_kib() / 1024,
    }


def prepare(running: Running, number: int) -> Path:
    """A folder with the files of that generation, so that a swap is only a rename."""
    folder = running.folder.with_name(f"{running.folder.name}-{number}")
    folder.mkdir()
    render_config(running.peer, "routes", folder, running.values | {"GENERATION": str(number)})
    return folder


def window(bench: Bench, running: Running, requests: Path, seconds: int, configs: list[Path]) -> tuple[Load, float]:
    """The fixed rate for that long, with a swap each second where there are configs; its outcome, and CPU seconds."""
    outcome: list[tuple[Load, float, float]] = []

    def load() -> None:
        call = bench.generators.fixed_rate
        outcome.append(running.measure(lambda: call(running.port, requests, RATE, seconds), bool(configs)))

    thread = threading.Thread(target=load)
    thread.start()
    # The generator's warm-up.
    began = time.monotonic() + 1.1
    taken = []
    try:
        for number, folder in enumerate(configs, start=1):
            time.sleep(max(0, began + number - 1 - time.monotonic()))
            # One that is slow gets through fewer of them.
            if not thread.is_alive():
                break
            taken.append(swap(running, folder, number))
    finally:
        thread.join()
    if not outcome:
        raise Failure("the load did not run to its end")
    result, cpu, _ = outcome[0]
    if taken:
        result.latency["applied"] = statistics.median(taken) * 1000
        result.latency["swaps"] = len(taken)
    return result, cpu * result.answered / 1e6


def swap(running: Running, folder: Path, number: int) -> float:
    """Puts the files in place, and says how long it took until the new routes answer."""
    started = time.monotonic()
    for file in folder.iterdir():
        os.replace(file, running.folder / file.name)
    folder.rmdir()
    if running.peer.reload != "file":
        os.kill(running.process.child.pid, signal.Signals[running.peer.reload])
    probe = Probe(path=f"/generation-{number}/")
    while checks.ask(running.port, probe):
        if time.monotonic() - started > 10:
            raise Failure(f"swap {number} is not seen after 10 s: {running.process.tail()}")
        time.sleep(0.005)
    return time.monotonic() - started
