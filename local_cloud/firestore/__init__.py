"""Firestore (native mode) for the real google-cloud-firestore clients, in one process.

Known differences from the service:

- Transactions are optimistic (the service's default for server clients is pessimistic): a conflict answers ABORTED at
  commit and the client runs again, where the service would have let it wait for a lock. Under contention give a
  transaction more attempts than the client's default of five.
- No composite index is ever needed; the service answers FAILED_PRECONDITION for a query that lacks one.
- TTL policies delete nothing, security rules are not evaluated, and no credentials are checked.
- Not served: Write streams (mobile and web clients), pipelines, nearest-neighbour search, query explanation.
  PartitionQuery answers that there is nothing to divide.
- The past reaches back one hour, less if it takes more than 64 MiB, and not beyond a restart.
"""

from collections.abc import Iterator
from typing import Any

import grpc
from google.api_core.exceptions import GoogleAPICallError, InvalidArgument, NotFound
from google.cloud.firestore_v1 import types
from google.protobuf.empty_pb2 import Empty

from local_cloud.core import Core
from local_cloud.firestore import names, values, writes
from local_cloud.firestore.aggregation import aggregate
from local_cloud.firestore.listen import Stream
from local_cloud.firestore.listing import list_collection_ids, list_documents
from local_cloud.firestore.messages import (
    Document,
    Message,
    Write,
    WriteResult,
    new_write,
    plain,
    status,
    timestamp,
)
from local_cloud.firestore.query import Plan, masked
from local_cloud.firestore.store import Store
from local_cloud.firestore.transactions import Reader, Transactions
from local_cloud.firestore.values import parse_path
from local_cloud.state import State

MAX_REQUEST_BYTES = 10 << 20
_MAX_BATCH = 500

Context = grpc.ServicerContext


class Firestore:
    """The service `google.firestore.v1.Firestore`, to be served under `FirestoreGrpcTransport`.

    Documents are written through `state` and are there again after a restart; open transactions are not.
    """

    def __init__(self, core: Core, state: State) -> None:
        self._core = core
        self._store = Store(core, state)
        self._transactions = Transactions(core, self._store)

    def documents(self, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Each document whose path below its database starts with `prefix`, as (path, fields as JSON shows them)."""
        with self._core.lock:
            found = [(names.relative(document.name), document) for document in self._store.all()]
        for path, document in found:
            if path.startswith(prefix):
                yield path, {name: values.to_json(value) for name, value in document.fields.items()}

    def _reader(self, request: Message) -> Reader:
        return Reader(self._store, self._transactions, request)

    # Reads

    def GetDocument(self, request: types.GetDocumentRequest, _: Context) -> types.Document:
        message = plain(request)
        with self._core.lock:
            document = self._reader(message).get(names.check_document(message.name))
        if document is None:
            raise NotFound(f'Document "{message.name}" not found.')
        return types.Document.wrap(_masked(document, message))

    def BatchGetDocuments(
        self, request: types.BatchGetDocumentsRequest, _: Context
    ) -> Iterator[types.BatchGetDocumentsResponse]:
        message = plain(request)
        wanted = {names.check_document(name, message.database): None for name in message.documents}
        with self._core.lock:
            reader = self._reader(message)
            found = {name: reader.get(name) for name in wanted}
        if reader.begun:
            yield types.BatchGetDocumentsResponse(transaction=reader.begun)
        read_time = timestamp(reader.snapshot.time)
        for name, document in found.items():
            response = types.BatchGetDocumentsResponse.pb()(read_time=read_time)
            if document is None:
                response.missing = name
            else:
                response.found.CopyFrom(_masked(document, message))
            yield types.BatchGetDocumentsResponse.wrap(response)

    def ListDocuments(self, request: types.ListDocumentsRequest, _: Context) -> types.ListDocumentsResponse:
        message = plain(request)
        with self._core.lock:
            return types.ListDocumentsResponse.wrap(list_documents(message, self._reader(message)))

    def ListCollectionIds(self, request: types.ListCollectionIdsRequest, _: Context) -> types.ListCollectionIdsResponse:
        message = plain(request)
        with self._core.lock:
            return types.ListCollectionIdsResponse.wrap(list_collection_ids(message, self._reader(message).snapshot))

    def RunQuery(self, request: types.RunQueryRequest, _: Context) -> Iterator[types.RunQueryResponse]:
        message = plain(request)
        plan = Plan(message.parent, message.structured_query)
        with self._core.lock:
            reader = self._reader(message)
            documents = reader.run(plan)
        if reader.begun:
            yield types.RunQueryResponse(transaction=reader.begun)
        new_response, read_time = types.RunQueryResponse.pb(), timestamp(reader.snapshot.time)
        for document in documents:
            yield types.RunQueryResponse.wrap(new_response(document=plan.project(document), read_time=read_time))
        yield types.RunQueryResponse.wrap(new_response(read_time=read_time, done=True))

    def RunAggregationQuery(
        self, request: types.RunAggregationQueryRequest, _: Context
    ) -> Iterator[types.RunAggregationQueryResponse]:
        message = plain(request)
        query = message.structured_aggregation_query
        plan = Plan(message.parent, query.structured_query)
        with self._core.lock:
            reader = self._reader(message)
            fields = aggregate(query.aggregations, reader.run(plan))
        response = types.RunAggregationQueryResponse.pb()(
            read_time=timestamp(reader.snapshot.time), transaction=reader.begun
        )
        for alias, value in fields.items():
            response.result.aggregate_fields[alias].CopyFrom(value)
        yield types.RunAggregationQueryResponse.wrap(response)

    def PartitionQuery(self, request: types.PartitionQueryRequest, _: Context) -> types.PartitionQueryResponse:
        Plan(request.parent, plain(request).structured_query)
        return types.PartitionQueryResponse()

    def Listen(self, requests: Iterator[types.ListenRequest], context: Context) -> Iterator[types.ListenResponse]:
        yield from map(types.ListenResponse.wrap, Stream(self._core, self._store).serve(requests, context))

    # Writes

    def CreateDocument(self, request: types.CreateDocumentRequest, _: Context) -> types.Document:
        message = plain(request)
        with self._core.lock:
            id_ = message.document_id or self._core.random.randbytes(10).hex()
            write = new_write(update=message.document, current_document={"exists": False})
            write.update.name = f"{message.parent}/{message.collection_id}/{id_}"
            return types.Document.wrap(_masked(self._write_one(write), message))

    def UpdateDocument(self, request: types.UpdateDocumentRequest, _: Context) -> types.Document:
        message = plain(request)
        write = new_write(update=message.document)
        if message.HasField("update_mask"):
            write.update_mask.CopyFrom(message.update_mask)
        if message.HasField("current_document"):
            write.current_document.CopyFrom(message.current_document)
        with self._core.lock:
            return types.Document.wrap(_masked(self._write_one(write), message))

    def DeleteDocument(self, request: types.DeleteDocumentRequest, _: Context) -> Empty:
        message = plain(request)
        write = new_write(delete=message.name)
        if message.HasField("current_document"):
            write.current_document.CopyFrom(message.current_document)
        with self._core.lock:
            self._commit([write])
        return Empty()

    def Commit(self, request: types.CommitRequest, _: Context) -> types.CommitResponse:
        message = plain(request)
        if message.ByteSize() > MAX_REQUEST_BYTES:
            raise InvalidArgument(f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes.")
        with self._core.lock:
            if message.transaction:
                self._transactions.close(message.transaction, writes=bool(message.writes))
            results, time = self._commit(message.writes, message.database)
        return types.CommitResponse.wrap(types.CommitResponse.pb()(write_results=results, commit_time=timestamp(time)))

    def BatchWrite(self, request: types.BatchWriteRequest, _: Context) -> types.BatchWriteResponse:
        message = plain(request)
        if len(message.writes) > _MAX_BATCH:
            raise InvalidArgument(f"maximum {_MAX_BATCH} writes allowed per request")
        if len({writes.target(write) for write in message.writes}) < len(message.writes):
            raise InvalidArgument("the same document cannot be written more than once in a single request")
        response = types.BatchWriteResponse.pb()()
        for write in message.writes:
            result, outcome = response.write_results.add(), response.status.add()
            try:
                with self._core.lock:
                    result.CopyFrom(self._commit([write], message.database)[0][0])
            except GoogleAPICallError as error:
                outcome.CopyFrom(status(error))
        return types.BatchWriteResponse.wrap(response)

    def _write_one(self, write: Write) -> Document:
        self._commit([write])
        return self._store.get(write.update.name)

    def _commit(self, requested: list[Write], database: str = "") -> tuple[list[WriteResult], int]:
        """Apply all of the writes or, raising what the first bad one deserves, none; their results and their time."""
        time = self._store.commit_time()
        pending: dict[str, Document | None] = {}
        results: list[WriteResult] = []
        for write in requested:
            name = names.check_document(writes.target(write), database)
            old = pending[name] if name in pending else self._store.get(name)
            pending[name], result = writes.apply(write, old, time)
            results.append(result)
        changed = {name: new for name, new in pending.items() if new is not self._store.get(name)}
        self._store.commit(changed, time)
        return results, time

    # Transactions

    def BeginTransaction(self, request: types.BeginTransactionRequest, _: Context) -> types.BeginTransactionResponse:
        with self._core.lock:
            return types.BeginTransactionResponse(transaction=self._transactions.begin(plain(request).options).id)

    def Rollback(self, request: types.RollbackRequest, _: Context) -> Empty:
        with self._core.lock:
            self._transactions.rollback(request.transaction)
        return Empty()


def _masked(document: Document, request: Message) -> Document:
    if not request.HasField("mask"):
        return document
    return masked(document, [parse_path(path) for path in request.mask.field_paths])
