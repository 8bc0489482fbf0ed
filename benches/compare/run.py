#!/usr/bin/env python3
"""Measures tollgate beside other gateways and prints a Markdown table for each job. See README.md beside this file."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

from bench import Bench, Options, say  # noqa: E402: the line above comes first, so that no caches appear in the tree
from jobs import JOBS  # noqa: E402
from machine import Failure  # noqa: E402
from peers import HERE, PEERS  # noqa: E402
from report import head, render_table  # noqa: E402

SHORT_PEERS = ["tollgate", "bare pingora", "nginx", "HAProxy"]
SHORT_JOBS = ["plain", "job"]


def main() -> int:
    arguments = parse()
    # Where Debian keeps servers, which is not on the path of every user.
    os.environ["PATH"] += ":/usr/sbin"
    target = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent.parent / "target")
    options = Options(
        rounds=1 if arguments.short else arguments.rounds,
        seconds=1 if arguments.short else arguments.seconds,
        base_port=arguments.base_port,
        built=(arguments.bin_dir or target / "release").resolve(),
        short=arguments.short,
    )
    peers = split(arguments.peers, [peer.name for peer in PEERS], SHORT_PEERS if arguments.short else [])
    jobs = split(arguments.jobs, list(JOBS), SHORT_JOBS if arguments.short else list(JOBS))
    started = time.monotonic()
    subprocess.run([str(HERE / "fetch.sh"), "tools"], check=True)
    bench = Bench(options, peers)
    try:
        tables = []
        for name in jobs:
            say(f"{name}:")
            tables += JOBS[name](bench)
    finally:
        bench.close()
    text = "\n".join([head(bench, time.monotonic() - started), *map(render_table, tables)])
    report = arguments.output or target / "compare.md"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(text)
    print(text)
    return verdict(bench)


def verdict(bench: Bench) -> int:
    """Wrong answers of tollgate fail a run; in the short form, which is to prove the harness, so does any peer's, or its absence."""
    short = bench.options.short
    needed = bench.absent if short else {"tollgate"} & bench.absent.keys()
    wrong = [line for line in bench.wrong if short or ": tollgate" in line]
    wrong += [f"{peer} is not there" for peer in needed]
    for line in wrong:
        say(f"wrong: {line}")
    return 1 if wrong else 0


def split(text: str | None, known: list[str], default: list[str]) -> list[str]:
    """The names of a list with commas; case and what follows in a name may be left out."""
    if not text:
        return default
    chosen = []
    for word in text.split(","):
        found = [name for name in known if name.lower().startswith(word.strip().lower())]
        if not found:
            raise SystemExit(f"there is no {word!r}; there are: {', '.join(known)}")
        chosen += found
    return chosen


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="what apt has, one round of a second: proves the harness")
    parser.add_argument("--rounds", type=int, default=3, help="how often the peers take turns [3]")
    parser.add_argument("--seconds", type=int, default=3, help="how long each load lasts [3]")
    parser.add_argument("--jobs", help=f"some of {','.join(JOBS)}")
    parser.add_argument("--peers", help="names with commas, or how they begin; nothing else is started")
    parser.add_argument("--bin-dir", type=Path, help="where tollgate and bare are [target/release]")
    parser.add_argument("--base-port", type=int, default=21000, help="the first of 400 ports on loopback [21000]")
    parser.add_argument("--output", type=Path, help="the report [target/compare.md]")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"compare: {failure}")
