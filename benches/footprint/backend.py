"""An upstream that answers each request of HTTP/1.1 with a few bytes. Run as a process of its own: `backend.py PORT`.

It looks for nothing but the end of a head, so it costs little and never is what is measured.
"""

import select
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
END = b"\r\n\r\n"


def serve(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
            else:
                answer(poll, connections, number)


def answer(poll, connections, number):
    connection = connections[number]
    try:
        data = connection.recv(65536)
        if data:
            connection.sendall(ANSWER * data.count(END))
            return
    except OSError:
        pass
    poll.unregister(number)
    connections.pop(number).close()


if __name__ == "__main__":
    try:
        serve(int(sys.argv[1]))
    except KeyboardInterrupt:
        pass
