"""The steps of a partner that has lint graded, for the tests of them. Photographs are taken once a test process."""

import functools
import hashlib
from typing import Any

import urllib3
from pg8000.native import Connection

from local_cloud.client import Answer, Client
from tests.journeys.consents import decide
from tests.journeys.partners import Partner
from tools.synthetic_camera import Camera, Photo, Scene, photograph

SMALL = Camera(width=960, height=1280)

HVI: dict[str, Any] = {
    "micronaire": 4.1,
    "strength_g_tex": 29.6,
    "upper_half_mean_length_in": 1.14,
    "uniformity_index_pct": 83.2,
    "rd": 76.4,
    "plus_b": 8.7,
    "trash_area_pct": 0.2,
    "trash_particles": 14,
    "trash_weight_pct": 2.8,
    "leaf_grade": 3,
    "moisture_pct": 7.6,
    "color_grade": "31",
}
"""A laboratory's figures of a good lot."""

RECORD = "".join(
    (
        *("12345", "0012345", "20261110", "0", "     ", "  "),  # gin, bale, day, single bale, module
        *("31", "36", "41", "296", "3", "00", "00"),  # colour, staple, micronaire, strength, leaf, extraneous, remarks
        *("31", "1", "764", "087", "02", "114", "832"),  # colour, quadrant, Rd, +b, trash, length, uniformity
        *("1", "0", "0", "00385"),  # upland, original, no correction, loan points
    )
)
"""A line of a classing file, field by field."""


@functools.cache
def photo(scene: Scene = Scene(), camera: Camera = SMALL) -> Photo:  # noqa: B008 - frozen
    return photograph(scene, camera)


def consent(partner: Partner) -> Partner:
    """The partner, with its consent to AI processing."""
    decide(partner, ai_processing="granted")
    return partner


def image(data: bytes, **changes: Any) -> dict[str, Any]:
    """How an image is announced."""
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "content_type": "image/jpeg",
        "card": "colorchecker24",
    } | changes


def upload(created: Answer, data: bytes, **headers: str) -> int:
    """Upload as the answer says; the status that Cloud Storage answers."""
    return send(created.body["upload"], data, **headers)


def send(how: dict[str, Any], data: bytes, **headers: str) -> int:
    """Upload as a link says."""
    sent = {**how["headers"], **headers}
    return urllib3.request(how["method"], how["url"], body=data, headers=sent, retries=False).status


def uploaded(partner: Partner, data: bytes, **fields: Any) -> str:
    """The id of a grading of an image that is uploaded and not submitted."""
    created = partner.owner.post("/v1/gradings", {"kind": "image", **image(data), **fields}, expect=201)
    assert upload(created, data) == 200
    return created.body["id"]


def graded(client: Client, partner: Partner, data: bytes) -> dict[str, Any]:
    """A grading of an image, through to its end."""
    grading_id = uploaded(partner, data)
    partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=200)
    client.settle()
    return partner.owner.get(f"/v1/gradings/{grading_id}").body


def axis(result: dict[str, Any], name: str) -> dict[str, Any]:
    """What was measured of one axis."""
    return next(one for one in result["measured"] if one["axis"] == name)


def lab(**changes: Any) -> dict[str, Any]:
    """A request by a laboratory's figures of a good lot."""
    return {"kind": "lab", "figures": {**HVI, **changes}}


def device(**changes: Any) -> dict[str, Any]:
    """A request by what a telephone measured."""
    figures = {"rd": 74.0, "plus_b": 9.0, "trash_area_pct": 0.3, "trash_particles": 20}
    return {"kind": "device", "model_sha256": "ab" * 32, "result": {**figures, **changes}}


def events(client: Client, sql: Connection, grading_id: str) -> list[list[Any]]:
    """What the audit trail holds of a grading once the minute sweep has passed: all that was written."""
    client.post("/_local/clock", {"advance": "PT2M"})
    kept = sql.run("SELECT sequence, type FROM audit_log WHERE subject = :id ORDER BY sequence, type", id=grading_id)
    written = sql.run("SELECT sequence, type FROM outbox WHERE subject = :id ORDER BY sequence, type", id=grading_id)
    assert kept == written
    return kept
