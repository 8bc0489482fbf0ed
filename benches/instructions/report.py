"""What was counted, beside what may be spent."""

import pathlib
import tomllib

BUDGET = tomllib.loads((pathlib.Path(__file__).parent / "budget.toml").read_text())


def table(counts, requests):
    lines = [
        f"User instructions a request (callgrind, {requests} requests after a warm-up)",
        "",
        "| job | instructions | of bare pingora | budget |",
        "|---|---|---|---|",
    ]
    for job, count in counts.items():
        budget = f"{BUDGET[job]:.2f}" if job in BUDGET else ""
        lines.append(f"| {job} | {count:,.0f} | {count / counts['bare']:.3f} | {budget} |")
    return "\n".join(lines)


def broken(counts):
    ratios = {job: count / counts["bare"] for job, count in counts.items() if job != "bare"}
    return [
        f"{job} costs {ratio:.3f} of bare pingora, and may cost {BUDGET[job]:.2f}"
        for job, ratio in ratios.items()
        if ratio > BUDGET[job]
    ]
