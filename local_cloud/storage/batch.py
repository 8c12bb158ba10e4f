"""The batch endpoint: many JSON API requests in one `multipart/mixed` (cloud.google.com/storage/docs/batch)."""

from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from urllib.parse import urlsplit

from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from local_cloud.storage import errors

MAX_CALLS = 100
"""Of one batch request. The Python client sends up to 1,000, which the real service refuses."""

_BOUNDARY = "batch_kapas"


def answer(request: Request, call: Callable[[Request], Response]) -> Response:
    """Make every call of a batch, in order; each has its own status. Raises 400 for what is no batch."""
    header = f"Content-Type: {request.headers.get('Content-Type', '')}\r\n\r\n".encode()
    message = message_from_bytes(header + request.get_data())
    parts = message.get_payload()
    if message.get_content_type() != "multipart/mixed" or not isinstance(parts, list):
        raise errors.invalid("A batch is multipart/mixed.")
    if len(parts) > MAX_CALLS:
        raise errors.invalid(f"The batch request has {len(parts)} calls, but may have {MAX_CALLS}.")
    answers = [_part(part, call(_inner(part, request))) for part in parts if isinstance(part, Message)]
    body = "".join(f"--{_BOUNDARY}\r\n{part}\r\n" for part in answers) + f"--{_BOUNDARY}--\r\n"
    return Response(body, content_type=f"multipart/mixed; boundary={_BOUNDARY}")


def _inner(part: Message, outer: Request) -> Request:
    payload = part.get_payload(decode=True)
    if part.get_content_type() != "application/http" or not isinstance(payload, bytes):
        raise errors.invalid("Each part of a batch is application/http.")
    line, _, rest = payload.lstrip().replace(b"\r\n", b"\n").partition(b"\n")
    try:
        method, target, _ = line.decode().split(" ")
    except ValueError as error:
        raise errors.invalid("A part of the batch has no request line.") from error
    content = message_from_bytes(rest)
    body = content.get_payload(decode=True)
    url = urlsplit(target)
    builder = EnvironBuilder(
        path=url.path,
        query_string=url.query,
        method=method,
        headers=[(name, value) for name, value in content.items() if name.lower() != "content-length"],
        data=body if isinstance(body, bytes) else None,
        base_url=outer.root_url,
    )
    environ = builder.get_environ()
    environ["REQUEST_URI"] = environ["RAW_URI"] = url.path
    return Request(environ)


def _part(request: Message, response: Response) -> str:
    headers = [("Content-Type", response.headers.get("Content-Type", "text/plain"))]
    headers += [(name, value) for name, value in response.headers.items() if name in ("ETag", "Location")]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    identifier = request.get("Content-ID", "").strip("<>")
    return (
        f"Content-Type: application/http\r\nContent-ID: <response-{identifier}>\r\n\r\n"
        f"HTTP/1.1 {response.status}\r\n{lines}\r\n{response.get_data(as_text=True)}"
    )
