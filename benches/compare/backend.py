"""The servers behind the peers: nginx for HTTP/1.1, nghttpd for gRPC."""

import socket
import time
from pathlib import Path

from machine import Failure, Process
from template import render

HELLO = b"Hello from the backend.\n"
# The length-prefixed message of a unary gRPC call: not compressed, 24 bytes.
GRPC_MESSAGE = b"\x00" + len(HELLO).to_bytes(4, "big") + HELLO
GRPC_PATH = "/bench.Greeter/Hello"


class Backend:
    """Both servers, from start to stop."""

    def __init__(self, folder: Path, ports: dict[str, int], core: str):
        self.processes: list[Process] = []
        nginx, grpc = folder / "backend", folder / "grpc"
        (grpc / GRPC_PATH.strip("/")).parent.mkdir(parents=True)
        nginx.mkdir()
        try:
            self.start_nginx(nginx, ports, core)
            self.start_grpc(grpc, ports["GRPC_PORT"], core)
        except BaseException:
            self.stop()
            raise

    def start_nginx(self, folder: Path, ports: dict[str, int], core: str) -> None:
        (folder / "64k").write_bytes(b"x" * 64 * 1024)
        (folder / "1m").write_bytes(b"x" * 1024 * 1024)
        values = {name: str(port) for name, port in ports.items()} | {"DIR": str(folder)}
        source = Path(__file__).parent / "backend" / "nginx.conf"
        (folder / "nginx.conf").write_text(render(source.read_text(), values, {}))
        process = Process(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], core, folder)
        self.processes.append(process)
        wait_for_port(ports["INSTANCE1"], process)

    def start_grpc(self, folder: Path, port: int, core: str) -> None:
        """nghttpd sends a file as the message, and grpc-status in real trailers: to a proxy that is a unary call."""
        (folder / GRPC_PATH.strip("/")).write_bytes(GRPC_MESSAGE)
        types = folder / "types"
        types.write_text("application/grpc Hello\n")
        command = ["nghttpd", "--no-tls", "--address=127.0.0.1", "--trailer=grpc-status: 0", "-d", str(folder)]
        # A window that is never full, and no limit on streams that a proxy would run into.
        command += ["--max-concurrent-streams=1000", f"--mime-types-file={types}", str(port)]
        process = Process(command, core, folder)
        self.processes.append(process)
        wait_for_port(port, process)

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


def wait_for_port(port: int, process: Process, seconds: float = 10) -> None:
    """Until something listens there; Failure where the process ends first, or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not process.alive():
            raise Failure(f"did not start: {process.tail()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failure(f"does not listen after {seconds:.0f} s: {process.tail()}")
