"""How closely to look at a partner: named factors that add up, by a policy with a version (`risk.json`)."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..profile import identifiers
from ..records import Account, Check
from ..review_schemas import Risk, RiskFactor
from ..schemas import PartnerProfile

Level = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Policy:
    """`risk.json` as read: level -> the score it begins at, factor -> points."""

    version: str
    levels: Mapping[str, int]
    points: Mapping[str, int]


@functools.cache
def policy() -> Policy:
    """The policy, read at the first use."""
    data = json.loads((Path(__file__).parent / "risk.json").read_text("utf-8"))
    return Policy(data["version"], data["levels"], data["points"])


def score(account: Account, profile: PartnerProfile, checks: Sequence[Check]) -> Risk:
    """The risk as it stands. `checks` are those of the current submission.

    Everybody onboards from afar, so each partner is high risk until all its checks are clear (RBI KYC Direction).
    """
    factors = [
        RiskFactor(name=name, points=policy().points[name])
        for name in dict.fromkeys(_factors(account, profile, checks))
    ]
    total = sum(factor.points for factor in factors)
    return Risk(score=total, level=_level(total), factors=factors, policy_version=policy().version)


def _level(total: int) -> Level:
    if total >= policy().levels["high"]:
        return "high"
    return "medium" if total >= policy().levels["medium"] else "low"


def _factors(account: Account, profile: PartnerProfile, checks: Sequence[Check]) -> Iterator[str]:
    if not checks or any(check.result != "clear" for check in checks):
        yield "not_verified_non_face_to_face"
    for name in (f"type_{account.type}", f"constitution_{account.constitution}"):
        if name in policy().points:
            yield name
    if account.type != "farmer" and profile.identifiers.gstin is None:
        yield "no_gst_registration"
    if any(owner.basis == "control" for owner in profile.beneficial_owners):
        yield "control_without_ownership"
    if any(True for _ in identifiers.oddities(profile)):
        yield "unusual_detail"
    for check in checks:
        if check.kind == "screening" and check.result in ("review", "mismatch"):
            yield "possible_screening_hit"
        elif check.result not in ("clear", None):
            yield f"check_{check.result}"
