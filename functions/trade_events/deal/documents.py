"""Papers: who owes which by when. An invoice fixes its lift's weight; the kinds follow from the tax."""

from collections.abc import Iterator

from . import quality, settlement, weight
from . import steps as s
from .events import ClosingAccepted, DocumentRecorded, Ended, Overdue, Payload
from .fold import INVOICES
from .moment import Moment
from .refusal import Refused, require
from .trade import Claim, Lift, Open, Trade, reminding
from .values import Side, days

INVOICE = days(1)
"""A tax invoice is due before or at removal (CGST Act 2017, section 31(1))."""
SELF_INVOICE = days(30)
"""From the receipt (CGST Rules 2017, rule 47A)."""
NOTE = days(5)
CLOSING = days(3)


def record_document(m: Moment, step: s.RecordDocument) -> list[Payload]:
    """Raises `Refused` for an invoice of the wrong kind or party, twice, or of a lift whose weight is not agreed."""
    kg = paise = figures = None
    if step.kind in INVOICES:
        lift = _invoiceable(m, step)
        kg = weight.kilograms(m.trade, lift)
        figures = quality.agreed_figures(lift)
        paise = settlement.statement(m.trade).total("invoice", lift=lift.number)
    return [
        DocumentRecorded(
            kind=step.kind,
            number=step.number,
            by=m.who if m.actor.role != "broker" else "broker",
            lift=step.lift,
            kg=kg,
            figures=figures,
            paise=paise if paise is not None else step.paise,
            claim=step.claim,
            file_id=step.file_id,
        )
    ]


def accept_closing(m: Moment, _: s.AcceptClosing) -> list[Payload]:
    require(m.trade.contracted_at is not None, "There is no contract yet", against="the contract")
    require(m.side not in m.trade.closing, f"The {m.side} has agreed", against="the closing")
    return [ClosingAccepted(side=m.side)]


def issuer(trade: Trade) -> Side:
    """Who makes the invoice: the buyer itself under reverse charge and from a seller without registration."""
    tax = trade.tax
    return "buyer" if tax is not None and (tax.reverse_charge or not tax.seller_registered) else "seller"


def invoice_kind(trade: Trade) -> str:
    if issuer(trade) == "buyer":
        return "self_invoice"
    return "bill_of_supply" if trade.tax is not None and trade.tax.kind == "none" else "tax_invoice"


def open_items(trade: Trade) -> Iterator[Open]:
    for lift in trade.lifts:
        reading = weight.read(trade, lift)
        if lift.invoice is None and reading.state == "agreed" and reading.since is not None:
            who, ref = issuer(trade), str(lift.number)
            due = (INVOICE if who == "seller" else SELF_INVOICE).after(reading.since)
            then = "Flagged: the goods are not to move, and tax is due without it"
            yield reminding(trade, "documents", "record_document", who, due, then, ref, ("raise_claim",))
    for claim in trade.claims:
        if _needs_note(claim) and not any(paper.claim == claim.number for paper in trade.documents):
            due = NOTE.after(claim.stage_at)
            then = "The buyer's statement shows it as claimed; operations are told"
            ref = f"claim {claim.number}"
            yield reminding(trade, "documents", "record_document", issuer(trade), due, then, ref)
    broker = any(mandate.principal_id in (trade.seller_id, trade.buyer_id) for mandate in trade.mandates)
    noted = any(paper.kind == "brokers_note" for paper in trade.documents)
    if broker and not noted and trade.match is not None and trade.reminder("documents:record_document:note") is None:
        told = Overdue(track="documents", step="record_document", ref="note", who="broker")
        then = "The principals' own signatures decide"
        yield Open("documents", "record_document", "broker", days(0).after(trade.match.at), then, told, "note")


def closing(trade: Trade) -> Open:
    """What is open when nothing else is."""
    since = trade.updated_at
    then = "The trade is closed; only a paper or a late fact adds to it"
    due, ended = CLOSING.after(since), end(trade)
    return Open("documents", "accept_closing", "system", due, then, ended, or_steps=("raise_claim",))


def end(trade: Trade) -> Ended:
    """How a trade ends in which nothing is open."""
    rest = trade.rest
    if rest is not None and rest.how == "closed_out":
        return Ended(how="closed_out", reason="rest_ended")
    if rest is not None and not trade.lifts:
        return Ended(how="cancelled", reason="rest_ended")
    return Ended(how="completed", reason="nothing_open")


def _invoiceable(m: Moment, step: s.RecordDocument) -> Lift:
    trade = m.trade
    if step.lift is None:
        raise Refused("Say which lift is invoiced", against="the invoice", code="invalid", pointer="/lift")
    require(trade.tax is not None, "There is no contract yet", against="the contract")
    lift, kind, who = trade.lift(step.lift), invoice_kind(trade), issuer(trade)
    if m.who not in (who, "system"):
        raise Refused(f"The {who} makes the invoice of this trade", against="the tax", code="forbidden")
    if step.kind != kind:
        raise Refused(
            f"By the tax of this trade the paper is a {kind.replace('_', ' ')}",
            against="the tax",
            code="invalid",
            pointer="/kind",
        )
    if lift.invoice is not None:
        raise Refused(
            f"Lift {step.lift} is invoiced by {lift.invoice.number}: a credit or debit note changes it",
            against="the invoice",
            pointer="/lift",
        )
    reading = weight.read(trade, lift)
    if reading.state != "agreed":
        who_waits = f": it waits for the {reading.waits_for}" if reading.waits_for else ""
        raise Refused(
            f"The weight of lift {step.lift} is {reading.state}, not agreed{who_waits}",
            against="the slips" if reading.kg else "terms.weight.basis",
            pointer="/lift",
        )
    return lift


def _needs_note(claim: Claim) -> bool:
    moved = claim.moves.to is not None and (claim.moves.paise or claim.moves.kg)
    return claim.stage == "closed" and bool(moved) and claim.kind not in ("difference", "not_delivered")
