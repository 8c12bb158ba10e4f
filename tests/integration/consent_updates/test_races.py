"""Consent decisions at once, twice, and killed in between."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from functions.consent_updates.schemas import PURPOSES
from kapas.errors import Unavailable
from kapas.http.identity import Identity, Role, Tier
from kapas.values import clock
from local_cloud.client import ANY, Answer, Client
from local_cloud.cloud import LocalCloud
from tests.integration.consent_updates.ledger import assert_whole, connected, decide_four, granted
from tests.journeys.consents import decide, decisions, shown
from tests.journeys.partners import Partner, register
from tests.times import PATIENCE


@pytest.fixture
def partner(client: Client) -> Partner:
    return register(client)[0]


def at_once(count: int, work: Callable[[int], Answer]) -> list[Answer]:
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(work(n))) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return answers


def test_eight_decide_at_once_for_one_partner(cloud: LocalCloud, partner: Partner) -> None:
    """Also the ledger itself is made once."""
    notice = shown(partner)

    def work(n: int) -> Answer:
        body = decisions(notice, **{PURPOSES[n % 5]: "granted", PURPOSES[(n + 1) % 5]: "denied"})
        return partner.owner.post("/v1/consents", body, expect=ANY)

    assert [answer.status for answer in at_once(8, work)] == [201] * 8
    assert_whole(cloud, partner, 16)


def test_one_request_eight_times_at_once_is_one_decision(cloud: LocalCloud, partner: Partner) -> None:
    body, key = decisions(shown(partner), marketing="granted", analytics="denied"), str(uuid4())
    answers = at_once(8, lambda _: partner.owner.post("/v1/consents", body, key=key, expect=ANY))
    assert {answer.status for answer in answers} == {201}
    assert len({str(answer.body) for answer in answers}) == 1
    assert_whole(cloud, partner, 2)


def test_a_repeated_withdrawal_adds_nothing(cloud: LocalCloud, partner: Partner) -> None:
    """Under its key it is answered as before, though by now there is nothing left to withdraw."""
    decide(partner, marketing="granted")
    key = str(uuid4())
    first, again = (decide(partner, marketing="withdrawn", key=key) for _ in range(2))
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_whole(cloud, partner, 2)


def test_the_ledger_s_time_does_not_run_backwards(cloud: LocalCloud, partner: Partner) -> None:
    """An instance whose clock is behind decides after one whose clock is right."""
    first = decide(partner, marketing="granted").body["decided_at"]
    module = cloud.functions.module("consent-updates")
    owner = Identity(f"owner-{partner.id}", partner.id, Role.OWNER, Tier.BASIC)
    body = module.schemas.ConsentsDecide.model_validate(decisions(shown(partner), marketing="withdrawn"))
    behind = clock.now() - timedelta(hours=1)
    with connected(cloud, "consent_updates", partner.id) as db, db.transaction(), clock.use(lambda: behind):
        outcome = module.service.decide(db, module.routes.dependencies(), owner, body)
    assert clock.rfc3339(outcome.resource.decided_at) == first


class Meanwhile:
    """A signer at whose first signature something happens."""

    def __init__(self, signer: Any, happens: Callable[[], None]) -> None:
        self._signer = signer
        self._happens = iter([happens])
        self.public_key = signer.public_key

    def sign(self, message: bytes) -> bytes:
        happens = next(self._happens, None)
        if happens is not None:
            happens()
        return self._signer.sign(message)


def replace_signer(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """To be called after the function made its own: with the first decision."""
    module = cloud.functions.module("consent-updates")
    dependencies = module.routes.dependencies()
    signer = Meanwhile(dependencies.signer, happens)
    monkeypatch.setattr(module.routes, "dependencies", lambda: replace(dependencies, signer=signer))


def kill_connections(cloud: LocalCloud) -> None:
    with connected(cloud) as db:
        db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'consent_updates' ORDER BY pid")


def test_killed_while_it_decides(cloud: LocalCloud, partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ledger locked and nothing written: all of it is gone, and the repeated request does it once."""
    decide(partner, marketing="granted")
    replace_signer(cloud, monkeypatch, lambda: kill_connections(cloud))
    key = str(uuid4())
    decide(partner, marketing="withdrawn", analytics="denied", key=key, expect=503)
    assert_whole(cloud, partner, 1)
    assert granted(cloud, partner, "marketing") is True
    decide(partner, marketing="withdrawn", analytics="denied", key=key)
    assert_whole(cloud, partner, 3)


def test_a_signer_that_does_not_answer_leaves_nothing(
    cloud: LocalCloud, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise Unavailable

    decide(partner, analytics="denied")
    replace_signer(cloud, monkeypatch, fail)
    decide(partner, marketing="granted", expect=503)
    assert_whole(cloud, partner, 1)
    decide(partner, marketing="granted")
    assert_whole(cloud, partner, 2)


def test_the_ledger_outlives_the_partner_s_key(cloud: LocalCloud, client: Client) -> None:
    """After crypto-shredding nobody is named any more, and every chain and receipt still holds."""
    decided = decide_four(client)
    module = cloud.functions.module("consent-updates")
    with connected(cloud) as db:
        db.run("DELETE FROM subject_keys WHERE subject_id = :id", id=decided.id)
    module.routes.function.keyring.forget(decided.id)
    records = decided.owner.get("/v1/consents/history").body["data"]
    assert [(record["entity"], record["comment"]) for record in records] == [(None, None)] * 4
    decide(decided, marketing="granted", expect=409)
    assert_whole(cloud, decided, 4)
