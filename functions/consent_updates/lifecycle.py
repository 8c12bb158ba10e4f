"""Which decisions can be recorded, and which end processing (DPDP Act s.6)."""

from datetime import datetime

from .notices import Notices
from .schemas import ConsentDecide, Decision, Refusal

REFUSED: dict[Refusal, tuple[str, str]] = {
    "notice_unknown": (
        "notice/version",
        "Unknown notice or language. Show the current notice and send its version, language and sha256",
    ),
    "notice_mismatch": (
        "notice/sha256",
        "The sha256 is not that of the published notice. Show the published notice unchanged",
    ),
    "notice_superseded": ("notice/version", "A newer notice is in force. Show it before asking for consent"),
    "purpose_unknown": ("purpose", "This notice does not cover the purpose. Show one that does"),
    "not_granted": ("decision", "There is no consent to withdraw"),
}
"""Why a decision is refused -> the member of it at fault, and what to do instead."""


def refusal(notices: Notices, decide: ConsentDecide, last: Decision | None, at: datetime) -> Refusal | None:
    """Why a decision cannot follow the last one on its purpose, None if it can.

    To grant takes the notice in force (s.5); to say no, any that was shown will do. A yes and a no are always possible: a
    no must win whatever came before (s.6(4)). Only a grant can be withdrawn, also one that has expired.
    """
    version = notices.find(decide.notice.version, at)
    shown = version and version.notices.get(decide.notice.language)
    if version is None or shown is None:
        return "notice_unknown"
    if shown.sha256 != decide.notice.sha256:
        return "notice_mismatch"
    if decide.decision == "granted" and decide.notice.version != notices.current(at):
        return "notice_superseded"
    if not version.asks_for(decide.purpose):
        return "purpose_unknown"
    return "not_granted" if decide.decision == "withdrawn" and last != "granted" else None


def ends_processing(decision: Decision, last: Decision | None) -> bool:
    """Whether those who process have to stop now (s.6(6)). A no to what was granted stops them like a withdrawal."""
    return last == "granted" and decision != "granted"
