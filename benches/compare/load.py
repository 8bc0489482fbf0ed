"""The load generators: wrk to saturate, h2load for HTTP/2, pace for a fixed rate, openssl for handshakes."""

import json
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from machine import Failure

HERE = Path(__file__).parent
CONNECTIONS = 64


@dataclass(frozen=True)
class Load:
    """What a generator saw: requests that were answered well, and over how long."""

    answered: int
    seconds: float
    errors: int = 0
    resent: int = 0
    latency: dict[str, float] = field(default_factory=dict)
    """Microseconds, for p50, p99, p99.9 and max; only where the rate was fixed."""


def write_requests(file: Path, heads: list[str]) -> Path:
    file.write_bytes("".join(heads).encode())
    return file


def head(path: str, *headers: str) -> str:
    """A request as text; the host is the same for all."""
    return "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", "Host: api.example.com", *headers)) + "\r\n"


class Generators:
    """Runs them on their core."""

    def __init__(self, core: str, folder: Path):
        self.core = core
        self.folder = folder
        self.pace_program = folder / "pace"
        build = ["rustc", "--edition", "2024", "-O", "-o", str(self.pace_program), str(HERE / "pace.rs")]
        subprocess.run(build, check=True)

    def run(self, command: list[str], seconds: float, **options) -> str:
        pinned = ["taskset", "-c", self.core, *command]
        done = subprocess.run(pinned, capture_output=True, text=True, timeout=seconds + 60, **options)
        if done.returncode:
            raise Failure(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-300:]}")
        return done.stdout

    def saturate(self, url: str, requests: Path, seconds: float, connections: int = CONNECTIONS) -> Load:
        """As many requests as the peer answers, on connections that are kept."""
        count = str(connections)
        command = ["wrk", "-t1", "-c", count, "-d", f"{max(1, round(seconds))}s", "-s", str(HERE / "wrk.lua")]
        output = self.run([*command, url, "--", str(requests)], seconds)
        found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
        if not found:
            raise Failure(f"wrk printed no result: {output[-300:]}")
        result = json.loads(found[1])
        errors = sum(result[kind] for kind in ("connect", "read", "write", "status", "timeout"))
        return Load(result["answered"] - result["status"], result["seconds"], errors)

    def http2(self, url: str, seconds: float, extra: tuple[str, ...] = ()) -> Load:
        """As many requests as the peer answers over 16 HTTP/2 connections with 10 streams each."""
        command = ["h2load", "-t1", "-c16", "-m10", "-D", f"{max(1, round(seconds))}", *extra, url]
        output = self.run(command, seconds)
        found = re.search(r"requests: \d+ total, .* (\d+) succeeded, (\d+) failed, (\d+) errored", output)
        took = re.search(r"finished in ([\d.]+)(ms|s|m)\b", output)
        if not found or not took:
            raise Failure(f"h2load printed no result: {output[-300:]}")
        duration = float(took[1]) * {"ms": 0.001, "s": 1, "m": 60}[took[2]]
        return Load(int(found[1]), duration, int(found[2]) + int(found[3]))

    def fixed_rate(
        self,
        port: int,
        requests: Path,
        rate: float,
        seconds: float,
        warm: float = 1.0,
        connections: int = CONNECTIONS,
    ) -> Load:
        """An open loop; no figure has the warm-up's requests in it."""
        numbers = [f"{rate:.1f}", f"{seconds}", f"{warm}", str(connections)]
        command = [str(self.pace_program), f"127.0.0.1:{port}", *numbers, str(requests)]
        result = json.loads(self.run(command, seconds + warm))
        latency = {name: float(result[name]) for name in ("p50", "p99", "p99.9", "max")}
        return Load(result["answered"], seconds, result["failed"], result["resent"], latency)

    def handshakes(self, port: int, seconds: float, clients: int = 8) -> Load:
        """Full TLS handshakes, no session is resumed, no request is sent."""
        seconds = max(1, round(seconds))
        command = ["taskset", "-c", self.core, "openssl", "s_time", "-new", "-time", str(seconds)]
        command += ["-connect", f"127.0.0.1:{port}"]
        started = time.monotonic()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        running = [subprocess.Popen(command, **pipes) for _ in range(clients)]
        total = 0
        for process in running:
            output, _ = process.communicate(timeout=seconds + 30)
            found = re.search(r"(\d+) connections in \d+ real seconds", output)
            if not found:
                raise Failure(f"openssl s_time printed no result: {output[-200:]}")
            total += int(found[1])
        return Load(total, time.monotonic() - started)
