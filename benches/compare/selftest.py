"""Whether the generator for fixed rates tells of a stall what it should: asked before each run, in two seconds."""

import socketserver
import threading
import time
from pathlib import Path

from load import Generators, head, write_requests
from machine import Failure

STALL = 0.3
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Stalling(socketserver.ThreadingTCPServer):
    """Answers at once, but for one stall of all connections after the first second."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.stall_from = time.monotonic() + 1.0
        super().__init__(("127.0.0.1", 0), Answering)


class Answering(socketserver.StreamRequestHandler):
    server: Stalling

    def handle(self) -> None:
        while line := self.rfile.readline():
            if line == b"\r\n":
                since = time.monotonic() - self.server.stall_from
                if 0 <= since < STALL:
                    time.sleep(STALL - since)
                self.wfile.write(ANSWER)


def check_generator(generators: Generators, folder: Path) -> None:
    """Of 1,000 requests on 4 connections, 150 fall into the stall. A generator that waits for answers before it sends
    would have sent 4 of them, and shown a p99 of next to nothing."""
    requests = write_requests(folder / "selftest.txt", [head("/")])
    with Stalling() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        load = generators.fixed_rate(server.server_address[1], requests, 500, 2, warm=0.2, connections=4)
        server.shutdown()
    p50, p99 = load.latency["p50"], load.latency["p99"]
    if load.errors or p99 < STALL * 0.6e6 or p50 > STALL * 0.5e6:
        raise Failure(f"pace saw a stall of {STALL} s as p50 {p50} us, p99 {p99} us, {load.errors} errors")
