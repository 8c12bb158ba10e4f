"""Consents, each purpose on its own, with a notice in one's language and a receipt that anybody can verify."""

import hashlib
import json
from itertools import pairwise
from typing import Any

import jwt

from tools.demo.day import Day, Firm
from tools.demo.screen import expect


def play(day: Day) -> None:
    day.screen.act("Consents")
    with day.screen.step("Each reads the notice in its language and decides purpose by purpose") as seen:
        ginner = decide(day.ginner, "gu", ai_processing="granted", analytics="granted", marketing="denied")
        mill = decide(day.mill, "en", analytics="granted", data_sharing="denied")
        seen.append(f"ginner, notice in Gujarati: {_outcomes(ginner)}")
        seen.append(f"mill, notice in English: {_outcomes(mill)}")
    with day.screen.step("The ginner verifies its receipt with the published key") as seen:
        records = verified(day.ginner, ginner["receipt"])["records"]
        for before, record in pairwise(records):
            expect(record["previous_hash"] == _hash(before), "the records are not linked")
        seen.append(f"{len(records)} records, each linked to the one before, signed [green]verified[/]")


def decide(firm: Firm, language: str, **decided: str) -> dict[str, Any]:
    """Decide with the current notice in that language; the answer. Raises `StepFailed` if something is refused."""
    shown = firm.owner.get(f"/v1/consent-notices/current?language={language}").body
    notice = {name: shown[name] for name in ("version", "language", "sha256")}
    decisions = [{"purpose": p, "decision": decision, "notice": notice} for p, decision in decided.items()]
    answer: dict[str, Any] = firm.owner.post("/v1/consents", {"decisions": decisions}, expect=201).body
    expect(all(one["outcome"] == "recorded" for one in answer["outcomes"]), f"refused: {answer['outcomes']}")
    return answer


def verified(firm: Firm, receipt: str) -> dict[str, Any]:
    """The payload of a receipt. Raises jwt.InvalidSignatureError unless a published key signed it."""
    keys = {key["kid"]: key for key in firm.owner.get("/v1/consents/receipt-keys").body["keys"]}
    key = jwt.PyJWK(keys[jwt.get_unverified_header(receipt)["kid"]])
    return json.loads(jwt.PyJWS().decode(receipt, key, algorithms=["ES256"]))


def _hash(record: dict[str, Any]) -> str:
    """SHA-256 of the record's canonical JSON (RFC 8785), as a client would compute it."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _outcomes(answer: dict[str, Any]) -> str:
    return ", ".join(f"{one['purpose']} {one['decision']}" for one in answer["outcomes"])
