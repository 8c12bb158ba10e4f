"""ListDocuments and ListCollectionIds, page by page."""

import base64
import re

from google.api_core.exceptions import InvalidArgument
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.types import StructuredQuery as Query
from google.protobuf.message import DecodeError

from local_cloud.firestore import values
from local_cloud.firestore.messages import (
    Document,
    Message,
    StructuredQuery,
    new_cursor,
    new_document,
    new_query,
)
from local_cloud.firestore.names import check_parent
from local_cloud.firestore.query import Plan, masked
from local_cloud.firestore.store import Snapshot
from local_cloud.firestore.transactions import Reader
from local_cloud.firestore.values import parse_path

PAGE = 300
"""Results of a page, at most and by default."""

_ORDER = re.compile(r"\s*(\S+?)(?:\s+(asc|desc))?\s*", re.IGNORECASE)


def list_documents(request: Message, reader: Reader) -> Message:
    """The response to a ListDocumentsRequest. A page token is the cursor behind the last document of the page.

    With `show_missing` also the names that have no document but something below them.
    """
    if request.show_missing and request.order_by:
        raise InvalidArgument("show_missing and order_by exclude each other.")
    plan = Plan(request.parent, _query(request))
    reader.note(plan)
    candidates = plan.scope.read(reader.snapshot)
    if request.show_missing:
        candidates += _missing(request.parent, request.collection_id, reader.snapshot)
    documents = plan.select(candidates)
    size = _page_size(request)
    paths = [parse_path(path) for path in request.mask.field_paths]
    page = [masked(document, paths) if request.HasField("mask") else document for document in documents[:size]]
    response = types.ListDocumentsResponse.pb()(documents=page)
    if len(documents) > size:
        last = documents[size - 1]
        cursor = new_cursor(values=[values.get(last, order.path) for order in plan.orders])
        response.next_page_token = base64.urlsafe_b64encode(cursor.SerializeToString()).decode()
    return response


def _query(request: Message) -> StructuredQuery:
    query = new_query()
    query.from_.add(collection_id=request.collection_id)
    for part in filter(None, request.order_by.split(",")):
        order = _ORDER.fullmatch(part)
        if order is None:
            raise InvalidArgument(f'Invalid order "{part}".')
        descending = (order[2] or "").lower() == "desc"
        direction = Query.Direction.DESCENDING if descending else Query.Direction.ASCENDING
        query.order_by.add(field={"field_path": order[1]}, direction=direction)
    if request.page_token:
        try:
            query.start_at.MergeFromString(base64.urlsafe_b64decode(request.page_token))
        except (ValueError, DecodeError):
            raise InvalidArgument("Invalid page token.") from None
    return query


def _missing(parent: str, collection_id: str, snapshot: Snapshot) -> list[Document]:
    found: dict[str, Document] = {}
    for path in snapshot.collections():
        if not path.startswith(f"{parent}/"):
            continue
        ids = path[len(parent) + 1 :].split("/")
        if len(ids) > 2 and collection_id in ("", ids[0]):
            name = f"{parent}/{ids[0]}/{ids[1]}"
            if snapshot.get(name) is None:
                found[name] = new_document(name=name)
    return list(found.values())


def list_collection_ids(request: Message, snapshot: Snapshot) -> Message:
    """The response to a ListCollectionIdsRequest. A page token is the last id of the page."""
    prefix = check_parent(request.parent) + "/"
    below = (path[len(prefix) :] for path in snapshot.collections() if path.startswith(prefix))
    ids = sorted({path.split("/", 1)[0] for path in below})
    rest = [id_ for id_ in ids if id_ > request.page_token]
    size = _page_size(request)
    token = rest[size - 1] if len(rest) > size else ""
    return types.ListCollectionIdsResponse.pb()(collection_ids=rest[:size], next_page_token=token)


def _page_size(request: Message) -> int:
    if request.page_size < 0:
        raise InvalidArgument("page_size is negative")
    return min(request.page_size or PAGE, PAGE)
