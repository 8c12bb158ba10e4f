"""Who acts, for which side, and what the service has looked up about both sides. Ids only: names stay in the service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from .terms import Rate
from .values import Model, Side, When

Role = Literal["partner", "broker", "inspector", "operations", "system"]
Status = Literal["active", "suspended", "erased", "insolvent"]
Right = Literal["negotiate", "sign", "perform"]


class Actor(Model):
    """Who takes a step. A partner or a broker acts for a `side`; a broker also says for whom (`principal_id`)."""

    role: Role
    partner_id: UUID | None = None
    side: Side | None = None
    principal_id: UUID | None = None

    @property
    def party_id(self) -> UUID | None:
        """The party whose word it is."""
        return self.principal_id if self.role == "broker" else self.partner_id


SYSTEM = Actor(role="system")


class Mandate(Model):
    """A principal's authority to a broker: for one side, with rights, until a time."""

    principal_id: UUID
    broker_id: UUID
    side: Side
    rights: tuple[Right, ...]
    rate: Rate | None = None
    until: When | None = None

    def covers(self, actor: Actor, right: Right, at: datetime) -> bool:
        return (
            (actor.partner_id, actor.principal_id, actor.side) == (self.broker_id, self.principal_id, self.side)
            and right in self.rights
            and (self.until is None or at < self.until)
        )


@dataclass(frozen=True, slots=True)
class Party:
    """A partner as the service knows it.

    `registrations` are GST registrations (id to state code), `places` other places of business (id to state code),
    `state` that of the address on record; `accounts` are verified bank accounts.
    """

    id: UUID
    constitution: Literal["individual", "huf", "company", "partnership", "society", "trust", "government"]
    cultivates: bool
    state: str
    status: Status = "active"
    registrations: Mapping[UUID, str] = field(default_factory=dict[UUID, str])
    places: Mapping[UUID, str] = field(default_factory=dict[UUID, str])
    accounts: frozenset[UUID] = frozenset()

    @property
    def agriculturist(self) -> bool:
        """An individual or a Hindu undivided family who cultivates (CGST Act 2017, section 2(7)); no type of partner."""
        return self.cultivates and self.constitution in ("individual", "huf")


@dataclass(frozen=True, slots=True)
class Parties:
    """Both sides, the bidder standing for the buyer before the match, and standing mandates."""

    seller: Party
    buyer: Party | None = None
    mandates: tuple[Mandate, ...] = ()

    def of(self, side: Side) -> Party | None:
        return self.seller if side == "seller" else self.buyer
