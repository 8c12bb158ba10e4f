"""Use cases of trading: offer a lot, take a step, take what a device kept, read, settle. They decide; SQL writes."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from pydantic import ValidationError

from kapas.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, Problem, VersionConflict
from kapas.http.app import Outcome
from kapas.http.identity import Identity, Role
from kapas.messaging import outbox
from kapas.platform.db import PLATFORM, Session
from kapas.values import clock, ids

from . import partner_store, recording, store, views
from .deal import settlement
from .deal.agenda import overdue
from .deal.decide import decide, open_trade
from .deal.parties import Actor, Parties
from .deal.refusal import Refused
from .deal.steps import STEP, Accept, Counter, EndBid, Offer, RecordDocument, Step
from .deal.terms import tables, template, templates
from .deal.trade import Trade
from .recording import Recorded
from .schemas import (
    BatchError,
    BatchItem,
    BatchOutcome,
    BatchProblem,
    ClientReference,
    PossibleStep,
    Settlement,
    SettlementLine,
    SettlementPaper,
    StepBatch,
    StepBatchResult,
    StepRequest,
    TermsTemplate,
    TermsTemplates,
    Timeline,
    TimelineQuery,
    TradePage,
    TradeQuery,
    TradeView,
    Unpriced,
)
from .views import Viewer

T = TypeVar("T")
HIDDEN = "There is no such trade, or it is between others"

_PROBLEMS: dict[str, type[Problem]] = {
    "conflict": Conflict,
    "version": VersionConflict,
    "forbidden": Forbidden,
    "invalid": Invalid,
}
"""Code of a refusal -> the problem it is answered with."""


def offer(db: Session, caller: Identity, body: Offer) -> Outcome:
    """Put a lot on the market as the caller's partner.

    Raises:
        Forbidden: the caller may not act for a partner, or the partner is not registered.
        Conflict: the partner does not trade at present.
        Invalid: terms, crop year, time or sum cannot be.
    """
    seller_id = own_partner(caller)
    seller = partner_store.find(db, [seller_id]).get(seller_id)
    if seller is None or not seller.trades:
        raise Forbidden("The partner is not active, or is being erased")
    actor = Actor(role="partner", partner_id=seller_id, side="seller")
    if body.split_from is not None:
        _require_remainder(db, body.split_from, seller_id)
    try:
        events = open_trade(ids.uuid7(), actor, body, clock.now(), Parties(seller.party))
    except Refused as refused:
        raise _problem(refused, []) from None
    recorded = recording.record(None, events)
    return Outcome(recorded.change, views.view(recorded.trade, viewer(caller)), 1)


def take(db: Session, caller: Identity, trade_id: UUID, body: StepRequest, commit: Callable[[Outcome], T]) -> T:
    """The next step of a trade, written by `commit`; what that answers.

    A fact that another step came before is decided again, on a trade that nobody else changes meanwhile.

    Raises:
        NotFound: there is no such trade, or the caller may not see it (`Conflict` if it has bid for the lot).
        VersionConflict: the trade is not at `expected_version`.
        Conflict: a term or a fact stands against the step.
        Forbidden: it is another party's step.
        Invalid: it states something impossible.
    """
    try:
        return commit(_outcome(db, caller, find(db, caller, trade_id), body))
    except VersionConflict as conflict:
        if conflict.members:
            raise  # it was decided, and refused
        if not body.step.fact:
            raise _stale(db, caller, trade_id) from None
    with db.transaction():
        return commit(_outcome(db, caller, find(db, caller, trade_id, locked=True), body))


def sync(db: Session, caller: Identity, trade_id: UUID, batch: StepBatch) -> Outcome:
    """Take the steps that a device kept, in its order, each on its own: what cannot be taken holds up no other.

    To be called in the transaction that also keeps the answer: it locks the trade, so that the steps meet one state.

    Raises:
        NotFound: as for `take`; Forbidden: the caller acts for nobody.
    """
    found = _met(db, caller, find(db, caller, trade_id, locked=True))
    known = dict(store.recorded(db, trade_id, acting_partner(caller), batch.device_id))
    outcomes: list[BatchOutcome] = []
    for index, item in enumerate(batch.steps):
        if item.event_id in known:
            outcomes.append(BatchOutcome(event_id=item.event_id, outcome="duplicate", sequence=known[item.event_id]))
            continue
        client = ClientReference(device_id=batch.device_id, event_id=item.event_id)
        try:
            at = f"/steps/{index}/step"
            recorded = _decided(db, caller, found, _read_step(item, at), item.principal_id, client, at=at)
            with store.savepoint(db):
                outbox.commit(db, recorded.change)
        except (Conflict, VersionConflict, Forbidden, Invalid) as problem:
            refused = _batch_problem(problem)
            outcomes.append(BatchOutcome(event_id=item.event_id, outcome="refused", sequence=None, problem=refused))
            continue
        known[item.event_id] = found.trade.version + 1
        found = store.Found(recorded.trade, recorded.due_at, found.partners)
        outcomes.append(BatchOutcome(event_id=item.event_id, outcome="recorded", sequence=known[item.event_id]))
    result = StepBatchResult(outcomes=outcomes, trade=views.view(found.trade, viewer(caller)))
    return Outcome(store.unchanged(), result, found.trade.version)


def read(db: Session, caller: Identity, trade_id: UUID) -> TradeView:
    """One trade that the caller may see. Raises `NotFound` otherwise, `Conflict` for a bidder that did not get the lot."""
    return views.view(find(db, caller, trade_id).trade, viewer(caller))


def list_page(db: Session, caller: Identity, query: TradeQuery) -> TradePage:
    """Trades that the session may see and that fit the query, newest first."""
    return TradePage.of(store.page(db, query, query.limit + 1, caller.partner_id), query.limit)


def timeline(db: Session, trade_id: UUID, query: TimelineQuery) -> Timeline:
    """The events of a trade that the session may see, oldest first: of a lot that went to another, a bidder's own.

    Raises `NotFound` if the trade is hidden, and the caller has not bid.
    """
    events = store.timeline(db, trade_id, query.after, query.limit + 1)
    if not events and store.position(db, trade_id) is None and not store.timeline(db, trade_id, limit=1):
        raise NotFound(HIDDEN)
    more = len(events) > query.limit
    data = events[: query.limit]
    return Timeline(data=data, has_more=more, next=data[-1].sequence if more else None)


def settle(db: Session, caller: Identity, trade_id: UUID) -> Settlement:
    """The settlement as the facts stand, for the parties, their brokers and the platform's staff.

    Raises:
        NotFound: there is no such trade, or it is not the caller's.
        Conflict: there is no contract yet.
    """
    trade = find_own(db, caller, trade_id)
    if trade.contracted_at is None:
        raise Conflict("There is no contract yet: nothing is owed")
    statement = settlement.statement(trade)
    papers: dict[tuple[settlement.Paper, int | None], None] = {
        (line.paper, line.lift): None for line in statement.lines
    }
    return Settlement(
        trade_id=trade.id,
        version=trade.version,
        papers=[_paper(statement, paper, lift) for paper, lift in papers],
        payable_paise=statement.payable,
        unpriced=[Unpriced(lift=lift, name=name) for lift, name in statement.unpriced],
        rejected=[Unpriced(lift=lift, name=name) for lift, name in statement.rejected],
    )


def terms() -> TermsTemplates:
    """What contracts start from."""
    return TermsTemplates(
        templates=[TermsTemplate(name=name, terms=template(name)) for name in templates()],
        quality_tables=list(tables().values()),
    )


# Who calls


def viewer(caller: Identity) -> Viewer:
    if caller.role.of_partner:
        return Viewer(caller.partner_id)
    return Viewer(None, "inspector" if caller.role is Role.INSPECTOR else "operations")


def acting_partner(caller: Identity) -> UUID | None:
    """The partner that the caller acts for; None for staff that takes steps of its own."""
    return None if caller.role in (Role.INSPECTOR, Role.OPS) else own_partner(caller)


def own_partner(caller: Identity) -> UUID:
    if caller.partner_id is None or caller.role not in (Role.OWNER, Role.MEMBER):
        raise Forbidden("Only an owner or a member of a partner trades")
    return caller.partner_id


def find(db: Session, caller: Identity, trade_id: UUID, *, locked: bool = False) -> store.Found:
    """A trade that the caller may see. Raises `NotFound` otherwise, `Conflict` for a bidder that did not get the lot."""
    if locked and store.lock(db, trade_id) is None:
        raise _missing(db, trade_id)
    found = store.find(db, trade_id, caller.partner_id)
    if found is None:
        raise _missing(db, trade_id)
    return found


def find_own(db: Session, caller: Identity, trade_id: UUID) -> Trade:
    """A trade that the caller is a party or a broker of, or that is the platform's staff's to see. Raises `NotFound`."""
    trade = find(db, caller, trade_id).trade
    own = viewer(caller)
    if own.staff is None and not own.principals(trade) & {trade.seller_id, trade.buyer_id}:
        raise NotFound(HIDDEN)
    return trade


def _missing(db: Session, trade_id: UUID) -> Problem:
    if store.timeline(db, trade_id, limit=1):  # it has bid: of a hidden trade that is all that a session may see
        return Conflict("The lot is no longer on the market, and did not become the caller's")
    return NotFound(HIDDEN)


def _actor(caller: Identity, trade: Trade, principal_id: UUID | None, step: Step) -> Actor:
    """Who takes the step, for which side. Raises `Forbidden`, and `Invalid` if a broker has to say for whom."""
    partner_id = acting_partner(caller)
    if partner_id is None:
        return Actor(role="inspector" if caller.role is Role.INSPECTOR else "operations")
    mandates = [mandate for mandate in trade.mandates if mandate.broker_id == partner_id]
    side = trade.side_of(partner_id)
    if principal_id is None and side is None and mandates:
        if isinstance(step, RecordDocument):
            return Actor(role="broker", partner_id=partner_id)
        if len(mandates) > 1:
            message = "The broker has several mandates here: say for whom"
            raise Invalid(message, errors=[FieldError("/principal_id", "missing", message)])
        principal_id = mandates[0].principal_id
    if principal_id is None or principal_id == partner_id:
        return Actor(role="partner", partner_id=partner_id, side=side or "buyer")
    return Actor(
        role="broker",
        partner_id=partner_id,
        principal_id=principal_id,
        side="seller" if principal_id == trade.seller_id else "buyer",
    )


# What is decided


def _outcome(db: Session, caller: Identity, found: store.Found, body: StepRequest) -> Outcome:
    met = _met(db, caller, found)
    recorded = _decided(db, caller, met, body.step, body.principal_id, body.client, at="/step")
    return Outcome(recorded.change, views.view(recorded.trade, viewer(caller)), recorded.trade.version)


def _met(db: Session, caller: Identity, found: store.Found) -> store.Found:
    """The trade after the deadlines that have passed and whose task has not come yet: no step is taken before them."""
    if found.due_at is None or found.due_at > clock.now():
        return found
    recorded = recording.record(found.trade, overdue(found.trade, clock.now()))
    db.show(PLATFORM)  # a lot that expires is hidden from who bid for it
    try:
        outbox.commit(db, recorded.change)
    finally:
        db.show(caller.partner_id if caller.role.of_partner else PLATFORM)
    return store.Found(recorded.trade, recorded.due_at, found.partners)


def _stale(db: Session, caller: Identity, trade_id: UUID) -> VersionConflict:
    """What to answer a decision that somebody else's step came before: what is possible now, and the version."""
    trade = find(db, caller, trade_id).trade
    members = _members(views.open_to(trade, viewer(caller)), f"version {trade.version}", trade.version)
    return VersionConflict(f"The trade is at version {trade.version} by now: read it again", members=members)


def _decided(
    db: Session,
    caller: Identity,
    found: store.Found,
    step: Step,
    principal_id: UUID | None,
    client: ClientReference | None,
    *,
    at: str,
) -> Recorded:
    trade, actor = found.trade, _actor(caller, found.trade, principal_id, step)
    parties = _parties(db, found, actor, step)
    try:
        events = decide(trade, actor, step, clock.now(), parties)
    except Refused as refused:
        raise _problem(refused, views.open_to(trade, viewer(caller)), at) from None
    return recording.record(trade, events, client)


def _parties(db: Session, found: store.Found, actor: Actor, step: Step) -> Parties:
    """Both sides as registered; before the match the bidder whose step it is, or whose word is answered."""
    trade, known = found.trade, dict(found.partners)
    buyer_id = trade.buyer_id
    if trade.match is None:
        buyer_id = actor.party_id if actor.side == "buyer" else _answered(trade, step)
    missing = {trade.seller_id, *([buyer_id] if buyer_id else [])} - known.keys()
    if missing:
        known |= partner_store.find(db, missing)
    seller, buyer = known.get(trade.seller_id), known.get(buyer_id) if buyer_id else None
    if seller is None or (buyer is None and buyer_id is not None):
        raise Forbidden("The partner is not registered")
    return Parties(seller.party, None if buyer is None else buyer.party)


def _answered(trade: Trade, step: Step) -> UUID | None:
    """The bidder whose word the seller answers."""
    if isinstance(step, Counter | Accept):
        return next((talk.bidder_id for talk in trade.talks if talk.sequence == step.to), None)
    return step.bidder_id if isinstance(step, EndBid) else None


def _require_remainder(db: Session, trade_id: UUID, seller_id: UUID) -> None:
    """Raises `Invalid` unless that trade is the seller's own, and a bid for a part left something of its lot."""
    found = store.find(db, trade_id, seller_id)
    if found is None or found.trade.seller_id != seller_id or not (found.trade.match and found.trade.match.remainder):
        message = "No trade of this seller with that id was matched for a part of its lot"
        raise Invalid(message, errors=[FieldError("/split_from", "invalid", message)])


def _read_step(item: BatchItem, at: str) -> Step:
    """Raises `Invalid` with a pointer to each fault."""
    try:
        return STEP.validate_python(item.step)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        located = [(tuple(fault["loc"]), fault["type"], fault["msg"]) for fault in faults]
        name = item.step.get("type")
        errors = [
            FieldError(at + "".join(f"/{part}" for part in loc if part != name), code, message)
            for loc, code, message in located
        ]
        raise Invalid("The step cannot be read", errors=errors) from None


def _problem(refused: Refused, possible: list[PossibleStep], at: str = "") -> Problem:
    errors = [] if refused.pointer is None else [FieldError(at + refused.pointer, refused.code, refused.message)]
    members = _members(possible, refused.against, refused.version)
    return _PROBLEMS[refused.code](refused.message, errors=errors, members=members)


def _members(possible: list[PossibleStep], against: str, version: int) -> dict[str, object]:
    steps = [step.model_dump() for step in possible]
    return {"against": against, "possible": steps, **({"version": version} if version else {})}


def _batch_problem(problem: Problem) -> BatchProblem:
    return BatchProblem(
        code=problem.code,
        detail=problem.detail,
        errors=[BatchError(pointer=e.pointer, code=e.code, message=e.message) for e in problem.errors],
        against=problem.members.get("against"),
        possible=problem.members.get("possible", []),
    )


def _paper(statement: settlement.Statement, paper: settlement.Paper, lift: int | None) -> SettlementPaper:
    lines = [line for line in statement.of(paper) if line.lift == lift]
    return SettlementPaper(
        paper=paper,
        lift=lift,
        lines=[
            SettlementLine(
                code=line.code, paise=line.paise, payer=line.payer, to=line.to, taxed=line.taxed, rule=line.rule
            )
            for line in lines
        ],
        total_paise=sum(line.paise for line in lines),
    )
