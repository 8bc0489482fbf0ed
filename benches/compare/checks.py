"""Whether a peer answers right. Nothing is measured that was not seen to do its work."""

import http.client
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from backend import GRPC_PATH, HELLO, wait_for_port
from machine import Failure, Process
from peers import Peer

if TYPE_CHECKING:
    from bench import Bench, Running

HOST = "api.example.com"
# Requests a second of one user, when the limit is to be seen at work.
TIGHT_LIMIT = "5"
# In the jobs with many of them.
ROUTES = 10_000


@dataclass(frozen=True)
class Probe:
    """A request, and what has to come back for it."""

    path: str = "/"
    body: bytes | None = HELLO
    length: int | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    tls: bool = False


def get(port: int, path: str, headers: dict[str, str] | None = None, tls: bool = False) -> tuple[int, bytes]:
    """Status and body, over a connection of its own."""
    if tls:
        # The certificate is this run's own; what is asked here is whether the proxy forwards.
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": HOST, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask(port: int, probe: Probe) -> str | None:
    """What is wrong with the answer; nothing when it is right."""
    try:
        status, body = get(port, probe.path, probe.headers, probe.tls)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer to {probe.path}: {error!r}"
    if status != probe.status:
        return f"{probe.path} is answered with {status} and not {probe.status}"
    if probe.status == 200 and probe.length is not None and len(body) != probe.length:
        return f"{probe.path} brings {len(body)} bytes and not {probe.length}"
    if probe.status == 200 and probe.length is None and probe.body is not None and body != probe.body:
        return f"{probe.path} brings another body: {body[:60]!r}"
    return None


def expect(port: int, probe: Probe) -> None:
    wrong = ask(port, probe)
    if wrong:
        raise Failure(wrong)


def wait_until(port: int, probe: Probe | None, process: Process, seconds: float = 90) -> None:
    """Until the answer is right, or without a probe until it listens.

    Some listen before they have read their routes; 10,000 take a while.
    """
    if not probe:
        return wait_for_port(port, process)
    until = time.monotonic() + seconds
    while True:
        if not process.alive():
            raise Failure(f"did not start: {process.tail()}")
        wrong = ask(port, probe)
        if not wrong:
            return
        if time.monotonic() > until:
            raise Failure(f"after {seconds:.0f} s still: {wrong}; {process.tail()}")
        time.sleep(0.05)


def check_http2(port: int) -> None:
    """Over TLS, with HTTP/2 by ALPN."""
    url = f"https://127.0.0.1:{port}/"
    command = ["curl", "--silent", "--insecure", "--http2", "--max-time", "5", "--write-out", "%{http_version}", url]
    output = subprocess.run(command, capture_output=True).stdout
    if output != HELLO + b"2":
        raise Failure(f"HTTP/2 brings {output[-60:]!r}")


def check_grpc(port: int, message: Path) -> None:
    """One call: its answer comes with content, and ends with the status in trailers. Asked until routes are read."""
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(message)]
    command = ["nghttp", "--verbose", "--timeout=5", *headers, f"https://127.0.0.1:{port}{GRPC_PATH}"]
    until = time.monotonic() + 10
    while True:
        output = subprocess.run(command, capture_output=True, text=True, errors="replace").stdout
        head, _, after = output.partition("recv DATA frame")
        if ":status: 200" in head and "application/grpc" in head and "grpc-status: 0" in after:
            return
        if time.monotonic() > until:
            lines = [line for line in output.splitlines() if "recv" in line]
            raise Failure(f"a gRPC call is not answered as it should be: {' / '.join(lines)[-300:]}")
        time.sleep(0.1)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def check_routes(port: int) -> None:
    """The first and the last route, one between, and none."""
    for path in ("/svc-0/a", "/svc-4711/a/b", f"/svc-{ROUTES - 1}/a"):
        expect(port, Probe(path=path))
    for path in ("/", "/svc-10000/a", "/other/svc-1/a"):
        expect(port, Probe(path=path, status=404))


def check_job(bench: "Bench", peer: Peer) -> None:
    """Every feature that a peer's config for the job claims, seen at work."""
    good = bearer(bench.tokens.good[0])
    probe = Probe(headers=good)
    has = {feature for feature in FEATURE_CHECKS if feature not in peer.missing}
    tight = {"RATE": TIGHT_LIMIT, "BURST": TIGHT_LIMIT}
    with bench.started(peer, "job", probe) as running:
        for feature in has:
            FEATURE_CHECKS[feature](bench, running)
    if "limit per user" not in peer.missing:
        with bench.started(peer, "job", probe, **tight) as running:
            check_limit(bench, running)
    if "ejection or breaker" not in peer.missing:
        check_failing(bench, peer, probe)


def check_jwt(bench: "Bench", running: "Running") -> None:
    for user in (0, 1, 999):
        expect(running.port, Probe(headers=bearer(bench.tokens.good[user])))
    expect(running.port, Probe(status=401))
    for what, token in bench.tokens.bad.items():
        wrong = ask(running.port, Probe(status=401, headers=bearer(token)))
        if wrong:
            raise Failure(f"a token that is {what}: {wrong}")


def check_weights(bench: "Bench", running: "Running") -> None:
    """4, 3, 2 and 1 of 10; chance is given room that it exceeds once in millions of runs."""
    headers = bearer(bench.tokens.good[0])
    seen = Counter(get(running.port, "/which", headers)[1] for _ in range(400))
    for i, share in ((1, 0.4), (2, 0.3), (3, 0.2), (4, 0.1)):
        found = seen[str(bench.ports[f"INSTANCE{i}"]).encode()] / 400
        if abs(found - share) > 0.12 or not found:
            raise Failure(f"instance {i} got {found:.0%} of the requests and not {share:.0%}")


def check_request_id(bench: "Bench", running: "Running") -> None:
    headers = bearer(bench.tokens.good[0])
    ids = {get(running.port, "/request-id", headers)[1] for _ in range(3)}
    if len(ids) != 3 or b"" in ids:
        raise Failure(f"request ids that the backend saw: {ids}")


def check_log(bench: "Bench", running: "Running") -> None:
    before = log_lines(running)
    for _ in range(50):
        expect(running.port, Probe(headers=bearer(bench.tokens.good[0])))
    until = time.monotonic() + 15
    while log_lines(running) < before + 50:
        # Logs that are written in blocks of many lines only are pushed on.
        expect(running.port, Probe(headers=bearer(bench.tokens.good[0])))
        if time.monotonic() > until:
            raise Failure("the access log does not grow")


def log_lines(running: "Running") -> int:
    file = running.folder / running.peer.access_log
    return file.read_bytes().count(b"\n") if file.exists() else 0


def check_metrics(bench: "Bench", running: "Running") -> None:
    port = bench.ports["ADMIN_PORT"]
    # An admin address answers to its own name only, where it guards against pages that a browser was led to.
    status, body = get(port, running.peer.metrics, {"Host": f"127.0.0.1:{port}"})
    if status != 200 or len(body) < 50:
        raise Failure(f"metrics are answered with {status} and {len(body)} bytes")


def check_limit(bench: "Bench", running: "Running") -> None:
    """One user is refused in the end, and another is not."""
    one, other = (bearer(bench.tokens.good[user]) for user in (1, 2))
    until = time.monotonic() + 5
    while get(running.port, "/", one)[0] != 429:
        if time.monotonic() > until:
            raise Failure("the rate limit refuses nobody")
    status = get(running.port, "/", other)[0]
    if status != 200:
        raise Failure(f"the limit of one user is another's too: {status}")


def check_failing(bench: "Bench", peer: Peer, probe: Probe) -> None:
    """With one failing instance of four no more failures after a while; or, by a breaker, an end to calls that fail."""
    faulty = str(bench.ports["FAULTY"])
    breaker = peer.tripped == "breaker"
    broken = {f"UPSTREAM{i}_PORT": faulty for i in ((1, 2, 3, 4) if breaker else (4,))}
    # Where all are broken there is nothing to wait for but an answer.
    waited = Probe(headers=probe.headers, status=502) if breaker else probe
    with bench.started(peer, "job", waited, **broken) as running:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            seen = Counter(get(running.port, "/", probe.headers)[0] for _ in range(60))
            if seen == {503: 60} if breaker else seen == {200: 60}:
                return
        raise Failure(f"a failing instance is still called after 5 s: {dict(seen)}")


FEATURE_CHECKS: dict[str, Callable[["Bench", "Running"], None]] = {
    "JWT": check_jwt,
    "weights": check_weights,
    "request id": check_request_id,
    "access log": check_log,
    "metrics": check_metrics,
}
