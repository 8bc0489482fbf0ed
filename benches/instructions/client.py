"""One connection that asks the same thing again and again."""

import base64
import json
import socket
import subprocess
import time


class Client:
    """Asks for `path`, and holds the answer to its status: a wrong answer must not be counted as a cheap one."""

    def __init__(self, port, path, token=None):
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: api.example.com",
            "User-Agent: bench",
            "Accept: */*",
        ]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        self.request = "".join(line + "\r\n" for line in [*lines, ""]).encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, status):
        self.socket.sendall(self.request)
        received = b""
        while not whole(received):
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError(f"closed after {received!r}")
            received += piece
        got = int(received.split(b" ", 2)[1])
        if got != status:
            raise ValueError(f"{status} expected, {got} came: {received!r}")


def whole(response):
    head, end, body = response.partition(b"\r\n\r\n")
    if not end:
        return False
    fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    length = next(int(value) for name, _, value in fields if name.lower() == b"content-length")
    return len(body) >= length


def bearer(key):
    """A token that routes.toml takes, signed with RS256 (RFC 7519, RFC 7518 section 3.3)."""
    claims = {
        "iss": "https://idp.example.com/",
        "aud": "orders-api",
        "sub": "alice",
        "scope": "orders:read orders:write",
        "exp": int(time.time()) + 3600,
    }
    signed = b".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256"}, claims))
    signature = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", key], input=signed, capture_output=True, check=True
    )
    return (signed + b"." + encoded(signature.stdout)).decode()


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")
