"""The states of a trade and who may take which step."""

from dataclasses import dataclass
from typing import Literal

from kapas.errors import Conflict
from kapas.schemas.trades import TradeStatus

Party = Literal["seller", "buyer", "bidder"]
"""`bidder` is any partner but the seller."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step may be taken from these states, by this party, and leads to this state."""

    sources: tuple[TradeStatus, ...]
    party: Party
    target: TradeStatus


STEPS: dict[str, Step] = {
    "bid_placed": Step(("OFFERED", "BID"), "bidder", "BID"),
    "bid_accepted": Step(("BID",), "seller", "MATCHED"),
    "contract_signed": Step(("MATCHED",), "buyer", "CONTRACTED"),
}


def step(event_type: str, status: TradeStatus) -> Step:
    """The step that an event of `event_type` takes from `status`. Raises `Conflict` if there is none."""
    found = STEPS[event_type]
    if status not in found.sources:
        raise Conflict(f"{event_type} is possible when a trade is {' or '.join(found.sources)}; this one is {status}")
    return found
