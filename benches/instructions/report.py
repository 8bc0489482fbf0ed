"""What was counted, beside what may be spent."""

import pathlib
import tomllib

BARE = "bare pingora"
BARE_WITH_TOKEN = "bare pingora, asked with a token"
BUDGET = tomllib.loads((pathlib.Path(__file__).parent / "budget.toml").read_text())


def table(counts, floors, requests):
    lines = [
        f"User instructions and allocations a request (callgrind, {requests} requests after a warm-up)",
        "",
        "| job | instructions | of bare pingora | held to | aim | allocations | beyond bare pingora | held to |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for job, (instructions, allocations) in counts.items():
        row = [job, f"{instructions:,.0f}", "", "", "", f"{allocations:.1f}", "", ""]
        if job in floors:
            ratio, more = beside(counts[job], floors[job])
            budget = BUDGET[job]
            aim = f"{budget['aim']:.2f}" if "aim" in budget else ""
            row[2:5] = f"{ratio:.3f}", f"{budget['ratio']:.2f}", aim
            row[6:8] = f"{more:+.1f}", f"{budget['allocations']:+}"
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def broken(counts, floors):
    for job in counts.keys() & floors.keys():
        ratio, more = beside(counts[job], floors[job])
        budget = BUDGET[job]
        if ratio > budget["ratio"]:
            yield f"{job} costs {ratio:.3f} of bare pingora, and may cost {budget['ratio']:.2f}"
        # A buffer that grows now and then is no allocation of every request.
        if more > budget["allocations"] + 0.5:
            yield f"{job} allocates {more:+.1f} times beyond bare pingora, and may {budget['allocations']:+}"


def beside(count, floor):
    (instructions, allocations), (floor_instructions, floor_allocations) = count, floor
    return instructions / floor_instructions, allocations - floor_allocations
