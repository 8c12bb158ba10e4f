"""The protobuf messages underneath the client library's wrappers.

The service works on plain protobuf messages (the proto-plus wrappers cost several times as much to touch) and wraps
only what it answers. A message that is in the store, or was read from it, is never changed: a write makes a new one.
"""

from typing import Any, TypeAlias

import grpc
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1 import types
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status

Message: TypeAlias = Any
"""Any message of google.firestore.v1; the aliases below say which one."""
Value: TypeAlias = Any
Document: TypeAlias = Any
Write: TypeAlias = Any
WriteResult: TypeAlias = Any
StructuredQuery: TypeAlias = Any
Filter: TypeAlias = Any

new_value: Any = types.Value.pb()
new_document: Any = types.Document.pb()
new_write: Any = types.Write.pb()
new_write_result: Any = types.WriteResult.pb()
new_query: Any = types.StructuredQuery.pb()
new_cursor: Any = types.Cursor.pb()


def plain(request: Any) -> Message:
    """The protobuf message inside a wrapped request."""
    return type(request).pb(request)


def timestamp(microseconds: int) -> Timestamp:
    """A time of the store (microseconds since 1970) as a protobuf timestamp."""
    result = Timestamp()
    result.FromMicroseconds(microseconds)
    return result


def status(error: GoogleAPICallError) -> Status:
    """What a client would see of `error`, for answers that carry it inside."""
    code: Any = error.grpc_status_code or grpc.StatusCode.UNKNOWN
    return Status(code=code.value[0], message=str(error.message))
