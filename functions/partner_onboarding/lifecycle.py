"""The states of a partner and who may take which step.

created -> requirements_due -> submitted -> verifying -> under_review -> active <-> suspended
                                               |              |                         |
                                               +-> needs_clarification <----------------+
                                                           |
                                                       submitted ...        rejected, which is for good
"""

from dataclasses import dataclass
from typing import Literal

from kapas.errors import Conflict

from .event_models import (
    PartnerActivated,
    PartnerEvent,
    PartnerNeedsClarification,
    PartnerRejected,
    PartnerRequirementsDue,
    PartnerSubmitted,
    PartnerSuspended,
    PartnerUnderReview,
    PartnerVerifying,
)
from .schemas import PartnerStatus

Party = Literal["owner", "operations", "checks"]
"""`checks` is the platform itself, when it begins or has ended to check."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step may be taken from these states, by this party, and leads to this state, of which this event tells."""

    sources: tuple[PartnerStatus, ...]
    party: Party
    target: PartnerStatus
    event: type[PartnerEvent]


_OPEN: tuple[PartnerStatus, ...] = ("created", "requirements_due", "needs_clarification")
_UNDECIDED: tuple[PartnerStatus, ...] = (*_OPEN, "submitted", "verifying", "under_review")

CHANGEABLE = _OPEN
"""Where all of the partner's details may be changed. While they are checked, they stay as they were."""
CORRECTABLE: tuple[PartnerStatus, ...] = ("active", "suspended")
"""Where what bears on no check may still be corrected (DPDP Act s.12): the contact, and the address within its state."""

STEPS: dict[str, Step] = {
    "submit": Step(_OPEN, "owner", "submitted", PartnerSubmitted),
    "submit_incomplete": Step(_OPEN, "owner", "requirements_due", PartnerRequirementsDue),
    "begin_checks": Step(("submitted",), "checks", "verifying", PartnerVerifying),
    "end_checks": Step(("verifying",), "checks", "under_review", PartnerUnderReview),
    "hold": Step(("verifying",), "checks", "needs_clarification", PartnerNeedsClarification),
    # A suspended partner whose bank account, owners or name changed is checked anew; it does not trade meanwhile.
    "request_clarification": Step(
        ("under_review", "suspended"), "operations", "needs_clarification", PartnerNeedsClarification
    ),
    # Where the partner was asked to mend something, this takes it back: it holds as it is, or was asked by mistake.
    "recheck": Step(
        ("requirements_due", "submitted", "verifying", "needs_clarification", "under_review"),
        "operations",
        "submitted",
        PartnerSubmitted,
    ),
    "activate": Step(("under_review",), "operations", "active", PartnerActivated),
    "reject": Step(_UNDECIDED, "operations", "rejected", PartnerRejected),
    "suspend": Step(("active",), "operations", "suspended", PartnerSuspended),
    "reinstate": Step(("suspended",), "operations", "active", PartnerActivated),
}


_SOURCES = {name: step.sources for name, step in STEPS.items()} | {
    "reclassify": CHANGEABLE,
    "withdraw_a_document": CHANGEABLE,
}
"""What may be done from which states: the steps, and what leads to no other state."""


def require(name: str, status: PartnerStatus) -> None:
    """Raise `Conflict` if what is called so cannot be done in `status`."""
    sources = _SOURCES[name]
    if status not in sources:
        words = name.replace("_", " ")
        raise Conflict(f"Cannot {words} while the partner is {status}; its status must be {' or '.join(sources)}")


def step(name: str, status: PartnerStatus) -> Step:
    """The step of that name from `status`. Raises `Conflict` if it cannot be taken from there."""
    require(name, status)
    return STEPS[name]
