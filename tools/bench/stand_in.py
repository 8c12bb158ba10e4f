"""What a function under measure calls, answered at once: the issuer's key set, the metadata server, and the relay.

`python -m tools.bench.stand_in PORT < answers.json`, a process of its own. Bare sockets, so that it takes as little as
possible of the CPU that the measured servers share with it.
"""

import json
import socket
import sys
import threading
from collections.abc import Mapping


def serve(port: int, answers: Mapping[str, str]) -> None:
    """Answer GETs by the beginning of their path from `answers`, and everything else with 204, until killed."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_answer, args=(connection, answers), daemon=True).start()


def _answer(connection: socket.socket, answers: Mapping[str, str]) -> None:
    received = b""
    with connection:
        while chunk := connection.recv(65536):
            received += chunk
            while b"\r\n\r\n" in received:
                head, _, received = received.partition(b"\r\n\r\n")
                method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                connection.sendall(_response(method, path, answers))


def _response(method: str, path: str, answers: Mapping[str, str]) -> bytes:
    if method == "GET":
        for prefix, text in answers.items():
            if path.startswith(prefix):
                body = text.encode()
                return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    return b"HTTP/1.1 204 No Content\r\n\r\n"


if __name__ == "__main__":
    serve(int(sys.argv[1]), json.load(sys.stdin))
