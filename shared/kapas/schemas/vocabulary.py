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
    "OFFERED",
    "BID",
    "NEGOTIATING",
    "MATCHED",
    "CONTRACTED",
    "SAMPLED",
    "QUALITY_PASSED",
    "QUALITY_FAILED",
    "PAYMENT_PENDING",
    "PAYMENT_CONFIRMED",
    "DISPATCHED",
    "DELIVERED",
    "SETTLED",
    "DISPUTED",
    "ARBITRATION",
    "CANCELLED",
    "EXPIRED",
]
