"""A WSGI application over HTTP on a thread of this process, for as long as somebody asks it."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Nothing: whoever asks knows what was asked."""


@contextmanager
def over_http(app: Any) -> Generator[str]:
    """The address of `app` on loopback. Its thread has ended when this ends."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
