"""The rules of Firestore that are released, decided: what each client may do with each document."""

from typing import Any

import pytest

from tests.terraform.deployed import Deployed
from tests.terraform.firestore_rules import Rules

SELLER, BUYER, STRANGER = "seller-1", "buyer-1", "stranger-1"
CLIENTS: dict[str, Any] = {
    "nobody": None,
    "without a partner": {"token": {}},
    "a number": {"token": {"partner_id": 7}},
    "a list": {"token": {"partner_id": [SELLER]}},
    **{partner: {"token": {"partner_id": partner}} for partner in (SELLER, BUYER, STRANGER)},
}
OPEN = {"open": True, "partner_ids": [SELLER]}
MATCHED = {"open": False, "partner_ids": [SELLER, BUYER]}


def released(deployed: Deployed) -> str:
    (file,) = deployed.one("firebaserules_ruleset")["source"][0]["files"]
    return file["content"]


def allowed(deployed: Deployed, methods: tuple[str, ...], path: str, document: dict[str, Any]) -> set[str]:
    """The clients who may do any of these."""
    rules = Rules(released(deployed))
    return {
        client
        for client, auth in CLIENTS.items()
        if any(rules.allows(method, path, {"auth": auth}, {"data": document}) for method in methods)
    }


@pytest.mark.parametrize(
    ("path", "document", "readers"),
    [
        ("trades/open", OPEN, {SELLER, BUYER, STRANGER}),
        ("trades/matched", MATCHED, {SELLER, BUYER}),
        ("trades/neither", {"partner_ids": [SELLER]}, {SELLER}),
        ("partners/seller", OPEN, {SELLER}),
        ("audit/entry", OPEN, set[str]()),
        ("trades/open/bids/1", OPEN, set[str]()),
    ],
)
def test_a_client_reads_its_own_documents_and_open_trades(
    deployed: Deployed, path: str, document: dict[str, Any], readers: set[str]
) -> None:
    assert allowed(deployed, ("get",), path, document) == readers
    assert allowed(deployed, ("list",), path, document) == readers


@pytest.mark.parametrize("path", ["trades/open", "partners/seller", "audit/entry"])
def test_no_client_writes(deployed: Deployed, path: str) -> None:
    assert allowed(deployed, ("create", "update", "delete"), path, OPEN) == set()


def test_the_released_rules_are_the_live_feed_s(deployed: Deployed) -> None:
    """Which Google's own evaluator decides where they live."""
    assert released(deployed) == deployed.rules


@pytest.mark.parametrize(
    ("condition", "decided"),
    [
        ("resource.data.missing == 1 || resource.data.open == true", None),  # numbers are not of the part we know
        ("resource.data.missing == null || resource.data.open == true", True),
        ("resource.data.open == true || resource.data.missing == null", True),
        ("resource.data.missing == null || resource.data.open != true", False),
        ("resource.data.open == true && resource.data.missing == null", False),
        ("resource.data.open == true && (resource.data.open == false || 'a' in resource.data.tags)", True),
        ("resource.data.open", True),
        ("resource.data.tags", False),  # only true is a yes
    ],
)
def test_an_error_is_a_no_of_its_side_only(condition: str, decided: bool | None) -> None:
    rule = f"match /a/{{b}} {{ allow get: if {condition}; }}"
    text = f"rules_version = '2'; service cloud.firestore {{ match /databases/{{d}}/documents {{ {rule} }} }}"
    if decided is None:
        with pytest.raises(ValueError, match="not known"):
            Rules(text)
    else:
        assert Rules(text).allows("get", "a/1", {}, {"data": {"open": True, "tags": ["a"]}}) is decided
