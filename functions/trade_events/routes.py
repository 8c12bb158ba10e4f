"""HTTP: trades, their steps, their settlement, and who the other side is."""

from uuid import UUID

from flask import Request, Response

from kapas.http import calls
from kapas.http.app import App
from kapas.http.function import Function
from kapas.platform.settings import (
    ApiSettings,
    KeySettings,
)
from kapas.schemas.common import Request as Model

from . import counterparties, service
from .deal.steps import Offer
from .schemas import (
    Counterparties,
    Settlement,
    StepBatch,
    StepBatchResult,
    StepRequest,
    TermsTemplates,
    Timeline,
    TimelineQuery,
    TradePage,
    TradeQuery,
    TradeView,
)

function = Function(ApiSettings, KeySettings)
app = App("Trade events", function)


class TradePath(Model):
    trade_id: UUID


@app.get("/v1/trade-terms", responses={200: TermsTemplates})
def read_terms() -> Response:
    """The templates that an offer's terms start from, and the quality tables that they may name."""
    return app.answer(service.terms())


@app.post("/v1/trades", responses={201: TradeView})
def offer_lot(body: Offer) -> Response:
    """Put a lot on the market: a template's terms, and what the offer says otherwise."""
    with app.session() as db:
        return app.commit(db, service.offer(db, app.caller, body), status=201)


@app.post("/v1/trades/<uuid:trade_id>/steps", responses={201: TradeView})
def take_step(path: TradePath, body: StepRequest) -> Response:
    """Take a step of a trade. A decision names the version last read as `expected_version`, else 409; a fact is recorded
    whatever else happened."""
    with app.session() as db:
        return service.take(db, app.caller, path.trade_id, body, lambda outcome: app.commit(db, outcome, status=201))


@app.post("/v1/trades/<uuid:trade_id>/steps:batch", responses={200: StepBatchResult})
def take_steps(path: TradePath, body: StepBatch) -> Response:
    """Take the steps that a device kept while it was offline, each on its own: it is recorded, a duplicate of one that was
    recorded before, or refused, and holds up no other."""
    with app.session() as db, db.transaction():
        return app.commit(db, service.sync(db, app.caller, path.trade_id, body))


@app.get("/v1/trades/<uuid:trade_id>", responses={200: TradeView})
def read_trade(path: TradePath) -> Response:
    """One trade: an open lot, or one that the caller is a party or a broker of."""
    with app.session() as db:
        trade = service.read(db, app.caller, path.trade_id)
        return app.answer(trade, version=trade.version)


@app.get("/v1/trades", responses={200: TradePage})
def list_trades(query: TradeQuery) -> Response:
    """Open lots and the caller's own trades, newest first."""
    with app.session() as db:
        return app.answer(service.list_page(db, app.caller, query))


@app.get("/v1/trades/<uuid:trade_id>/events", responses={200: Timeline})
def list_events(path: TradePath, query: TimelineQuery) -> Response:
    """The events of a trade, oldest first. Of the negotiations a bidder sees its own only, whoever got the lot."""
    with app.session() as db:
        return app.answer(service.timeline(db, path.trade_id, query))


@app.get("/v1/trades/<uuid:trade_id>/settlement", responses={200: Settlement})
def read_settlement(path: TradePath) -> Response:
    """What the contract makes of the facts so far, line by line, by the paper that states it."""
    with app.session() as db:
        statement = service.settle(db, app.caller, path.trade_id)
        return app.answer(statement, version=statement.version)


@app.get("/v1/trades/<uuid:trade_id>/parties", responses={200: Counterparties})
def read_parties(path: TradePath) -> Response:
    """Who the other side is, from the match on; for the buyer, from the contract on, the account to pay to. Each reading
    is written to the audit trail."""
    with app.session() as db:
        found = counterparties.read(db, function.keyring, app.caller, path.trade_id)
        app.publish(db, *counterparties.accesses(app.caller, found))
        return app.answer(found)


@calls.entry_point
def trade_events(request: Request) -> Response:
    return app.serve(request)
