"""Many connections that are held open."""

import contextlib
import socket

from backend import HELLO
from load import head
from machine import Failure

REQUEST = head("/").encode()


class Clients:
    """That many connections, for the length of a `with`, each of which has made a request."""

    def __init__(self, port: int, count: int):
        self.address = ("127.0.0.1", port)
        self.count = count
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> "Clients":
        try:
            for _ in range(self.count):
                self.sockets.append(socket.create_connection(self.address, timeout=10))
                ask(self.sockets[-1])
        except OSError as error:
            self.close()
            raise Failure(f"held {len(self.sockets)} connections of {self.count}: {error}") from error
        return self

    def ask_some(self) -> None:
        """Every hundredth still serves: none was dropped to save memory."""
        try:
            for connection in self.sockets[::100]:
                ask(connection)
        except OSError as error:
            raise Failure(f"an idle connection does not serve any more: {error}") from error

    def close(self) -> None:
        for connection in self.sockets:
            with contextlib.suppress(OSError):
                connection.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(connection: socket.socket) -> None:
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(HELLO):
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionResetError("closed by the proxy")
        answer += piece
