"""Processes and what they cost: started on a core of their own, measured from /proc, ended with all their children."""

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """Something did not work as it should; the text says what, for the report."""


def cores() -> tuple[str, str]:
    """The core for the proxy, and those for backend and load (as taskset takes them)."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise Failure("needs two cores: one for the proxy, one for backend and load")
    return str(usable[0]), ",".join(map(str, usable[1:4]))


def allow_many_files() -> None:
    """10,000 connections need as many descriptors here, and in the proxy, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((65536, max(65536, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            return
        except (ValueError, OSError):
            continue


class Process:
    """A program in a process group of its own, so that its children can be found, counted and ended."""

    def __init__(self, command: list[str], core: str, folder: Path, environment: dict[str, str] | None = None):
        self.log = folder / "output.log"
        with open(self.log, "wb") as output:
            self.child = subprocess.Popen(
                ["taskset", "-c", core, *command],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def pids(self) -> list[int]:
        """The process and those of its children that live, by process group."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                fields = stat_fields(int(entry.name))
                # Field 5 of proc(5) is the process group; it is the third after the name. A zombie has ended.
                if fields and int(fields[2]) == self.child.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found

    def cpu_seconds(self) -> float:
        """CPU of the whole group since its start: all threads, and children that have ended and been waited for."""
        total = 0
        for pid in self.pids():
            fields = stat_fields(pid)
            if fields:
                # utime, stime, cutime, cstime: fields 14 to 17 of proc(5).
                total += sum(int(field) for field in fields[11:15])
        return total / TICKS

    def memory_kib(self) -> float:
        """Proportional set size: resident memory, with pages that several processes share counted once."""
        total = 0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return float(total)

    def alive(self) -> bool:
        return self.child.poll() is None

    def tail(self) -> str:
        """The last lines that it wrote, for messages."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])[-400:]

    def stop(self) -> None:
        """Ends the group at once: nothing is in flight any more, and graceful ends take seconds."""
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        until = time.monotonic() + 5
        while self.pids() and time.monotonic() < until:
            time.sleep(0.01)


def stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces; the first is the state."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def first_line(command: list[str]) -> str:
    """The first line that a command prints, on either stream; for versions."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "?"
