"""Lint is graded by its image: measured, refused or redone, whatever becomes of its consent and its task."""

from dataclasses import replace
from typing import Any

import pytest
from pg8000.native import Connection

from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from tests.journeys.consents import decide
from tests.journeys.gradings import (
    SMALL,
    axis,
    consent,
    device,
    events,
    graded,
    image,
    lab,
    photo,
    send,
    upload,
    uploaded,
)
from tests.journeys.partners import Partner, active_partner
from tools.synthetic_camera import Camera, Scene

# Measured


def test_an_image_is_graded_within_its_stated_uncertainty(client: Client, partner: Partner, sql: Connection) -> None:
    shot = photo(Scene(rd=74.5, plus_b=9.1, specks=30, seed=11))
    grading = graded(client, consent(partner), shot.data)
    assert (grading["status"], grading["version"]) == ("completed", 3)
    result = grading["result"]
    for name, true in (("rd", 74.5), ("plus_b", 9.1), ("trash_area", shot.truth.trash_area_pct)):
        measured = axis(result, name)
        assert measured["source"] == "image"
        assert abs(float(measured["value"]) - true) < 3 * float(measured["uncertainty"]), name
    assert axis(result, "trash_particles")["value"] == "30"
    reasons = {one["axis"]: one["reason"] for one in result["not_measured"]}
    assert reasons["micronaire"] == reasons["length"] == reasons["strength"] == "not_from_image"
    assert reasons["leaf"] == "leaf_mapping_unpublished"
    assert result["color_grade"]["reason"] == "chart_unavailable"
    current = partner.owner.get("/v1/grading-models/current").body
    assert result["model_sha256"] == current["sha256"]
    steps = ["requested", "submitted", "completed"]
    assert events(client, sql, grading["id"]) == [[n, f"grading.{step}.v1"] for n, step in enumerate(steps, 1)]
    assert sql.run("SELECT count(*) FROM grading_usage WHERE grading_id = :id", id=grading["id"]) == [[1]]


@pytest.mark.parametrize(
    ("scene", "camera", "code"),
    [
        (Scene(card=False), SMALL, "card_unreadable"),
        (Scene(marks=False), SMALL, "card_not_found"),
        (Scene(), Camera(width=960, height=1280, blur=2.5), "blurred"),
        (Scene(), Camera(width=960, height=1280, exposure=1.3), "over_exposed"),
        (Scene(), Camera(width=600, height=800), "image_too_small"),
    ],
    ids=["no card", "no frame", "blurred", "over-exposed", "small"],
)
def test_an_image_that_cannot_be_graded(
    client: Client, partner: Partner, scene: Scene, camera: Camera, code: str
) -> None:
    grading = graded(client, consent(partner), photo(scene, camera).data)
    assert (grading["status"], grading["result"]) == ("refused", None)
    assert grading["refusal"]["code"] == code
    assert len(grading["refusal"]["detail"]) > 20


def test_a_file_that_is_no_image(client: Client, partner: Partner) -> None:
    grading = graded(client, consent(partner), b"%PDF-1.7 not an image")
    assert grading["refusal"]["code"] == "image_unreadable"


def test_the_same_image_is_read_once(
    cloud: LocalCloud, client: Client, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photo(Scene(seed=12)).data
    read = cloud.functions.module("grading-task").tasks.reader()
    looks: list[int] = []
    monkeypatch.setattr(
        cloud.functions.module("grading-task").tasks, "reader", lambda: lambda d: looks.append(1) or read(d)
    )
    other = active_partner(client)
    first, second = graded(client, consent(partner), data), graded(client, consent(other), data)
    assert first["result"] == second["result"]
    assert len(looks) == 1


# Uploaded


def test_the_upload_takes_the_announced_bytes_only(partner: Partner) -> None:
    data = photo().data
    created = consent(partner).owner.post("/v1/gradings", {"kind": "image", **image(data)}, expect=201)
    path = f"/v1/gradings/{created.body['id']}/submit"
    assert upload(created, data[:-1]) == 400
    assert upload(created, data[:-1] + b"!") == 400
    assert upload(created, data, **{"content-type": "text/html"}) == 403
    assert "Upload the image first" in partner.owner.post(path, expect=409).body["detail"]
    assert upload(created, data) == 200
    assert upload(created, data) == 412
    partner.owner.post(path, expect=200)
    partner.owner.post(path, expect=409)
    figures = partner.owner.post("/v1/gradings", lab()).body["id"]
    partner.owner.post(f"/v1/gradings/{figures}/submit", expect=409)


def test_an_upload_that_came_too_late_gets_another_link(client: Client, partner: Partner, sql: Connection) -> None:
    data = photo(Scene(seed=19)).data
    created = consent(partner).owner.post("/v1/gradings", {"kind": "image", **image(data)}, expect=201)
    path = f"/v1/gradings/{created.body['id']}"
    client.post("/_local/clock", {"advance": "PT20M"})
    assert upload(created, data) == 400  # ExpiredToken
    again = partner.owner.post(f"{path}/upload-link", expect=201, key="a-key-of-the-client-03")
    assert partner.owner.post(f"{path}/upload-link", key="a-key-of-the-client-03").body == again.body
    assert send(again.body, data + b"!") == 400
    assert send(again.body, data) == 200
    assert send(partner.owner.post(f"{path}/upload-link").body, data) == 412
    partner.owner.post(f"{path}/submit", expect=200)
    client.settle()
    grading = partner.owner.get(path).body
    assert (grading["status"], grading["version"]) == ("completed", 3)
    assert sql.run("SELECT used FROM grading_budgets WHERE partner_id = :id", id=str(partner.id)) == [[1]]
    assert "does not wait for an image" in partner.owner.post(f"{path}/upload-link", expect=409).body["detail"]


def test_another_link_is_asked_for_as_an_image_is_announced(client: Client, partner: Partner) -> None:
    created = consent(partner).owner.post("/v1/gradings", {"kind": "image", **image(photo().data)}, expect=201)
    path = f"/v1/gradings/{created.body['id']}/upload-link"
    active_partner(client).owner.post(path, expect=404)
    client.as_user("viewer", partner.id, "viewer").post(path, expect=403)
    figures = partner.owner.post("/v1/gradings", lab()).body["id"]
    partner.owner.post(f"/v1/gradings/{figures}/upload-link", expect=409)
    decide(partner, ai_processing="withdrawn")
    partner.owner.post(path, expect=403)
    partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
    assert "erased" in partner.owner.post(path, expect=409).body["detail"]


# With consent


def test_images_need_consent(client: Client, partner: Partner) -> None:
    data = photo().data
    announced = {"kind": "image", **image(data)}
    assert "consent" in partner.owner.post("/v1/gradings", announced, expect=403).body["detail"]
    partner.owner.post("/v1/gradings", {**device(), "image": image(data)}, expect=403)
    first, second = uploaded(consent(partner), data), uploaded(partner, data)
    partner.owner.post(f"/v1/gradings/{first}/submit", expect=200)
    client.settle()
    decide(partner, ai_processing="withdrawn")
    partner.owner.post(f"/v1/gradings/{second}/submit", expect=403)
    assert partner.owner.get(f"/v1/gradings/{first}").body["status"] == "completed"  # what was done stays lawful


def test_a_consent_withdrawn_while_the_image_waits(client: Client, partner: Partner) -> None:
    grading_id = uploaded(consent(partner), photo().data)
    client.post("/_local/faults", {"edge": "task", "kind": "fail", "match": "grading-task", "times": 1, "status": 503})
    partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=200)
    decide(partner, ai_processing="withdrawn")
    client.post("/_local/clock", {"advance": "PT2M"})
    grading = partner.owner.get(f"/v1/gradings/{grading_id}").body
    assert (grading["status"], grading["refusal"]["code"]) == ("refused", "consent_missing")


def test_nothing_is_submitted_once_an_erasure_is_asked_for(partner: Partner) -> None:
    grading_id = uploaded(consent(partner), photo().data)
    partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
    assert "erased" in partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=409).body["detail"]
    partner.owner.post("/v1/gradings", lab(), expect=409)
    assert partner.owner.get(f"/v1/gradings/{grading_id}").body["status"] == "awaiting_image"


def test_an_image_that_waits_when_an_erasure_is_asked_for(client: Client, partner: Partner, sql: Connection) -> None:
    grading_id = uploaded(consent(partner), photo().data)
    client.post("/_local/faults", {"edge": "task", "kind": "fail", "match": "grading-task", "times": 1, "status": 503})
    partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=200)
    partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
    steps = ["requested", "submitted", "refused"]
    assert events(client, sql, grading_id) == [[n, f"grading.{step}.v1"] for n, step in enumerate(steps, 1)]
    grading = partner.owner.get(f"/v1/gradings/{grading_id}").body
    assert (grading["status"], grading["refusal"]["code"]) == ("refused", "consent_missing")


# Twice, lost, killed


def assert_graded_once(client: Client, partner: Partner, sql: Connection, grading_id: str) -> None:
    grading = partner.owner.get(f"/v1/gradings/{grading_id}").body
    assert (grading["status"], grading["version"]) == ("completed", 3)
    assert [row[0] for row in events(client, sql, grading_id)] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["duplicate", "lose_answer", "drop", "fail"])
def test_whatever_happens_to_the_task(client: Client, partner: Partner, sql: Connection, kind: str) -> None:
    grading_id = uploaded(consent(partner), photo().data)
    client.post("/_local/faults", {"edge": "task", "kind": kind, "match": "grading-task", "times": 2, "status": 503})
    partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=200)
    client.post("/_local/clock", {"advance": "PT10M"})
    assert_graded_once(client, partner, sql, grading_id)


@pytest.mark.parametrize("step", ["remember", "finish"])
def test_killed_between_reading_and_writing(
    cloud: LocalCloud, client: Client, partner: Partner, sql: Connection, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = cloud.functions.module("grading-task").service.store
    real, deaths = getattr(store, step), iter(range(2))

    def die_first(*arguments: Any) -> Any:
        if next(deaths, None) is not None:
            raise ConnectionResetError
        return real(*arguments)

    monkeypatch.setattr(store, step, die_first)
    grading_id = uploaded(consent(partner), photo(Scene(seed=14 if step == "finish" else 15)).data)
    partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=200)
    client.post("/_local/clock", {"advance": "PT10M"})
    client.settle()
    assert next(deaths, None) is None
    assert_graded_once(client, partner, sql, grading_id)


def test_killed_between_the_commit_and_the_task_the_reaper_has_it_graded(
    cloud: LocalCloud, client: Client, partner: Partner, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = cloud.functions.module("grading-requests").service
    grading_id = uploaded(consent(partner), photo().data)
    with monkeypatch.context() as lost:
        lost.setattr(service, "enqueue", lambda *_: None)
        partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=200)
    client.settle()
    assert partner.owner.get(f"/v1/gradings/{grading_id}").body["status"] == "queued"
    client.post("/_local/clock", {"advance": "PT10M"})
    assert_graded_once(client, partner, sql, grading_id)


def test_an_image_that_kills_its_reader_is_given_up(
    cloud: LocalCloud, client: Client, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: bytes) -> Any:
        raise MemoryError

    grading_id = uploaded(consent(partner), photo(Scene(seed=16)).data)
    with monkeypatch.context() as hostile:
        hostile.setattr(cloud.functions.module("grading-task").tasks, "reader", lambda: killed)
        partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=200)
        client.post("/_local/clock", {"advance": "PT7H"})
    owner = client.as_user("owner", partner.id, "owner")  # the token of this morning has expired
    grading = owner.get(f"/v1/gradings/{grading_id}").body
    assert (grading["status"], grading["refusal"]["code"]) == ("refused", "image_unreadable")


def test_an_outage_refuses_no_image(client: Client, partner: Partner, sql: Connection) -> None:
    grading_id = uploaded(consent(partner), photo(Scene(seed=17)).data)
    client.post("/_local/faults", {"edge": "task", "kind": "drop", "match": "grading-task", "times": 10_000})
    partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=200)
    client.post("/_local/clock", {"advance": "PT7H"})
    partner = replace(partner, owner=client.as_user("owner", partner.id, "owner"))  # this morning's token has expired
    assert partner.owner.get(f"/v1/gradings/{grading_id}").body["status"] == "queued"
    client.call("DELETE", "/_local/faults")
    client.post("/_local/clock", {"advance": "PT10M"})
    assert_graded_once(client, partner, sql, grading_id)


def test_a_storage_that_fails_costs_an_image_no_attempt(
    cloud: LocalCloud, client: Client, partner: Partner, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[int] = []

    def failing(*_: Any) -> Any:
        failures.append(1)
        raise ConnectionResetError

    grading_id = uploaded(consent(partner), photo(Scene(seed=18)).data)
    with monkeypatch.context() as outage:
        outage.setattr(cloud.functions.module("grading-task").service, "_fetch", failing)
        partner.owner.post(f"/v1/gradings/{grading_id}/submit", expect=200)
        client.post("/_local/clock", {"advance": "PT30M"})
    assert len(failures) > 5
    client.post("/_local/clock", {"advance": "PT10M"})
    assert_graded_once(client, partner, sql, grading_id)
