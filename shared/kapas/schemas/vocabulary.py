"""Words of the domain that more than one capability reads."""

from typing import Literal

PartnerType = Literal["farmer", "ginner", "trader", "broker", "spinning_mill"]
PartnerStatus = Literal[
    "created",
    "requirements_due",
    "submitted",
    "verifying",
    "needs_clarification",
    "under_review",
    "active",
    "suspended",
    "rejected",
]

TradeStatus = Literal[
    "offered",
    "negotiating",
    "matched",
    "contracted",
    "in_delivery",
    "disputed",
    "completed",
    "closed_out",
    "cancelled",
    "expired",
]
"""The one word for a trade as a whole; its tracks say more."""
