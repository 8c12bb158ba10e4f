"""Lint is graded by figures, by a classing record and by what a telephone measured; for whom, and how often a day."""

import hashlib
import threading
from typing import Any

import pytest
from pg8000.native import Connection

from local_cloud.client import ANY, Client
from tests.journeys.deals import deal
from tests.journeys.gradings import (
    RECORD,
    axis,
    consent,
    device,
    events,
    image,
    lab,
    photo,
    upload,
)
from tests.journeys.partners import Partner, active_partner
from tools.synthetic_camera import Scene


def record(start: int, text: str) -> dict[str, Any]:
    """A classing record with `text` from column `start` (counted from 1)."""
    return {"kind": "classing_record", "record": RECORD[: start - 1] + text + RECORD[start - 1 + len(text) :]}


# By figures


def test_figures_of_a_laboratory(client: Client, partner: Partner, sql: Connection) -> None:
    grading = partner.owner.post("/v1/gradings", lab(), expect=201)
    result = grading.body["result"]
    assert (grading.body["status"], grading.body["version"], grading.etag) == ("completed", 1, '"1"')
    length = axis(result, "length")
    assert (length["value"], length["unit"], length["source"]) == ("1.14", "in", "lab")
    assert float(length["uncertainty"]) > 0
    assert [(one["label"], one["table"]) for one in length["classes"]] == [("37", "usda_staple")]
    assert all(one["version"] and one["source"] for one in length["classes"])
    assert result["color_grade"]["name"] == "Middling"
    assert result["platform_grade"]["grade"] == "A"
    assert 0 < float(result["platform_grade"]["confidence"]) <= 1
    assert result["not_measured"] == []
    assert partner.owner.get(f"/v1/gradings/{grading.body['id']}").body["result"] == result
    assert events(client, sql, grading.body["id"]) == [[1, "grading.completed.v1"]]


def test_figures_of_a_laboratory_in_india(partner: Partner) -> None:
    figures = {"micronaire": 4.0, "strength_g_tex": 30.1, "upper_half_mean_length_mm": 29.8}
    result = partner.owner.post("/v1/gradings", {"kind": "lab", "figures": figures}, expect=201).body["result"]
    assert (axis(result, "length")["value"], result["length_mm"]) == ("1.17", "29.8")
    classes = {one["table"]: one["label"] for one in axis(result, "micronaire")["classes"]}
    assert classes == {"usda_micronaire": "premium", "india_msp_long_micronaire": "premium"}


def test_trash_by_area_and_by_weight_are_never_mixed(partner: Partner) -> None:
    result = partner.owner.post("/v1/gradings", lab(trash_area_pct=4.8, trash_weight_pct=4.8)).body["result"]
    assert axis(result, "trash_area")["unit"] == "% area"
    assert axis(result, "trash_area")["classes"] == []
    by_weight = axis(result, "trash_weight")
    assert by_weight["unit"] == "% weight"
    assert [(one["label"], one["table"]) for one in by_weight["classes"]] == [("not deliverable", "mcx_trash_weight")]


def test_what_is_not_reported_is_not_measured(partner: Partner) -> None:
    result = partner.owner.post("/v1/gradings", {"kind": "lab", "figures": {"rd": 73.2}}, expect=201).body["result"]
    assert {(one["axis"], one["reason"]) for one in result["not_measured"]} >= {("micronaire", "not_reported")}
    assert result["color_grade"]["code"] is None
    assert result["color_grade"]["reason"] == "chart_unavailable"
    assert result["platform_grade"]["grade"] == "C"
    assert float(result["platform_grade"]["confidence"]) < 0.15


def test_a_classing_record(partner: Partner) -> None:
    grading = partner.owner.post(
        "/v1/gradings", {"kind": "classing_record", "record": RECORD + "\r\n"}, expect=201
    ).body
    result = grading["result"]
    read = {one["axis"]: one["value"] for one in result["measured"]}
    assert read == {
        "micronaire": "4.1",
        "strength": "29.6",
        "length": "1.14",
        "uniformity": "83.2",
        "rd": "76.4",
        "plus_b": "8.7",
        "trash_area": "0.20",
        "leaf": "3",
    }
    assert result["color_grade"]["code"] == "31"
    # The classer said 36, the table says 37 of this length: both are told.
    assert [(c["label"], c["table"]) for c in axis(result, "length")["classes"]] == [
        ("37", "usda_staple"),
        ("36", "reported_staple"),
    ]


def test_what_a_classing_record_says_besides_figures(client: Client, partner: Partner, sql: Connection) -> None:
    line = RECORD[:38] + "7176" + RECORD[42:53] + "   " + RECORD[56:]  # plastic, reginned, no length
    grading = partner.owner.post("/v1/gradings", {"kind": "classing_record", "record": line}, expect=201).body
    assert grading["result"]["classing"] == {
        "gin_code": "12345",
        "bale": "0012345",
        "date_classed": "2026-11-10",
        "extraneous_matter": {"code": "71", "name": "Plastic level 1"},
        "remarks": {"code": "76", "name": "Reginned"},
        "staple_32nds": "36",
        "record_type": {"code": "0", "name": "Original"},
        "record_status": {"code": "0", "name": None},
    }
    platform = grading["result"]["platform_grade"]
    assert platform["grade"] == "D"
    assert "extraneous matter 71, Plastic level 1: no better than D" in platform["reasons"]
    assert events(client, sql, grading["id"]) == [[1, "grading.completed.v1"]]
    assert partner.owner.post("/v1/gradings", lab()).body["result"]["classing"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (lab(micronaire=42), "/figures/micronaire"),
        (lab(color_grade="14"), "/figures/color_grade"),
        (lab(upper_half_mean_length_mm=29.4), "/figures/upper_half_mean_length_mm"),
        ({"kind": "lab", "figures": {"upper_half_mean_length_mm": 1.14}}, "/figures/upper_half_mean_length_mm"),
        (lab(moisture_pct="wet"), "/figures/moisture_pct"),
        (lab(trash_pct=3), "/figures/trash_pct"),
        ({"kind": "lab", "figures": {}}, "/figures"),
        (record(1, "x" * 66)["record"], ""),
        ({"kind": "classing_record", "record": RECORD[:-1]}, "/record"),
        (record(33, "4 "), "/record"),
        (record(60, "2"), "/record"),
        (record(29, "14"), "/record"),
        (record(13, "20261340"), "/record"),
        (device(rd=101), "/result/rd"),
        (device(trash_particles=-1), "/result/trash_particles"),
        ({**device(), "model_sha256": "AB" * 32}, "/model_sha256"),
        ({**device(), "result": {}}, "/result/rd"),
        ({**device(), "image": {"sha256": "0"}}, "/image/card"),
        ({"kind": "image", **image(b"x", size=30 << 20)}, "/size"),
        ({"kind": "image", **image(b"x", content_type="image/svg+xml")}, "/content_type"),
        ({"kind": "image", **image(b"x", card="none")}, "/card"),
        ({"kind": "image", **image(b"x", sha256="xyz")}, "/sha256"),
        ({"kind": "image", "size": 1, "content_type": "image/png", "card": "colorchecker24"}, "/sha256"),
        ({"kind": "microscope"}, ""),
    ],
)
def test_what_cannot_be_is_told_where_it_is(partner: Partner, body: Any, pointer: str) -> None:
    answer = partner.owner.post("/v1/gradings", body, expect=422)
    assert pointer in [error["pointer"] for error in answer.body["errors"]]


# By a telephone


def test_what_a_telephone_measured_is_provisional(client: Client, partner: Partner, sql: Connection) -> None:
    grading = partner.owner.post("/v1/gradings", device(), expect=201).body
    assert (grading["status"], grading["result"], grading["upload"]) == ("provisional", None, None)
    assert axis(grading["provisional"], "rd")["source"] == "device"
    assert events(client, sql, grading["id"]) == [[1, "grading.requested.v1"]]


def test_the_server_has_the_last_word(client: Client, partner: Partner) -> None:
    data = photo(Scene(rd=70.0, seed=13)).data
    created = consent(partner).owner.post("/v1/gradings", {**device(rd=82.0), "image": image(data)}, expect=201)
    assert axis(created.body["provisional"], "rd")["value"] == "82.0"
    assert upload(created, data) == 200
    partner.owner.post(f"/v1/gradings/{created.body['id']}/submit", expect=200)
    client.settle()
    grading = partner.owner.get(f"/v1/gradings/{created.body['id']}").body
    assert grading["status"] == "completed"
    assert axis(grading["provisional"], "rd")["value"] == "82.0"
    assert abs(float(axis(grading["result"], "rd")["value"]) - 70.0) < 1.5
    assert axis(grading["result"], "rd")["source"] == "image"


def test_the_model_that_grades_is_there_to_download(partner: Partner) -> None:
    current = partner.owner.get("/v1/grading-models/current").body
    content = partner.owner.get(current["url"])
    assert hashlib.sha256(content.body).hexdigest() == current["sha256"]
    assert len(content.body) == current["size"]
    assert content.body[4:8] == b"TFL3"
    partner.owner.get(f"/v1/grading-models/{'0' * 64}", expect=404)
    partner.owner.get("/v1/grading-models/latest", expect=422)


# Who may


def test_a_grading_is_its_partner_s_alone(client: Client, partner: Partner) -> None:
    grading_id = partner.owner.post("/v1/gradings", lab()).body["id"]
    other = active_partner(client)
    other.owner.get(f"/v1/gradings/{grading_id}", expect=404)
    other.owner.post(f"/v1/gradings/{grading_id}/submit", expect=404)
    assert other.owner.get("/v1/gradings").body["data"] == []
    viewer = client.as_user("viewer", partner.id, "viewer")
    assert viewer.get(f"/v1/gradings/{grading_id}").body["id"] == grading_id
    viewer.post("/v1/gradings", lab(), expect=403)
    stranger = client.as_user("stranger", "01a283cf-8600-7b1c-a4d2-000000000000", "owner")
    assert "Register" in stranger.post("/v1/gradings", lab(), expect=409).body["detail"]


def test_a_grading_may_be_for_a_trade_of_one_s_own(client: Client, partner: Partner, sql: Connection) -> None:
    sold, other = deal(client, partner, active_partner(client)), active_partner(client)
    sold.take("inspector", "sample", samples=1)
    trade = sold.trade_id
    grading = partner.owner.post("/v1/gradings", {**lab(), "trade_id": trade}, expect=201).body
    assert grading["trade_id"] == trade
    refused = other.owner.post("/v1/gradings", {**lab(), "trade_id": trade}, expect=422)
    assert refused.body["errors"][0]["pointer"] == "/trade_id"
    partner.owner.post("/v1/gradings", lab())
    assert [one["id"] for one in partner.owner.get(f"/v1/gradings?trade_id={trade}").body["data"]] == [grading["id"]]
    client.post("/_local/clock", {"advance": "PT2M"})
    [[told]] = sql.run("SELECT data->>'trade_id' FROM audit_log WHERE subject = :id", id=grading["id"])
    assert told == trade


def test_gradings_are_listed_page_by_page(partner: Partner) -> None:
    made = [partner.owner.post("/v1/gradings", lab()).body["id"] for _ in range(3)]
    first = partner.owner.get("/v1/gradings?limit=2").body
    rest = partner.owner.get(f"/v1/gradings?limit=2&after={first['next']}").body
    assert [one["id"] for one in [*first["data"], *rest["data"]]] == sorted(made, reverse=True)
    assert (first["has_more"], rest["has_more"]) == (True, False)


# The day's budget


def test_two_at_once_at_the_last_of_the_day(client: Client, partner: Partner, sql: Connection) -> None:
    free = client.as_user("owner", partner.id, "owner", "free")
    key = "a-key-of-the-client-02"
    for _ in range(3):
        free.post("/v1/gradings", lab(), expect=201)
    last_but_one = free.post("/v1/gradings", lab(), expect=201, key=key)
    answers: list[Any] = []
    racing = [
        threading.Thread(target=lambda: answers.append(free.post("/v1/gradings", lab(), expect=ANY))) for _ in "ab"
    ]
    for thread in racing:
        thread.start()
    for thread in racing:
        thread.join()
    assert sorted(answer.status for answer in answers) == [201, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.body["type"].endswith("/rate-limited")
    assert 0 < int(refused.headers["Retry-After"]) <= 24 * 3600 + 1
    used = (
        "SELECT used, (SELECT count(*) FROM grading_usage u WHERE u.partner_id = b.partner_id) FROM grading_budgets b"
    )
    assert sql.run(f"{used} WHERE partner_id = :id", id=str(partner.id)) == [[5, 5]]
    # The partner is charged, whoever of it asks; another plan has another budget; what was answered stays answered.
    assert free.post("/v1/gradings", lab(), key=key).body == last_but_one.body
    client.as_user("member", partner.id, "member", "free").post("/v1/gradings", lab(), expect=429)
    partner.owner.post("/v1/gradings", lab(), expect=201)
    client.post("/_local/clock", {"advance": f"PT{refused.headers['Retry-After']}S"})
    client.as_user("owner", partner.id, "owner", "free").post("/v1/gradings", lab(), expect=201)


def test_repeating_a_request_is_neither_a_second_grading_nor_charged(partner: Partner, sql: Connection) -> None:
    key = "a-key-of-the-client-01"
    first = partner.owner.post("/v1/gradings", lab(), key=key)
    again = partner.owner.post("/v1/gradings", lab(), key=key)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    partner.owner.post("/v1/gradings", lab(rd=60), key=key, expect=422)
    used = sql.run("SELECT used FROM grading_budgets WHERE partner_id = :id", id=str(partner.id))
    assert used == [[1]]
