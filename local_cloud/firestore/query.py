"""Structured queries: filter, order, cut at the cursors, skip, limit, project.

The stages and the implied order are those of `google.firestore.v1.StructuredQuery`. Every query runs as a scan of the
collections it names: what the service refuses for want of a composite index is answered here.
"""

from dataclasses import dataclass

from google.api_core.exceptions import InvalidArgument, MethodNotImplemented
from google.cloud.firestore_v1.types import StructuredQuery as Query

from local_cloud.firestore import filters, values
from local_cloud.firestore.messages import Document, Message, StructuredQuery, new_document
from local_cloud.firestore.names import check_parent, collection_of
from local_cloud.firestore.store import Snapshot
from local_cloud.firestore.values import NAME, FieldPath, Key, parse_path


@dataclass(frozen=True, slots=True)
class Order:
    path: FieldPath
    descending: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """Which collections a query reads: those called `collection_id` (any, if empty) right below `parent`, or at any
    depth below it."""

    parent: str
    collection_id: str
    all_descendants: bool

    def covers(self, collection: str) -> bool:
        above, _, id_ = collection.rpartition("/")
        if self.collection_id not in ("", id_):
            return False
        return above == self.parent or (self.all_descendants and above.startswith(f"{self.parent}/"))

    def read(self, snapshot: Snapshot) -> list[Document]:
        if self.collection_id and not self.all_descendants:
            return list(snapshot.collection(f"{self.parent}/{self.collection_id}"))
        return [
            document
            for collection in snapshot.collections()
            if self.covers(collection)
            for document in snapshot.collection(collection)
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """A result on its way: the document, and what it is ordered by."""

    keys: tuple[Key, ...]
    document: Document


class Plan:
    """A query that was checked and is ready to run against any snapshot.

    Raises InvalidArgument for what the service refuses, MethodNotImplemented for a nearest-neighbour search.
    """

    def __init__(self, parent: str, query: StructuredQuery) -> None:
        self.scope = _scope(parent, query)
        self.orders = _orders(query)
        self._query = query
        self._matches = filters.predicate(query.where)
        self._projection = [parse_path(field.field_path) for field in query.select.fields]
        filters.check(query.where)
        _check(query, self.orders)

    def covers(self, name: str) -> bool:
        """Whether a change of the document `name` can change the results."""
        return self.scope.covers(collection_of(name))

    def run(self, snapshot: Snapshot) -> list[Document]:
        """The results, in order, not yet projected."""
        return self.select(self.scope.read(snapshot))

    def select(self, documents: list[Document]) -> list[Document]:
        """Those of `documents` that are results, in order."""
        query = self._query
        rows = [row for document in documents if self._matches(document) and (row := self._row(document))]
        for index, order in reversed(list(enumerate(self.orders))):
            rows.sort(key=lambda row, index=index: row.keys[index], reverse=order.descending)
        if query.HasField("start_at"):
            rows = [row for row in rows if not self._precedes(row, query.start_at)]
        if query.HasField("end_at"):
            rows = [row for row in rows if self._precedes(row, query.end_at)]
        end = query.offset + query.limit.value if query.HasField("limit") else None
        return [row.document for row in rows[query.offset : end]]

    def project(self, document: Document) -> Document:
        """`document` with the selected fields only."""
        if not self._projection:
            return document
        return masked(document, self._projection)

    def _row(self, document: Document) -> Row | None:
        found = [values.get(document, order.path) for order in self.orders]
        if any(value is None for value in found):
            return None
        return Row(tuple(values.key(value) for value in found), document)

    def _precedes(self, row: Row, cursor: Message) -> bool:
        """Whether `row` is in front of the cursor's position, which is `before` or after what equals its values."""
        for order, mine, value in zip(self.orders, row.keys, cursor.values, strict=False):
            theirs = values.key(value)
            if mine != theirs:
                return (mine < theirs) != order.descending
        return not cursor.before


def masked(document: Document, paths: list[FieldPath]) -> Document:
    """A copy of `document` with only the fields at `paths`."""
    result = new_document(name=document.name)
    if document.HasField("update_time"):
        result.create_time.CopyFrom(document.create_time)
        result.update_time.CopyFrom(document.update_time)
    for path in paths:
        value = values.get(document, path)
        if path != NAME and value is not None:
            values.put(result, path, value)
    return result


def _scope(parent: str, query: StructuredQuery) -> Scope:
    check_parent(parent)
    sources = query.from_
    if len(sources) != 1:
        raise InvalidArgument("A query reads from exactly one collection selector.")
    return Scope(parent, sources[0].collection_id, sources[0].all_descendants)


def _orders(query: StructuredQuery) -> list[Order]:
    result = [
        Order(parse_path(order.field.field_path), order.direction == Query.Direction.DESCENDING)
        for order in query.order_by
    ]
    descending = result[-1].descending if result else False
    ordered = {order.path for order in result}
    implied = sorted({*filters.inequality_fields(query.where)} - ordered - {NAME})
    result += [Order(path, descending) for path in implied]
    if NAME not in ordered:
        result.append(Order(NAME, descending))
    return result


def _check(query: StructuredQuery, orders: list[Order]) -> None:
    if query.HasField("find_nearest"):
        raise MethodNotImplemented("Nearest-neighbour search is not served locally.")
    if query.offset < 0:
        raise InvalidArgument("offset is negative")
    if query.limit.value < 0:
        raise InvalidArgument("limit is negative")
    if max(len(query.start_at.values), len(query.end_at.values)) > len(orders):
        raise InvalidArgument("Cursor has too many values.")
