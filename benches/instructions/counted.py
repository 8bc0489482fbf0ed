"""A program under callgrind, and the backend behind it."""

import os
import re
import socket
import subprocess
import time

PATIENCE = 60
# What Rust's global allocator calls for memory, to be found by name in a binary that keeps its symbols.
ALLOCATOR = ["mi_malloc_aligned", "mi_zalloc_aligned", "mi_realloc_aligned"]
# callgrind takes a `rep movsb` for as many instructions as it copies bytes. Without it, glibc copies in vectors.
WHOLE_COPIES = {"GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=1073741824"}

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    server {{
        listen {port};
        location / {{ default_type text/plain; return 200 "hello\\n"; }}
    }}
}}
"""


class Backend:
    """nginx, which answers everything with a few bytes, on all of 127.0.0.0/8."""

    def __init__(self, folder):
        self.port = free_port()
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=self.port))
        # Debian keeps servers where not every user's path leads.
        os.environ["PATH"] += ":/usr/sbin"
        self.process = subprocess.Popen(["nginx", "-e", folder / "nginx.log", "-c", config])

    def __enter__(self):
        wait_for(self.port, self.process)
        return self

    def __exit__(self, *_):
        # Its own way to end: killed, it would leave its worker behind.
        self.process.terminate()
        self.process.wait(PATIENCE)


class Counted:
    """A program that runs under callgrind."""

    def __init__(self, name, command, variables, port, folder):
        self.port = port
        self.profile = folder / f"callgrind.{name.replace(' ', '-')}"
        for old in folder.glob(self.profile.name + "*"):
            old.unlink()
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.profile}", "-q"]
        environment = os.environ | WHOLE_COPIES | {key: str(value) for key, value in variables.items()}
        self.process = subprocess.Popen([*valgrind, *command], env=environment)

    def __enter__(self):
        wait_for(self.port, self.process)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)

    def zero(self):
        self.control("--zero")

    def read(self):
        """What all threads did since zero(): instructions, and calls of the allocator for memory."""
        self.control("--dump")
        dump = self.profile.with_name(self.profile.name + ".1").read_text()
        instructions = int(re.search(r"^(?:totals|summary): (\d+)", dump, re.MULTILINE)[1])
        return instructions, allocations(dump)

    def control(self, action):
        subprocess.run(
            ["callgrind_control", action, str(self.process.pid)],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
        )


def allocations(dump):
    """The calls of ALLOCATOR in a profile, which names each function once and then only by its number."""
    numbers = re.findall(r"^c?fn=\((\d+)\) (?:%s)$" % "|".join(ALLOCATOR), dump, re.MULTILINE)
    if not numbers:
        raise ValueError("no function of the allocator was ever called: is the binary stripped?")
    calls = r"^cfn=\((?:%s)\).*\ncalls=(\d+)" % "|".join(numbers)
    return sum(int(count) for count in re.findall(calls, dump, re.MULTILINE))


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_for(port, process):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port} after {PATIENCE} s")
