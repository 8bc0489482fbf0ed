"""Clients that keep their connections: many idle ones, and a few that ask at a fixed rate."""

import http.client
import select
import socket
import ssl
import time
from collections import deque

from process import Failure

REQUEST = "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: footprint\r\nAccept: */*\r\n\r\n"
# Ports of one source address that are used before the next address is: fewer than the system has.
PORTS_EACH = 10_000


def request(path="/", host="bench.test"):
    return REQUEST.format(path=path, host=host).encode()


def idle(port, count, tls=None):
    """Opens connections that make one request each and then stay."""
    opened = []
    for number in range(count):
        source = (f"127.0.0.{2 + number // PORTS_EACH}", 0)
        connection = socket.create_connection(("127.0.0.1", port), 30, source)
        if tls:
            connection = tls.wrap_socket(connection, server_hostname="bench.test")
        connection.sendall(request())
        head = connection.recv(4096)
        if not head.startswith(b"HTTP/1.1 200"):
            raise Failure(f"connection {number} was answered {head[:60]!r}")
        opened.append(connection)
    return opened


def trusting():
    """A TLS client that trusts any certificate: it is the memory of the server that is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class OpenLoop:
    """Asks at fixed moments, whatever the answers do, and counts from the moment that a request was due.

    A request whose connection is still busy takes another one; so a stall of the server shows in every request that fell
    into it, and not in the one that was waiting alone.
    """

    def __init__(self, port, requests, connections=64):
        self.requests = requests
        self.next = 0
        self.poll = select.epoll()
        self.connections = {}
        self.free = []
        self.sent = {}
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port), 30)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            self.connections[connection.fileno()] = connection
            self.poll.register(connection, select.EPOLLIN)
            self.free.append(connection.fileno())

    def run(self, rate, seconds, each_second=None):
        """Latencies in seconds of all requests of a window, and how many were not answered with 200."""
        latencies, due, failed, ticks = [], deque(), 0, 0
        start = time.perf_counter()
        step, begun, total = 1 / rate, 0, int(rate * seconds)
        while len(latencies) + failed < total:
            now = time.perf_counter() - start
            if each_second and ticks < now < seconds:
                ticks += 1
                each_second()
            while begun < total and begun * step <= now:
                due.append(start + begun * step)
                begun += 1
            while due and self.free:
                self.ask(due.popleft())
            if now > seconds + 10:
                raise Failure(f"{total - len(latencies)} requests have no answer after 10 s")
            next_due = begun * step if begun < total else now + 0.01
            # Looks again and again shortly before a request is due: a timer of the system would be late.
            wait = max(0.0, start + next_due - time.perf_counter() - 0.0005)
            failed += self.collect(wait, latencies)
        return latencies, failed

    def ask(self, due):
        fd = self.free.pop()
        self.sent[fd] = due
        self.next = (self.next + 1) % len(self.requests)
        self.connections[fd].send(self.requests[self.next])

    def collect(self, wait, latencies):
        failed = 0
        for fd, _ in self.poll.poll(wait):
            data = self.connections[fd].recv(65536)
            if not data:
                raise Failure("a kept connection was closed")
            # Answers are small and come whole.
            latencies.append(time.perf_counter() - self.sent.pop(fd))
            if not data.startswith(b"HTTP/1.1 200"):
                latencies.pop()
                failed += 1
            self.free.append(fd)
        return failed


class Api:
    """One kept connection to an HTTP API."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, method, path):
        self.connection.request(method, path)
        response = self.connection.getresponse()
        response.read()
        return response.status


def quantile(latencies, share):
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
