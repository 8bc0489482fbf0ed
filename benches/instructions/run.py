#!/usr/bin/env python3
"""Counts the user instructions and the allocations that a request costs tollgate, and holds them to their budget.

Each program runs under callgrind and is asked one request after the other on one connection, so that the count is the
same from run to run, whatever else the machine does. The counters are set to zero after a warm-up, and read after
REQUESTS more. Budgets are ratios to the bare pingora proxy of benches/bare, counted in the same run.

Exits with 1 when a budget is broken.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import typing

sys.dont_write_bytecode = True

import report  # noqa: E402: the line above comes first, so that no caches appear in the tree
from client import Client, bearer  # noqa: E402
from counted import Backend, Counted, free_port  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
KEYS = HERE.parent.parent / "tests/data/keys"
WARM_UP = 300
REQUESTS = 1000


class Job(typing.NamedTuple):
    path: str
    status: int
    """What every answer must be."""
    token: bool = False
    logged: bool = True
    floor: str = report.BARE
    """What it is held against: bare pingora, asked the same."""


JOBS = {
    "plain": Job("/plain/x", 200, logged=False),
    "the job": Job("/job/x", 200, token=True, floor=report.BARE_WITH_TOKEN),
    "refused by JWT": Job("/job/x", 401),
    "refused by limit": Job("/limited/x", 429),
    "404": Job("/nowhere", 404),
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent.parent / "target")
    built = target / "release"
    arguments.add_argument("--bin", default=built, type=pathlib.Path, help="where tollgate and bare are")
    arguments.add_argument("--only", help="one job alone")
    arguments.add_argument("--keep", type=pathlib.Path, help="a folder for callgrind's profiles")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = options.keep or pathlib.Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        with Backend(pathlib.Path(folder)) as backend:
            counts = {
                name: bare(options.bin, name, backend, kept)
                for name in (report.BARE, report.BARE_WITH_TOKEN)
            }
            for name, job in JOBS.items():
                if options.only in (None, name):
                    counts[name] = tollgate(options.bin, name, job, backend, kept)
    floors = {name: counts[job.floor] for name, job in JOBS.items()}
    print(report.table(counts, floors, REQUESTS))
    broken = list(report.broken(counts, floors))
    for line in broken:
        print(f"over budget: {line}", file=sys.stderr)
    return 1 if broken else 0


def bare(folder, name, backend, kept):
    port = free_port()
    command = [folder / "bare", f"127.0.0.1:{port}", f"127.0.0.1:{backend.port}"]
    token = bearer(KEYS / "rsa-2048.pem") if name == report.BARE_WITH_TOKEN else None
    with Counted(name, command, {}, port, kept) as proxy:
        return count(proxy, Client(port, "/plain/x", token), 200)


def tollgate(folder, name, job, backend, kept):
    port = free_port()
    variables = {
        "PORT": port,
        "ADMIN": free_port(),
        "UPSTREAM": backend.port,
        "PUBLIC_KEY": KEYS / "rsa-2048.pub.pem",
        "ACCESS_LOG": kept / "access.log" if job.logged else "off",
    }
    command = [folder / "tollgate", "run", HERE / "routes.toml"]
    token = bearer(KEYS / "rsa-2048.pem") if job.token else None
    with Counted(name, command, variables, port, kept) as proxy:
        client = Client(port, job.path, token)
        if job.status == 429:
            client.ask(200)
        return count(proxy, client, job.status)


def count(proxy, client, status):
    for _ in range(WARM_UP):
        client.ask(status)
    proxy.zero()
    for _ in range(REQUESTS):
        client.ask(status)
    return [total / REQUESTS for total in proxy.read()]


if __name__ == "__main__":
    sys.exit(main())
