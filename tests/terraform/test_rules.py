"""The rules of Firestore, played: what each client may read of a document.

Their conditions are made Python and evaluated, for they use no more of the rules' language than both have.
"""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from tests.terraform.deployed import Deployed

OWN, OTHER = "partner-1", "partner-2"
CLIENTS: dict[str, Any] = {
    "stranger": None,
    "no partner": {},
    "its partner": {"partner_id": OWN},
    "another partner": {"partner_id": OTHER},
}


class Missing(Exception):
    """A field that is not there ends a rule's evaluation: the answer is no."""


class _Fields(SimpleNamespace):
    def __getattr__(self, name: str) -> Any:
        raise Missing(name)


def _python(condition: str) -> str:
    condition = re.sub(r"([\w.]+) is string", r"isinstance(\1, str)", condition)
    for theirs, ours in {"&&": " and ", "||": " or ", "null": "None", "true": "True", "false": "False"}.items():
        condition = condition.replace(theirs, ours)
    return " ".join(condition.split())


def _may_read(rules: str, collection: str, claims: dict[str, str] | None, *, is_open: bool) -> bool:
    token = None if claims is None else SimpleNamespace(token=_Fields(**claims))
    names = {
        "request": SimpleNamespace(auth=token),
        "resource": SimpleNamespace(data=_Fields(partner_ids=[OWN], open=is_open)),
    }
    functions = dict(re.findall(r"function (\w+)\(\) \{\s*return (.*?);", rules, re.S))
    names |= {name: lambda body=body: _evaluate(body, names) for name, body in functions.items()}
    (condition,) = re.findall(rf"match /{collection}/\{{\w+\}} \{{\s*allow read: if (.*?);", rules, re.S)
    return _evaluate(condition, names)


def _evaluate(condition: str, names: dict[str, Any]) -> bool:
    # An error on one side of an "or" is a no of that side only.
    for side in _python(condition).split(" or "):
        try:
            if eval(side, {}, names):
                return True
        except (Missing, AttributeError):
            continue
    return False


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("collection", "is_open"), [("partners", False), ("trades", False), ("trades", True)])
def test_a_client_reads_its_own_documents_and_open_trades(
    deployed: Deployed, client: str, collection: str, is_open: bool
) -> None:
    (file,) = deployed.one("firebaserules_ruleset")["source"][0]["files"]
    may = client == "its partner" or (is_open and client == "another partner")
    assert _may_read(file["content"], collection, CLIENTS[client], is_open=is_open) == may


def test_nobody_writes(deployed: Deployed) -> None:
    (file,) = deployed.one("firebaserules_ruleset")["source"][0]["files"]
    assert re.findall(r"allow ([\w, ]+):", file["content"]) == ["read", "read"]
