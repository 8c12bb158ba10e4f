"""A WSGI application over HTTP, for as long as a test asks it."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import make_server


@contextmanager
def over_http(app: Any) -> Generator[str]:
    """The address of `app` on loopback. Its thread has ended when this ends."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
