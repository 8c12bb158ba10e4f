"""What a lift weighs: slips of both sides, of which the terms' basis decides.

A difference beyond the tolerance waits for the other side, with a deadline. An inspector's slip overrides, then what
was decided; an independent bridge's counts when both sides record or accept it. Nobody's silence is money: when no one
answers, operations are asked, and if they do not answer either, the figure that is against nobody's word counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from . import steps as s
from .events import Changes, ClaimClosed, ClaimRaised, MillWeightMissed, Moves, Payload, WeightAnswered, WeightDecided
from .events import Weighed as WeighedEvent
from .moment import Moment
from .refusal import Refused, require
from .trade import KeptSlip, Lift, Open, Trade, deadline, other, reminding
from .values import Side, days

State = Literal["missing", "waiting", "contested", "agreed"]
SIDES: tuple[Side, Side] = ("seller", "buyer")
OPERATIONS = days(7)
"""How long operations have; the platform's own word, no term."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A lift's weight as it stands. `kg` is what pays once `agreed`; before, what one side's slips say."""

    state: State
    kg: Decimal | None
    since: datetime | None
    source: str
    waits_for: Side | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """What a mill's slip says less than the gin's: `claim_kg` is what the buyer does not bear."""

    short_kg: Decimal
    allowance_kg: Decimal
    claim_kg: Decimal


def weigh(m: Moment, step: s.Weigh) -> list[Payload]:
    """A fact: kept whatever the state."""
    return [WeighedEvent(lift=step.lift, slip=step.slip, by=m.who)]


def answer_weight(m: Moment, step: s.AnswerWeight) -> list[Payload]:
    lift = m.trade.lift(step.lift)
    reading = read(m.trade, lift)
    require(lift.invoice is None, f"Lift {step.lift} is invoiced: raise a claim", against="the invoice")
    if reading.kg is None:
        raise Refused(f"No slip of lift {step.lift} counts yet", against="terms.weight.basis", pointer="/lift")
    require(reading.state == "waiting", f"The weight of lift {step.lift} waits for nobody", against="the slips")
    if reading.waits_for != m.side:
        raise Refused(f"The {reading.waits_for} answers the other side's weight", against="the slips", code="forbidden")
    if step.kg != reading.kg:
        raise Refused(
            f"The slips say {reading.kg} kg, not {step.kg}: read again",
            against="the slips",
            code="invalid",
            pointer="/kg",
        )
    return [WeightAnswered(lift=step.lift, side=m.side, answer=step.answer, kg=reading.kg)]


def decide_weight(m: Moment, step: s.DecideWeight) -> list[Payload]:
    state = read(m.trade, m.trade.lift(step.lift)).state
    require(state in ("waiting", "contested"), "Operations decide a weight that is not agreed", against="the slips")
    return [WeightDecided(lift=step.lift, kg=step.kg, why="operations")]


def read(trade: Trade, lift: Lift) -> Reading:
    """The weight of a lift where it was loaded, by the slips and answers so far."""
    loaded = [slip for slip in lift.slips if slip.slip.at != "mill"]
    inspected = [slip for slip in loaded if slip.by == "inspector"]
    if inspected:
        return Reading("agreed", _net(trade, lift, inspected[-1:]), inspected[-1].at, "inspector")
    if lift.decided_kg is not None:
        return Reading("agreed", lift.decided_kg, lift.decided_at, "decided")
    voices = _voices(trade, lift, loaded)
    if not voices:
        return Reading("missing", None, None, trade.terms.weight.basis)
    return _between(trade, lift, loaded, voices)


def kilograms(trade: Trade, lift: Lift) -> Decimal | None:
    """What the lift is billed by, before any shortage at the mill; None until it is agreed."""
    if lift.invoice is not None and lift.invoice.kg is not None:
        return lift.invoice.kg
    reading = read(trade, lift)
    return reading.kg if reading.state == "agreed" else None


def shortage(trade: Trade, lift: Lift) -> Shortage | None:
    """What is missing at the mill, where the mill's weight counts and both weights are known.

    More at the mill than was billed is not paid. The mill's own slip counts; an inspector's overrides it, and so does
    that of an independent bridge which both sides recorded alike.
    """
    terms = trade.terms.weight
    billed = kilograms(trade, lift)
    at_mill = [slip for slip in lift.slips if slip.slip.at == "mill"]
    if terms.basis != "mill" or terms.allowance is None or billed is None or not at_mill or lift.mill_missed:
        return None
    mills = [slip for slip in at_mill if slip.by == "buyer" and not slip.slip.independent]
    counting = _settled_at_mill(trade, lift) or mills[-1:]
    if not counting:
        return None
    short = max(Decimal(0), billed - _net(trade, lift, counting))
    allowance = terms.allowance
    borne = allowance.kg if allowance.kg is not None else billed * (allowance.pct or Decimal(0)) / 100
    if short <= borne:
        return Shortage(short, borne, Decimal(0))
    return Shortage(short, borne, short - borne if allowance.mode == "excess_only" else short)


def consequence(trade: Trade) -> Payload | None:
    """A shortage beyond the allowance opens its claim by itself, and one that a later slip took away closes it."""
    for lift in trade.lifts:
        short = shortage(trade, lift)
        known = next((c for c in trade.claims if c.kind == "short_weight" and c.lift == lift.number), None)
        if short is not None and short.claim_kg > 0 and known is None:
            number = len(trade.claims) + 1
            return ClaimRaised(claim=number, kind="short_weight", by="buyer", lift=lift.number, asked=Moves())
        if short is not None and known is not None and known.stage == "contested" and _settled_at_mill(trade, lift):
            moves = Moves(kg=short.claim_kg, to="buyer")
            return ClaimClosed(claim=known.number, how="decided", moves=moves)
        if known is not None and known.stage == "raised" and short is not None and short.claim_kg == 0:
            return ClaimClosed(claim=known.number, how="no_longer_short", moves=Moves())
    return None


def changes(before: Trade, after: Trade, number: int) -> Changes | None:
    """What a fact about an invoiced lift alters in its bill. A mill's slip alters nothing here: it opens a claim."""
    invoice = after.lift(number).invoice
    if invoice is None or invoice.kg is None:
        return None
    was, now = _fresh(before, number, invoice.kg), _fresh(after, number, invoice.kg)
    if was == now:
        return None
    return Changes(lift=number, what="weight", note="credit" if now < was else "debit", before=str(was), after=str(now))


def open_items(trade: Trade) -> Iterator[Open]:
    """A weight that is missing, waits for an answer, or is contested; and the mill's slip."""
    for lift in trade.lifts:
        if lift.invoice is None and any(slip.slip.at != "mill" for slip in lift.slips):
            reading = read(trade, lift)
            if reading.state == "missing":
                yield _second_slip(trade, lift)
            elif reading.state != "agreed":
                yield _answer(trade, lift, reading)
        by_mill = trade.terms.weight.basis == "mill" and not lift.mill_missed
        if by_mill and lift.arrival is not None and all(slip.slip.at != "mill" for slip in lift.slips):
            yield Open(
                "weight",
                "weigh",
                "buyer",
                deadline(trade, lift.arrival.at, trade.terms.weight.mill_slip, stops=False),
                "The weight at the gin stands",
                MillWeightMissed(lift=lift.number),
                str(lift.number),
            )


def delivered_at(trade: Trade, lift: Lift) -> datetime | None:
    """When a lift counts as delivered: on arrival; in a yard and a warehouse when its weight is agreed."""
    if lift.arrival is not None:
        return lift.arrival.at
    if trade.terms.delivery.basis in ("yard", "in_warehouse"):
        reading = read(trade, lift)
        return reading.since if reading.state == "agreed" else None
    return None


def limit(trade: Trade) -> Decimal | None:
    """The kilograms up to which the contract is delivered without asking; None before the match."""
    if trade.match is None:
        return None
    return trade.match.quantity.kg * (100 + trade.terms.delivery.tolerance_pct) / 100


def _settled_at_mill(trade: Trade, lift: Lift) -> list[KeptSlip]:
    """The slips of who is neither party: an inspector's, or of an independent bridge as both sides recorded it."""
    at_mill = [slip for slip in lift.slips if slip.slip.at == "mill"]
    inspected = [slip for slip in at_mill if slip.by == "inspector"]
    if inspected:
        return inspected[-1:]
    again = [slip for slip in at_mill if slip.slip.independent]
    both = [[slip for slip in again if slip.by == side][-1:] for side in ("seller", "buyer")]
    agreed = [slip for of_side in both for slip in of_side]
    if len(agreed) < 2 or _apart(trade, *(slip.slip.net_kg for slip in agreed)):
        return []
    return agreed


def _apart(trade: Trade, one: Decimal, two: Decimal) -> bool:
    """Whether two weights differ beyond the tolerance, measured on their mean."""
    return abs(one - two) * 200 > trade.terms.weight.tolerance_pct * (one + two)


def _second_slip(trade: Trade, lift: Lift) -> Open:
    """The terms ask for another bridge. One alone counts if both say so, or if the terms do."""
    ref, only = str(lift.number), [slip for slip in lift.slips if slip.slip.at != "mill"]
    due = deadline(trade, only[-1].at, trade.terms.weight.answer, stops=False)
    if trade.terms.weight.one_voice:
        decided = WeightDecided(lift=lift.number, kg=_net(trade, lift, only), why="one_voice")
        return Open("weight", "weigh", "seller", due, "The one slip counts", decided, ref, ("propose",))
    then = "The seller is reminded; both may agree on the one slip"
    return reminding(trade, "weight", "weigh", "seller", due, then, ref, ("propose",))


def _answer(trade: Trade, lift: Lift, reading: Reading) -> Open:
    """First the other side, then operations; an independent bridge or an inspector settles it at any time."""
    ref, waits_for, kg = str(lift.number), reading.waits_for, reading.kg or Decimal(0)
    since = reading.since or trade.updated_at
    asked = trade.reminder(f"weight:answer_weight:{ref}")
    if reading.state == "waiting" and waits_for is not None and asked is None:
        due = deadline(trade, since, trade.terms.weight.answer, stops=False)
        then = "Operations decide the weight"
        return reminding(trade, "weight", "answer_weight", waits_for, due, then, ref, ("weigh",))
    due = OPERATIONS.after(since if asked is None else max(since, asked.at))
    voices = [v for v in _voices(trade, lift, [x for x in lift.slips if x.slip.at != "mill"]).values() if v]
    if len(voices) < 2 and trade.terms.weight.confirmed and not trade.terms.weight.one_voice:
        then = "Operations are reminded: one side's slip alone does not count by the terms"
        return reminding(trade, "weight", "decide_weight", "operations", due, then, ref, ("weigh",))
    low = min(*voices, kg) if voices else kg
    most = _room(trade, lift)
    decided = WeightDecided(
        lift=lift.number, kg=min(low, most), why="lower_of_two" if low <= most else "contract_limit"
    )
    then = "The lower weight counts; the other side may claim the rest"
    return Open("weight", "decide_weight", "operations", due, then, decided, ref, ("weigh",))


def _between(trade: Trade, lift: Lift, loaded: list[KeptSlip], voices: dict[Side, Decimal]) -> Reading:
    """One voice or two, and the answer to them."""
    terms, since = trade.terms.weight, loaded[-1].at
    kg = sum(voices.values(), Decimal(0)) / len(voices)
    apart = len(voices) == 2 and _apart(trade, voices["seller"], voices["buyer"])
    if apart:
        kg = voices["seller"]
    waits_for: Side | None = None
    if apart or kg > _room(trade, lift):
        waits_for = "buyer"
    elif len(voices) == 1 and (terms.confirmed or _independent(loaded)):
        waits_for = other(next(iter(voices)))
    answer = lift.weight_answer
    if waits_for is None:
        return Reading("agreed", kg, since, terms.basis)
    if answer is not None and answer.kg == kg:
        state: State = "agreed" if answer.answer == "accepted" else "contested"
        return Reading(state, kg, answer.at, terms.basis)
    return Reading("waiting", kg, since, terms.basis, waits_for)


def _voices(trade: Trade, lift: Lift, loaded: list[KeptSlip]) -> dict[Side, Decimal]:
    """What each side's slips say where the basis is met: on each bridge its own last slip, else the other side's."""
    terms = trade.terms.weight
    if _independent(loaded):
        return {
            side: _net(trade, lift, [slip for slip in _independent(loaded) if slip.by == side][-1:])
            for side in SIDES
            if any(slip.by == side for slip in _independent(loaded))
        }
    if terms.basis in ("independent", "inspector"):
        return {}
    bridges = {slip.slip.bridge for slip in loaded}
    alone = any(p.about == "one_bridge" and p.lift == lift.number and p.state == "accepted" for p in trade.proposals)
    if not bridges or (terms.basis == "gin_average" and len(bridges) < 2 and not alone):
        return {}
    voices: dict[Side, Decimal] = {}
    for side in SIDES:
        if any(slip.by == side for slip in loaded):
            last = [_last(loaded, bridge, side) for bridge in sorted(bridges)]
            voices[side] = _net(trade, lift, last if terms.basis != "one_bridge" else [_last(loaded, None, side)])
    return voices


def _independent(loaded: list[KeptSlip]) -> list[KeptSlip]:
    """Slips of a bridge that is neither party's. Which it is, a party says: the other side accepts or records it too."""
    return [slip for slip in loaded if slip.slip.independent]


def _last(loaded: list[KeptSlip], bridge: str | None, side: Side) -> KeptSlip:
    on_it = [slip for slip in loaded if bridge is None or slip.slip.bridge == bridge]
    return ([slip for slip in on_it if slip.by == side] or on_it)[-1]


def _room(trade: Trade, lift: Lift) -> Decimal:
    """What the contract's limit leaves for this lift after the lifts before it."""
    most = limit(trade)
    if most is None:
        return Decimal(0)
    before = (_figure(trade, kept) for kept in trade.lifts if kept.number < lift.number)
    return max(Decimal(0), most - sum(before, Decimal(0)))


def _figure(trade: Trade, lift: Lift) -> Decimal:
    """What a lift weighs by all that is known, agreed or not; 0 if nothing is."""
    if lift.invoice is not None and lift.invoice.kg is not None:
        return lift.invoice.kg
    loaded = [slip for slip in lift.slips if slip.slip.at != "mill"]
    settled = [slip for slip in loaded if slip.by == "inspector"]
    if settled:
        return _net(trade, lift, settled[-1:])
    if lift.decided_kg is not None:
        return lift.decided_kg
    voices = _voices(trade, lift, loaded)
    return sum(voices.values(), Decimal(0)) / len(voices) if voices else Decimal(0)


def _net(trade: Trade, lift: Lift, slips: list[KeptSlip]) -> Decimal:
    """The mean of the nets, each less the packing of its bales."""
    packing = trade.terms.weight.packing_kg_per_bale
    loaded = None if lift.dispatch is None else lift.dispatch.bales
    nets = [slip.slip.net_kg - packing * (slip.slip.bales or loaded or 0) for slip in slips]
    return sum(nets, Decimal(0)) / len(nets)


def _fresh(trade: Trade, number: int, billed: Decimal) -> Decimal:
    reading = read(trade, trade.lift(number))
    return reading.kg if reading.state == "agreed" and reading.kg is not None else billed
