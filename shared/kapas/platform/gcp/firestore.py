"""Firestore through Google's client, which `FIRESTORE_EMULATOR_HOST` points to a stand-in."""

from collections.abc import Callable
from typing import Any

from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.cloud import firestore

from kapas.errors import Unavailable
from kapas.platform.ports import Document

ATTEMPTS = 20
"""Tries of one transaction; the client makes them without a pause, and its default of 5 is soon used up on a busy one."""

TIMEOUT = 10.0
"""Seconds to wait for a document to be deleted, tries included."""


class Firestore:
    """A `kapas.platform.ports.Documents`."""

    def __init__(self, project: str) -> None:
        self._client: Any = firestore.Client(project=project)

    def update(self, path: str, change: Callable[[Document | None], Document | None]) -> None:
        reference = self._client.document(path)

        @firestore.transactional
        def apply(transaction: Any) -> None:
            snapshot = reference.get(transaction=transaction)
            document = change(snapshot.to_dict() if snapshot.exists else None)
            if document is not None:
                transaction.set(reference, document)

        apply(self._client.transaction(max_attempts=ATTEMPTS))

    def ids(self, collection: str) -> list[str]:
        """The ids of all documents of a collection: for tools, for it reads each. Raises `Unavailable`."""
        try:
            return [reference.id for reference in self._client.collection(collection).list_documents()]
        except (GoogleAPICallError, RetryError) as failure:
            raise Unavailable("Firestore does not answer") from failure

    def delete(self, path: str) -> None:
        try:
            self._client.document(path).delete(timeout=TIMEOUT)
        except (GoogleAPICallError, RetryError) as failure:
            raise Unavailable("Firestore does not answer") from failure
