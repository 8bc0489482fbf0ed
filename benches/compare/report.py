"""Tables in Markdown: medians, spread, ratios."""

import datetime
import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from bench import Bench, Results
from machine import first_line

BASE = "tollgate"


@dataclass(frozen=True)
class Column:
    title: str
    metric: str
    digits: int = 1
    ratio: bool = False
    """Followed by a column with the ratio to tollgate's median."""


@dataclass
class Table:
    """What one job found."""

    title: str
    about: str
    columns: list[Column]
    results: Results
    notes: list[str] = field(default_factory=list)
    remarks: dict[str, str] = field(default_factory=dict)
    """A last column, by peer."""
    beside: set[str] = field(default_factory=set)
    """Peers that did less than was asked: their ratios stand in brackets."""


def render_table(table: Table) -> str:
    heads = ["peer"]
    for column in table.columns:
        heads += [column.title, f"to {BASE}"] if column.ratio else [column.title]
    if table.remarks:
        heads.append("remarks")
    lines = [f"## {table.title}", "", table.about, ""]
    lines += [row(heads), row(["---" if title in ("peer", "remarks") else "---:" for title in heads])]
    base = table.results.values.get(BASE, {})
    for peer, metrics in table.results.values.items():
        cells = [peer]
        for column in table.columns:
            values = metrics.get(column.metric, [])
            cells.append(spread(values, column.digits))
            if column.ratio:
                found = ratio(values, base.get(column.metric, []))
                cells.append(f"({found})" if peer in table.beside else found)
        if table.remarks:
            cells.append(table.remarks.get(peer, ""))
        lines.append(row(cells))
    failed = [f"- {peer} failed: {reason}" for peer, reason in table.results.failures.items()]
    notes = failed + [f"- {note}" for note in table.notes]
    return "\n".join(lines + ([""] + notes if notes else [])) + "\n"


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def spread(values: list[float], digits: int) -> str:
    """The median, and in brackets the least and the most of the rounds."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def ratio(values: list[float], base: list[float]) -> str:
    if not values or not base or not statistics.median(base):
        return "-"
    return f"{statistics.median(values) / statistics.median(base):.2f}"


def head(bench: Bench, seconds: float) -> str:
    """Where, when and with what."""
    options = bench.options
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        "# tollgate beside others",
        "",
        f"{date}; {cpu_model()}, {os.cpu_count()} cores; Linux {platform.release()}.",
        f"Each proxy has one worker thread on core {bench.proxy_core}; backend and load generator share core "
        f"{bench.load_core}. {options.rounds} rounds of {options.seconds} s, in which the peers take turns; cells are "
        "the median, and in brackets the least and the most of the rounds.",
        f"CPU is user and system time of the proxy's processes alone. The run took {seconds / 60:.0f} minutes.",
        "Absolute figures move between machines: the ratios are the result.",
        f"Load: {tool('wrk', '-v')}; {tool('h2load', '--version')}; backend: {tool('nginx', '-v')}.",
        *busy(bench),
        "",
        "| peer | version |",
        "|---|---|",
    ]
    lines += [row([peer, version]) for peer, version in bench.versions.items()]
    if bench.absent:
        lines += ["", "Not there:", ""] + [f"- {peer}: {reason}" for peer, reason in bench.absent.items()]
    return "\n".join(lines) + "\n"


def tool(*command: str) -> str:
    return " ".join(first_line(list(command)).split("Copyright")[0].replace("nginx version: ", "").split())


def busy(bench: Bench) -> list[str]:
    if bench.load_average < 0.5:
        return []
    return [f"**The machine was busy before the run (load average {bench.load_average:.1f}): figures are rough.**"]


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
