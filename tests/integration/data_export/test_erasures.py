"""Erasures on a real PostgreSQL: what goes, what stays and why, and who may ask for it."""

import base64
import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from functions.data_export import service
from functions.data_export.schemas import ErasureCreate
from kapas.errors import Conflict, Forbidden
from kapas.http.identity import Role
from kapas.privacy import restrictions, signing
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring, Shredded
from tests.integration.data_export.erasures import begin, erased, everything, kept, rows
from tests.integration.data_export.system import SECRETS, START, System
from tests.times import Time
from tools.verify_archive import _is_signed


def test_what_no_law_keeps_goes(system: System) -> None:
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    system.webhook(owner.partner_id)
    system.webhook(other.partner_id)
    before = everything(system, other.partner_id)
    after = erased(system, owner)
    assert everything(system, owner.partner_id) == {
        "partner": [["active", False]],
        "index": False,
        "endpoints": [["", None, "deleted"]],
        "webhook_messages": 0,
        "webhook_attempts": 0,
        "partner_documents": 0,
        "key": [[0]],
        "statutory": [],
        "uploads": [],
        "document": "erased",
    }
    assert everything(system, other.partner_id) == before
    assert after.statement is not None
    done = {(entry.store, entry.action): entry.count for entry in after.statement.erased}
    assert done[("table webhook_messages", "deleted")] == 2
    assert done[("table partners", "made_unreadable")] == 1
    assert done[("collection partners", "overwritten")] == 1
    assert not kept(after, "table webhook_messages")
    [(sealed,)] = system.run("SELECT legal_name FROM partners WHERE id = :id", id=owner.partner_id)
    field = Field("partners", "legal_name", owner.partner_id)
    with system.database.session(owner.partner_id) as db, pytest.raises(Shredded):
        Keyring(system.kms).decrypt(SqlKeyStore(db), owner.partner_id, field, sealed)


def test_a_trade_within_its_eight_years_stays_and_says_why(system: System) -> None:
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    trade = system.trade(owner.partner_id, other.partner_id, datetime(2026, 3, 31, 18, 29, tzinfo=UTC))
    later = system.trade(other.partner_id, owner.partner_id, datetime(2028, 2, 29, 6, tzinfo=UTC))
    lot = system.trade(owner.partner_id, None)
    after = erased(system, owner)
    found = system.run("SELECT id FROM trades WHERE id = ANY(:ids)", ids=[trade, later, lot])
    assert len(found) == 3
    negotiated, contracted = kept(after, "table trades")
    assert (contracted.count, contracted.law, contracted.article.split(";")[0]) == (2, "Companies Act 2013", "s.128(5)")
    assert (contracted.earliest_deletion, contracted.latest_deletion) == (date(2034, 4, 1), date(2036, 4, 1))
    assert (negotiated.count, negotiated.law) == (1, "Limitation Act 1963")
    assert [entry.count for entry in kept(after, "table trade_events")] == [1, 2]
    [records] = kept(after, "table statutory_records")
    assert (records.count, records.earliest_deletion) == (2, date(2036, 4, 1))


def test_a_grade_that_a_trade_was_settled_by_stays_with_it(system: System) -> None:
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    trade = system.trade(owner.partner_id, other.partner_id)
    certificate = system.grading(owner.partner_id, trade, image=True)
    system.grading(owner.partner_id, None, image=True)
    system.grading(owner.partner_id, None, image=False)
    after = erased(system, owner)
    assert [row[0] for row in rows(system, "gradings", owner.partner_id)] == [certificate]
    assert [path for path in system.uploads.objects if str(owner.partner_id) in path] == []
    [grading], [usage] = kept(after, "table gradings"), kept(after, "table grading_usage")
    assert (grading.count, grading.law, grading.earliest_deletion) == (1, "Companies Act 2013", date(2035, 4, 1))
    assert (usage.count, usage.earliest_deletion) == (1, date(2035, 4, 1))
    assert after.statement is not None
    done = {entry.store: entry.count for entry in after.statement.erased}
    assert (done["table gradings"], done["table grading_usage"]) == (2, 2)
    assert (done["bucket uploads/gradings/"], done["bucket uploads/partners/"]) == (2, 1)


def test_a_photograph_that_the_law_keeps_for_a_year_stays_for_a_year(system: System, time: Time) -> None:
    """DPDP Rules r.8(3), from 13 May 2027 on: also of a trade, whose grade stays for longer."""
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    trade = system.trade(owner.partner_id, other.partner_id)
    system.grading(owner.partner_id, trade, image=True)
    time.now = datetime(2027, 6, 1, 6, 30, tzinfo=UTC)
    recent = system.grading(owner.partner_id, trade, image=True)
    time.now = datetime(2027, 12, 1, 6, 30, tzinfo=UTC)
    erased(system, owner)
    assert len(rows(system, "gradings", owner.partner_id)) == 2
    assert [path for path in system.uploads.objects if f"gradings/{owner.partner_id}" in path] == [
        f"gradings/{owner.partner_id}/{recent}"
    ]


def test_a_bid_on_another_partners_lot_is_stated(system: System) -> None:
    owner, other, third = system.register(), system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    trade = system.trade(other.partner_id, third.partner_id)
    system.step(trade, 2, owner.partner_id, "bidder", START)
    [bid] = kept(erased(system, owner), "table trade_events")
    assert (bid.count, bid.law, bid.latest_deletion) == (1, "Limitation Act 1963", date(2029, 11, 25))


def test_the_books_can_still_name_their_parties_and_nobody_else_can(system: System) -> None:
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    system.trade(owner.partner_id, other.partner_id)
    after = erased(system, owner)
    opened: dict[str, str] = {}
    with system.database.session(owner.partner_id) as db:
        for column, row_id, sealed in db.run(
            "SELECT column_name, row_id, sealed FROM statutory_records WHERE partner_id = :id ORDER BY column_name",
            id=owner.partner_id,
        ):
            field = Field("statutory_records", f"partners.{column}", row_id)
            opened[column] = system.keyring.decrypt(SqlKeyStore(db), after.id, field, sealed).decode()
            with pytest.raises(Shredded):
                system.keyring.decrypt(SqlKeyStore(db), owner.partner_id, field, sealed)
    assert opened == {name: SECRETS[name] for name in ("legal_name", "pan")}


def test_the_market_is_told_that_open_lots_are_gone(system: System) -> None:
    owner = system.register()
    assert owner.partner_id
    trade = system.trade(owner.partner_id, None)
    document = {"status": "offered", "seller_id": str(owner.partner_id), "open": True, "bids": 0, "sequence": 1}
    system.documents.documents[f"trades/{trade}"] = {**document, "partner_ids": [str(owner.partner_id)]}
    erased(system, owner)
    assert system.documents.documents[f"trades/{trade}"] == {
        **document,
        "seller_id": None,
        "open": False,
        "partner_ids": [],
    }


def test_a_lot_that_was_withdrawn_is_in_no_books(system: System) -> None:
    """Nobody bought it, so no invoice has to name its seller, and no statute is cited that does not apply."""
    owner = system.register()
    assert owner.partner_id
    trade = system.trade(owner.partner_id, None, status="cancelled")
    document = {"status": "cancelled", "seller_id": str(owner.partner_id), "partner_ids": [str(owner.partner_id)]}
    system.documents.documents[f"trades/{trade}"] = document
    after = erased(system, owner)
    [kept_lot] = kept(after, "table trades")
    assert (kept_lot.law, kept_lot.latest_deletion) == ("Limitation Act 1963", date(2029, 11, 25))
    assert kept(after, "table statutory_records") == []
    assert rows(system, "statutory_records", owner.partner_id) == []
    redacted = system.documents.documents[f"trades/{trade}"]
    assert (redacted["seller_id"], redacted["partner_ids"]) == (None, [])


def test_processing_is_restricted_with_the_request(system: System) -> None:
    owner = system.register()
    assert owner.partner_id
    with system.database.session(owner.partner_id) as db:
        assert not restrictions.restricted(db, owner.partner_id)
    begin(system, owner)
    with system.database.session(None) as db:
        assert restrictions.restricted(db, owner.partner_id)
    with pytest.raises(Conflict, match="erased"):
        system.request_export(owner)
    with pytest.raises(Conflict, match="already"):
        system.request_erasure(owner)


def test_what_a_statute_in_force_keeps_is_not_deleted(system: System, time: Time) -> None:
    """DPDP Rules r.8(3), from 13 May 2027: logs of processing are kept for a year."""
    time.now = datetime(2027, 6, 1, 6, tzinfo=UTC)
    owner = system.register()
    assert owner.partner_id
    system.webhook(owner.partner_id, messages=1)
    time.now = datetime(2028, 5, 1, 6, tzinfo=UTC)
    system.webhook(owner.partner_id, messages=3)
    time.now = datetime(2028, 6, 2, 6, tzinfo=UTC)
    after = erased(system, owner)
    [messages] = kept(after, "table webhook_messages")
    assert (messages.count, messages.article, messages.latest_deletion) == (3, "r.8(3)", date(2029, 5, 2))
    assert len(rows(system, "webhook_messages", owner.partner_id)) == 3
    assert len(rows(system, "webhook_attempts", owner.partner_id)) == 3


def test_the_certificate_is_signed(system: System) -> None:
    owner = system.register()
    after = erased(system, owner)
    assert after.certificate is not None
    assert after.statement is not None
    header, payload, signature = after.certificate.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["statement"] == after.statement.model_dump(mode="json")
    assert claims["sub"] == str(owner.partner_id)
    detached = f"{header}..{signature}".encode()
    assert _is_signed(signing.canonical(claims), detached, system.signer.public_key())
    changed = signing.canonical(claims | {"sub": str(after.id)})
    assert not _is_signed(changed, detached, system.signer.public_key())


def test_only_its_owner_and_the_protection_officer_ask_for_it(system: System) -> None:
    owner = system.register()
    for role in (Role.MEMBER, Role.VIEWER, Role.OPS, Role.INSPECTOR):
        with system.database.session(owner.partner_id) as db, pytest.raises(Forbidden):
            service.request_erasure(db, replace(owner, role=role), ErasureCreate(confirm="erase"))
