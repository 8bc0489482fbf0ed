#!/usr/bin/env python3
"""Counts the user instructions that tollgate spends on a request, and holds them to their budget.

Each program runs under callgrind and is asked one request after the other on one connection, so that the count is the
same from run to run, whatever else the machine does. The counters are set to zero after a warm-up, and read after
REQUESTS more. Budgets are ratios to the bare pingora proxy of benches/bare, counted in the same run.

usage: run.py [--bin FOLDER] [--only JOB] [--keep FOLDER]
exit status: 0 when every budget holds, 1 when one is broken
"""

import argparse
import pathlib
import sys
import tempfile

import report
from client import Client, bearer
from counted import Backend, Counted, free_port

HERE = pathlib.Path(__file__).parent
KEYS = HERE.parent.parent / "tests/data/keys"
WARM_UP = 300
REQUESTS = 1000

# Job: path, whether it carries a token, the status it must get, whether the access log is on.
JOBS = {
    "plain": ("/plain/x", False, 200, False),
    "the job": ("/job/x", True, 200, True),
    "refused by JWT": ("/job/x", False, 401, True),
    "refused by limit": ("/limited/x", False, 429, True),
    "404": ("/nowhere", False, 404, True),
}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bin", default="target/release", type=pathlib.Path)
    arguments.add_argument("--only", help="one job alone")
    arguments.add_argument("--keep", type=pathlib.Path, help="a folder for callgrind's profiles")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = options.keep or pathlib.Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        with Backend(pathlib.Path(folder)) as backend:
            counts = {"bare": bare(options.bin, backend, kept)}
            for job in JOBS:
                if options.only in (None, job):
                    counts[job] = tollgate(options.bin, job, backend, kept)
    print(report.table(counts, REQUESTS))
    broken = report.broken(counts)
    for line in broken:
        print(f"over budget: {line}", file=sys.stderr)
    return 1 if broken else 0


def bare(folder, backend, kept):
    port = free_port()
    command = [folder / "bare", f"127.0.0.1:{port}", f"127.0.0.1:{backend.port}"]
    with Counted("bare", command, {}, port, kept) as proxy:
        return count(proxy, Client(port, "/plain/x"), 200)


def tollgate(folder, job, backend, kept):
    path, with_token, status, logs = JOBS[job]
    port = free_port()
    variables = {
        "PORT": port,
        "ADMIN": free_port(),
        "UPSTREAM": backend.port,
        "PUBLIC_KEY": KEYS / "rsa-2048.pub.pem",
        "ACCESS_LOG": kept / "access.log" if logs else "off",
    }
    command = [folder / "tollgate", "run", HERE / "routes.toml"]
    with Counted(job, command, variables, port, kept) as proxy:
        token = bearer(KEYS / "rsa-2048.pem") if with_token else None
        client = Client(port, path, token)
        if status == 429:
            client.ask(200)
        return count(proxy, client, status)


def count(proxy, client, status):
    for _ in range(WARM_UP):
        client.ask(status)
    proxy.zero()
    for _ in range(REQUESTS):
        client.ask(status)
    return proxy.read() / REQUESTS


if __name__ == "__main__":
    sys.exit(main())
