"""What an app sees of trades as they change, through Google's own Firestore client."""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from google.cloud import firestore

from local_cloud.client import Client

Changes = list[dict[str, Any]]
"""Each state of a document that arrived, with its `id`, oldest first."""


@contextmanager
def listening(client: Client) -> Generator[Changes]:
    """The trades that change while this is open."""
    os.environ["FIRESTORE_EMULATOR_HOST"] = client.get("/_local/endpoints").body["FIRESTORE_EMULATOR_HOST"]
    changes: Changes = []
    lock = threading.Lock()

    def on_snapshot(_: Any, changed: Any, __: Any) -> None:
        with lock:
            changes.extend({"id": c.document.id, **c.document.to_dict()} for c in changed if c.type.name != "REMOVED")

    watch: Any = firestore.Client(project="kapas-local").collection("trades").on_snapshot(on_snapshot)
    try:
        yield changes
    finally:
        watch.unsubscribe()
