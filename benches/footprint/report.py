"""The table that is printed, and what it says of the budgets."""

from dataclasses import dataclass
from typing import Callable

KIB, MIB = 1024, 1024 * 1024


@dataclass
class Row:
    """One figure, with the budget it is held to, if there is one."""

    what: str
    budget: float | None
    measured: float
    shown: Callable[[float], str]
    note: str = ""
    # A time depends on the machine and on what else it does: printed, and never a reason to fail.
    timing: bool = False
    # Where the budget was not reached yet: a little above what was, so that what was won stays won.
    held: float | None = None

    def kept(self):
        limit = self.held or self.budget
        return limit is None or self.measured <= limit

    def verdict(self):
        if self.budget is None:
            return ""
        share = f"{self.measured / self.budget:.2f} of it"
        if self.measured <= self.budget:
            return f"kept, {share}"
        held = f"; held to {self.shown(self.held)}" if self.held else ""
        missed = "not reached" if self.kept() or self.timing else "BROKEN"
        return f"{missed}, {share}{held}"

    def cells(self):
        budget = "" if self.budget is None else self.shown(self.budget)
        return [self.what, budget, self.shown(self.measured), self.verdict(), self.note]


def table(rows):
    lines = [["what", "budget", "measured", "verdict", "note"], ["---"] * 5]
    lines += [row.cells() for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def mib(value):
    return f"{value / MIB:.1f} MiB"


def kib(value):
    return f"{value / KIB:.1f} KiB"


def millis(value):
    return f"{value * 1000:.1f} ms"


def ratio(value):
    return f"{value:.3f}"
