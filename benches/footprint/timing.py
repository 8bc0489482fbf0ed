"""How soon the gateway answers after a start, and what a swap of its config costs the requests that run."""

import os
import re
import statistics
import time

import clients
import configs
from process import Failure, metric, status_of
from report import Row, millis, ratio

FIRST_ANSWER = 0.100
SWAP_RATIO = 1.05
APPLIED = 0.100
TOOK = re.compile(r"Config [0-9a-f]+ -> [0-9a-f]+ in ([0-9.]+) ms")


def start(bench):
    """From the start of the process to the first answer of a route, with a thousand of them."""
    taken = []
    with bench.backend() as backend:
        for _ in range(bench.options.starts):
            with bench.fleet(1000, backend, wait=False) as gateway:
                ask = lambda: status_of(gateway.port, "/service-999/", "host-9.bench.test") == 200
                gateway.program.until("the first answer", ask)
                taken.append(time.perf_counter() - gateway.program.began)
    yield Row(
        "start to first answer, 1,000 routes",
        FIRST_ANSWER,
        statistics.median(taken),
        millis,
        note=f"median of {len(taken)}; best {millis(min(taken))}, worst {millis(max(taken))}",
        timing=True,
    )


def swap(bench):
    """Requests at a fixed rate, in turn while nothing happens and while the config is swapped each second."""
    options = bench.options
    with bench.backend() as backend, bench.fleet(options.routes, backend) as gateway:
        editions = Editions(gateway)
        requests = [
            clients.request(f"/service-{number}/", f"host-{number // 100}.bench.test")
            for number in range(1, options.routes, max(1, options.routes // 500))
        ]
        load = clients.OpenLoop(gateway.port, requests)
        load.run(options.rate, 1)
        quiet, swapping, failed = [], [], 0
        for _ in range(options.windows):
            latencies, some = load.run(options.rate, options.seconds)
            quiet.append(latencies)
            failed += some
            latencies, some = load.run(options.rate, options.seconds, editions.put_next)
            swapping.append(latencies)
            failed += some
            # The last swap is not to reach into the next window.
            time.sleep(1)
        yield from swap_rows(gateway, quiet, swapping, failed, options)


class Editions:
    """Configs that differ a little, written beforehand and then moved into place."""

    def __init__(self, gateway):
        self.gateway, self.next = gateway, 0

    def put_next(self):
        self.next += 1
        beside = self.gateway.path.with_suffix(f".{self.next % 2}")
        if not beside.exists():
            beside.write_text(self.gateway.text(edition=1 + self.next % 2))
        # A link to move, so that the text is there for the next time.
        moved = self.gateway.path.with_suffix(".moved")
        os.link(beside, moved)
        os.replace(moved, self.gateway.path)


def swap_rows(gateway, quiet, swapping, failed, options):
    took = [float(millis) / 1000 for millis in TOOK.findall(gateway.program.log())]
    reloads = metric(gateway.admin, "tollgate_config_reloads_total")
    if not took or not reloads:
        raise Failure("no reload was applied")
    ratios = sorted(
        clients.quantile(s, 0.99) / clients.quantile(q, 0.99) for q, s in zip(quiet, swapping)
    )
    all_quiet, all_swapping = sum(quiet, []), sum(swapping, [])
    shown = ", ".join(
        f"p{name} {clients.quantile(all_quiet, share) * 1e6:.0f} → "
        f"{clients.quantile(all_swapping, share) * 1e6:.0f} µs"
        for name, share in [("50", 0.5), ("99", 0.99), ("99.9", 0.999)]
    )
    overall = clients.quantile(all_swapping, 0.99) / clients.quantile(all_quiet, 0.99)
    yield Row(
        f"p99 while the config is swapped each second, {options.routes:,} routes",
        SWAP_RATIO,
        overall,
        ratio,
        note=f"{options.rate}/s, {shown}; by window {ratios[0]:.2f} to {ratios[-1]:.2f}; "
        f"{failed} not answered with 200",
        timing=True,
    )
    yield Row(
        f"a swap, {options.routes:,} routes: read to in use",
        APPLIED,
        statistics.median(took),
        millis,
        note=f"median of {len(took)}; best {millis(min(took))}, worst {millis(max(took))}",
        timing=True,
    )
