#!/usr/bin/env python3
"""Measures what tollgate takes of a machine, and prints a table: benches/footprint/run.py --help.

Real processes on loopback. Exits with 1 when a memory budget is broken; times are only printed, with their verdict.
"""

import argparse
import gc
import os
import pathlib
import platform
import resource
import sys
import tempfile

import memory
import timing
from bench import Bench
from process import Failure
from report import table

PARTS = {
    "idle": memory.idle,
    "connections": memory.connections,
    "routes": memory.routes,
    "instances": memory.instances,
    "start": timing.start,
    "swap": timing.swap,
}
# Enough to see a budget broken, in about a minute.
SHORT = {"connections": 2000, "tls_connections": 500, "seconds": 3, "windows": 1, "starts": 3}
FULL = {"connections": 9000, "tls_connections": 2000, "seconds": 5, "windows": 5, "starts": 10}


def options():
    root = pathlib.Path(__file__).resolve().parents[2]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of: {' '.join(PARTS)} [default: all]")
    parser.add_argument("--bin", type=pathlib.Path, default=target, help="folder of the binaries")
    parser.add_argument("--short", action="store_true", help="smaller numbers, for CI")
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1000, help="requests a second during swaps")
    parser.add_argument("--ports", type=int, nargs=2, default=(23_000, 23_999), metavar="PORT")
    for name in FULL:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    found = parser.parse_args()
    for name, number in (SHORT if found.short else FULL).items():
        if getattr(found, name) is None:
            setattr(found, name, number)
    unknown = set(found.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {' '.join(unknown)}")
    found.tollgate, found.bare = found.bin / "tollgate", found.bin / "bare"
    found.here, found.python = pathlib.Path(__file__).parent, sys.executable
    # Client and upstream on one core, the gateway on another, where there are two.
    cores = sorted(os.sched_getaffinity(0))
    found.gateway_core, found.load_core = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
    return found


def main():
    found = options()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if found.load_core is not None:
        os.sched_setaffinity(0, {found.load_core})
    # Collections would show as latencies.
    gc.disable()
    rows = []
    with tempfile.TemporaryDirectory(prefix="tollgate-footprint-") as folder:
        bench = Bench(found, pathlib.Path(folder))
        for name in found.parts or PARTS:
            print(f"{name} ...", file=sys.stderr, flush=True)
            for row in PARTS[name](bench):
                print(f"  {row.what}: {row.shown(row.measured)}", file=sys.stderr, flush=True)
                rows.append(row)
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores\n")
    print(table(rows))
    broken = [row.what for row in rows if not row.kept() and not row.timing]
    if broken:
        print(f"\nA memory budget is broken: {'; '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"footprint: {failure}")
