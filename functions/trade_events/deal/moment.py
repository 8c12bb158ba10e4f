"""What a step's handler sees."""

from dataclasses import dataclass
from datetime import datetime

from .parties import Actor, Parties, Party
from .refusal import Refused
from .trade import Trade
from .values import Side, Who


@dataclass(frozen=True, slots=True)
class Moment:
    """A step is about to be taken: on this trade, by this actor, now; `late` facts come after the trade's end."""

    trade: Trade
    actor: Actor
    at: datetime
    occurred_at: datetime
    parties: Parties

    @property
    def side(self) -> Side:
        """The side that acts. Only for steps of sides."""
        if self.actor.side is None:
            raise Refused("Only a party of the trade takes this step", against="the actor", code="forbidden")
        return self.actor.side

    @property
    def who(self) -> Who:
        """Whose word a fact is: a side's, an inspector's, the platform's."""
        if self.actor.side is not None:
            return self.actor.side
        role = self.actor.role
        return role if role in ("inspector", "operations", "broker") else "system"

    @property
    def own(self) -> Party:
        """The side that acts, as looked up."""
        party = self.parties.of(self.side)
        if party is None:
            raise Refused("Nothing is known of this party", against="the parties", code="forbidden")
        return party

    @property
    def side_or_system(self) -> Who:
        """A side's word, or the platform's where the actor is no side."""
        return "system" if self.actor.side is None else self.actor.side
