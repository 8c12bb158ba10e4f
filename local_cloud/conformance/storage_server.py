"""Serves the local Cloud Storage to the real client, for the tests of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from local_cloud.core import Core, Done, Outgoing
from local_cloud.state import State
from local_cloud.storage import Storage
from tools.serving import over_http

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
    with over_http(service) as url:
        options = {"api_endpoint": url}
        client = storage.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options=options)
        try:
            yield Served(core, service, url, client)
        finally:
            client.close()


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
