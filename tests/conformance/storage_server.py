"""Serves the local Cloud Storage to the real client, for the tests of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from werkzeug.serving import make_server

from tools.local.core import Core, Done, Outgoing
from tools.local.state import State
from tools.local.storage import Storage

PROJECT = "kapas-test"


@dataclass(frozen=True)
class Served:
    """A running service: what it is, where it is, and a client of it."""

    core: Core
    service: Storage
    url: str
    client: storage.Client


def no_network(request: Outgoing, done: Done) -> None:
    raise AssertionError(f"Cloud Storage calls nobody, but called {request.url}")


@contextmanager
def serving(core: Core, state: State, folder: Path | None = None) -> Iterator[Served]:
    service = Storage(core, state, folder)
    server = make_server("127.0.0.1", 0, service, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"http://127.0.0.1:{server.port}"
    client = storage.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": url})
    try:
        yield Served(core, service, url, client)
    finally:
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()


def put(bucket: storage.Bucket, name: str, data: bytes = b"x") -> storage.Blob:
    """Write an object in one request."""
    blob = bucket.blob(name)
    blob.upload_from_string(data)
    return blob


def refused(call: Callable[[], object], reason: str) -> None:
    """Assert that `call` is forbidden for `reason`, in the words of the JSON API."""
    with pytest.raises(exceptions.Forbidden) as caught:
        call()
    assert caught.value.response.json()["error"]["errors"][0]["reason"] == reason
