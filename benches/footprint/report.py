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

    def kept(self):
        return self.budget is None or self.measured <= self.budget

    def verdict(self):
        if self.budget is None:
            return ""
        return f"{'kept' if self.kept() else 'BROKEN'}, {self.measured / self.budget:.2f} of it"

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
