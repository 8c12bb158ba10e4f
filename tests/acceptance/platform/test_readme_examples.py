"""The examples of the capabilities' READMEs, sent as they stand: only the host and the shell's variables are filled in."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import urllib3

from local_cloud.client import Client
from tests.journeys import partners as journey
from tests.journeys.deals import offer
from tools.catalog import ROOT, catalog

HOST = "https://api.example.com"


@dataclass(frozen=True, slots=True)
class Example:
    capability: str
    command: str
    answer: dict[str, Any] | None
    """The README's JSON right after the command, where it is the resource that the answer holds."""

    @property
    def path(self) -> str:
        return shlex.split(self.command.replace("\\\n", ""))[1].removeprefix(HOST)


def examples() -> Iterator[Example]:
    for page in sorted(ROOT.glob("functions/*/README.md")):
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for (kind, text), (next_kind, following) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
            if kind == "sh" and HOST in text:
                resource = json.loads(following) if next_kind == "json" else {}
                yield Example(page.parent.name, text, resource if "id" in resource else None)


EXAMPLES = list(examples())


def variables(client: Client, example: Example) -> dict[str, str]:
    """The shell's variables for an example: the token of somebody who may send it, and what it is about."""
    if example.capability == "partner_onboarding":
        partner_id = uuid4()
        return {"TOKEN": client.as_user(f"owner-{partner_id}", partner_id, "owner").token or ""}
    if example.capability == "retention_sweep":
        return {"TOKEN": client.as_user("operations", None, "ops").token or ""}
    partner = journey.active_partner(client)
    trade = offer(journey.active_partner(client)) if "$TRADE" in example.command else {"id": ""}
    return {"TOKEN": partner.owner.token or "", "TRADE": trade["id"]}


def send(client: Client, example: Example) -> urllib3.BaseHTTPResponse:
    """What curl would: `-H` for a header, `-d` for a body, which makes it a POST."""
    text = example.command.replace("\\\n", "").replace("$(uuidgen)", str(uuid4())).replace(HOST, client.url)
    for name, value in variables(client, example).items():
        text = text.replace(f"${name}", value)
    program, url, *options = shlex.split(text)
    assert program == "curl"
    given = list(zip(options[::2], options[1::2], strict=True))
    assert {option for option, _ in given} <= {"-H", "-d"}, example.command
    headers = dict(value.split(": ", 1) for option, value in given if option == "-H")
    bodies = [value for option, value in given if option == "-d"]
    return urllib3.request(
        "POST" if bodies else "GET", url, headers=headers, body=bodies[0] if bodies else None, retries=False
    )


def test_every_capability_with_routes_has_an_example() -> None:
    """A route is shown, and stays shown, with what it takes."""
    served = {function.capability for function in catalog().functions.values() if function.trigger.routes}
    assert {example.capability for example in EXAMPLES} == served


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.capability} {example.path}")
def test_an_example_works_as_it_stands(client: Client, example: Example) -> None:
    answer = send(client, example)
    assert 200 <= answer.status < 300, answer.data
    if example.answer is not None:
        assert answer.json().keys() == example.answer.keys()
