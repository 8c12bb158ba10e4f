"""A partner that was suspended or rejected reads over HTTP why, and what it can do; what was screened it does not."""

from datetime import datetime

import pytest

from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from local_cloud.providers import Behaviour
from tests.journeys.partners import Partner, active_partner, register, submit


def path(partner: Partner, rest: str = "") -> str:
    return f"/v1/partners/{partner.id}{rest}"


def test_a_suspended_partner_reads_why_since_when_and_what_to_do(client: Client, operations: Client) -> None:
    partner = active_partner(client)
    assert partner.owner.get(path(partner)).body["disabled"] is None
    operations.post(path(partner, "/suspend"), {"reason_code": "payment_defaulted"}, if_match='"5"')
    viewer = client.as_user("viewer", partner.id, "viewer")
    for reader in (partner.owner, viewer, operations):
        told = reader.get(path(partner)).body["disabled"]
        assert (told["reason_code"], told["message"]) == ("payment_defaulted", "A purchase was not paid")
        assert told["how_to_mend"].startswith("Pay the amount due")
        assert datetime.fromisoformat(told["since"]).tzinfo is not None
    operations.post(path(partner, "/reinstate"), if_match='"6"')
    assert partner.owner.get(path(partner)).body["disabled"] is None


def test_what_a_correction_answers_says_it_as_well(client: Client, operations: Client) -> None:
    partner = active_partner(client)
    operations.post(path(partner, "/suspend"), {"reason_code": "under_inquiry"}, if_match='"5"')
    change = {"contact": {"email": "asha@example.com"}}
    corrected = partner.owner.call("PATCH", path(partner), change, headers={"If-Match": '"6"'}, expect=200)
    assert corrected.body["disabled"]["reason_code"] == "under_inquiry"


def test_the_last_decision_counts(client: Client, operations: Client) -> None:
    partner = active_partner(client)
    operations.post(path(partner, "/suspend"), {"reason_code": "details_changed"}, if_match='"5"')
    asked = {"clarifications": [{"field": "bank_account", "reason_code": "details_changed"}]}
    operations.post(path(partner, "/clarifications"), asked, if_match='"6"')
    assert partner.owner.get(path(partner)).body["disabled"] is None  # it is asked to mend something
    operations.post(path(partner, "/reject"), {"reason_code": "not_answered"}, if_match='"7"')
    assert partner.owner.get(path(partner)).body["disabled"]["reason_code"] == "not_answered"


def test_who_is_rejected_for_a_hit_reads_nothing_of_it(cloud: LocalCloud, client: Client, operations: Client) -> None:
    partner, _ = register(client)
    cloud.providers.behave("screening", Behaviour("mismatch", about=partner.body["legal_name"]))
    version = submit(partner)
    cloud.providers.behave("screening")
    operations.post(path(partner, "/reject"), {"reason_code": "listed_name"}, if_match=f'"{version}"', expect=422)
    operations.post(path(partner, "/reject"), {"reason_code": "platform_decision"}, if_match=f'"{version}"')
    told = partner.owner.get(path(partner)).body
    assert told["disabled"]["message"] == "The platform decided this after its own review"
    assert not any(word in str(told) for word in ("listed", "screening"))


@pytest.mark.parametrize("step", ["suspend", "reject"])
def test_a_reason_that_nobody_could_explain_is_refused(client: Client, operations: Client, step: str) -> None:
    if step == "suspend":
        partner, version = active_partner(client), 5
    else:
        partner, version = register(client)[0], 1
    refused = operations.post(
        path(partner, f"/{step}"), {"reason_code": "because"}, if_match=f'"{version}"', expect=422
    )
    assert [error["pointer"] for error in refused.body["errors"]] == ["/reason_code"]
    assert partner.owner.get(path(partner)).body["version"] == version
