"""Programs under measurement: started on loopback, watched through /proc, ended by their own process id."""

import http.client
import os
import re
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
LIBERAL = 30.0


class Failure(Exception):
    """Something that should run does not."""


class Program:
    """One process. Its log goes to a file, which `log` reads."""

    def __init__(self, command, folder, name, core=None):
        self.command = [str(part) for part in command]
        self.path = folder / f"{name}.log"
        output = open(self.path, "wb")
        self.began = time.perf_counter()
        prepare = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
        # Variables of mimalloc's and of the log would change what is measured.
        environment = {k: v for k, v in os.environ.items() if k != "RUST_LOG"}
        self.process = subprocess.Popen(
            self.command, stdout=output, stderr=output, env=environment, preexec_fn=prepare
        )
        output.close()
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def log(self):
        return self.path.read_text(errors="replace")

    def rss(self):
        """Resident bytes: what the budgets are about."""
        return field(f"/proc/{self.pid}/status", "VmRSS") * 1024

    def split(self):
        """Resident bytes of memory that is its own, and of files (the binary, its libraries)."""
        status = f"/proc/{self.pid}/status"
        return field(status, "RssAnon") * 1024, field(status, "RssFile") * 1024

    def settled_rss(self, quiet=1.5, longest=15.0):
        """Resident bytes once they no longer move: allocators give back with a delay."""
        last, since, end = self.rss(), time.monotonic(), time.monotonic() + longest
        while time.monotonic() < end and time.monotonic() - since < quiet:
            time.sleep(0.1)
            now = self.rss()
            if abs(now - last) > 128 * 1024:
                last, since = now, time.monotonic()
        return self.rss()

    def cpu(self):
        """Seconds of processor time so far, all threads together."""
        with open(f"/proc/{self.pid}/stat") as stat:
            after_name = stat.read().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / TICKS

    def alive(self):
        return self.process.poll() is None

    def until(self, what, ready):
        """Waits until `ready` gives something, and hands that on."""
        end = time.monotonic() + LIBERAL
        while time.monotonic() < end:
            if not self.alive():
                raise Failure(f"{what}: {self.command[0]} has ended:\n{self.log()[-2000:]}")
            found = ready()
            if found:
                return found
            time.sleep(0.005)
        raise Failure(f"{what}: not within {LIBERAL:.0f} s:\n{self.log()[-2000:]}")


def field(path, name):
    with open(path) as lines:
        for line in lines:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    raise Failure(f"{path} has no {name}")


def status_of(port, path="/", host="bench.test", method="GET"):
    """The status that is answered, or None where nobody answers."""
    return answer_of(port, path, host, method)[0]


def answer_of(port, path="/", host="bench.test", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None, ""
    finally:
        connection.close()


def metric(port, name):
    """The sum of a metric's samples on the admin listener."""
    status, page = answer_of(port, "/metrics")
    if status != 200:
        raise Failure(f"no metrics on port {port}")
    samples = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", page, re.MULTILINE)
    return sum(float(sample) for sample in samples)


class Ports:
    """Free ports of a range, each given once."""

    def __init__(self, first, last):
        self.left = iter(range(first, last + 1))

    def free(self):
        for port in self.left:
            with socket.socket() as attempt:
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    attempt.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise Failure("no port of the range is free")
