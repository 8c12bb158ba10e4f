"""The errors of Cloud Storage, in the words of both of its APIs."""

import json
from dataclasses import dataclass, field
from xml.etree import ElementTree

from werkzeug.wrappers import Response


@dataclass
class StorageError(Exception):
    """What a request is refused with: HTTP status, the JSON API's reason and the XML API's code, and a message."""

    status: int
    reason: str
    code: str
    message: str
    elements: dict[str, str] = field(default_factory=dict[str, str])
    """Further elements of the XML answer (`Details`, `StringToSign` ...)."""


def invalid(message: str) -> StorageError:
    return StorageError(400, "invalid", "InvalidArgument", message)


def required(parameter: str) -> StorageError:
    return StorageError(400, "required", "InvalidArgument", f"Required parameter: {parameter}")


def no_bucket() -> StorageError:
    return StorageError(404, "notFound", "NoSuchBucket", "The specified bucket does not exist.")


def no_object(bucket: str, name: str) -> StorageError:
    return StorageError(404, "notFound", "NoSuchKey", f"No such object: {bucket}/{name}")


def forbidden(reason: str, code: str, message: str) -> StorageError:
    return StorageError(403, reason, code, message)


def condition_not_met() -> StorageError:
    return StorageError(
        412,
        "conditionNotMet",
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold.",
    )


def not_modified() -> StorageError:
    return StorageError(304, "notModified", "NotModified", "Not Modified")


def bad_digest(kind: str, given: str, calculated: str) -> StorageError:
    message = f'Provided {kind} "{given}" doesn\'t match calculated {kind} "{calculated}".'
    return StorageError(400, "invalid", "BadDigest", message)


def as_json(error: StorageError) -> Response:
    """The error as the JSON API answers it; a 304 has no body."""
    if error.status == 304:
        return Response(status=304)
    detail = {"message": error.message, "domain": "global", "reason": error.reason}
    body = {"error": {"code": error.status, "message": error.message, "errors": [detail]}}
    return Response(json.dumps(body), status=error.status, content_type="application/json; charset=UTF-8")


def as_xml(error: StorageError) -> Response:
    """The error as the XML API answers it; a 304 has no body."""
    if error.status == 304:
        return Response(status=304)
    root = ElementTree.Element("Error")
    for tag, text in {"Code": error.code, "Message": error.message, **error.elements}.items():
        ElementTree.SubElement(root, tag).text = text
    body = b"<?xml version='1.0' encoding='UTF-8'?>" + ElementTree.tostring(root)
    return Response(body, status=error.status, content_type="application/xml; charset=UTF-8")
