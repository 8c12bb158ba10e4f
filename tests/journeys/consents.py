"""The steps of a partner that decides on its consents, for the tests of them."""

from typing import Any

from local_cloud.client import Answer
from tests.journeys.partners import Partner


def shown(partner: Partner, language: str = "en") -> dict[str, str]:
    """The current notice, as a decision refers to it."""
    notice = partner.owner.get(f"/v1/consent-notices/current?language={language}").body
    return {name: notice[name] for name in ("version", "language", "sha256")}


def decisions(notice: dict[str, str], **decided: str) -> dict[str, Any]:
    """A request: what was decided of each purpose, by its name."""
    return {
        "decisions": [
            {"purpose": purpose, "decision": decision, "notice": notice} for purpose, decision in decided.items()
        ]
    }


def decide(partner: Partner, *, expect: int = 201, key: str | None = None, **decided: str) -> Answer:
    """Decide as the partner's owner, with the current notice."""
    return partner.owner.post("/v1/consents", decisions(shown(partner), **decided), expect=expect, key=key)


def state(partner: Partner, purpose: str) -> dict[str, Any]:
    """Where one purpose stands now."""
    return next(one for one in partner.owner.get("/v1/consents/current").body["data"] if one["purpose"] == purpose)


def on_behalf(partner: Partner, comment: str | None = "By e-mail of 24 November", **decided: str) -> dict[str, Any]:
    """A request of the data protection officer: what a partner decided that wrote to it."""
    body = decisions(shown(partner), **decided)
    for one in body["decisions"]:
        one["comment"] = comment
    return {**body, "partner_id": str(partner.id)}
