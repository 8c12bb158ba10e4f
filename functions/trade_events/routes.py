"""HTTP: trades, their steps and their settlement."""

from uuid import UUID

from flask import Request, Response

from kapas.http import calls
from kapas.http.app import App
from kapas.http.function import Function
from kapas.platform.settings import (
    ApiSettings,
)
from kapas.schemas.common import Request as Model

from . import service
from .schemas import (
    LotOffer,
    Settlement,
    TimelineQuery,
    Trade,
    TradeEventBatchResult,
    TradeEventPage,
    TradePage,
    TradeQuery,
)
from .step_schemas import TradeEventAppend, TradeEventBatch

function = Function(ApiSettings)
app = App("Trade events", function)


class TradePath(Model):
    trade_id: UUID


@app.post("/v1/trades", responses={201: Trade})
def offer_lot(body: LotOffer) -> Response:
    """Put a lot on the market. The trade begins as OFFERED, version 1."""
    with app.session() as db:
        return app.commit(db, service.offer(db, app.caller, body), status=201)


@app.post("/v1/trades/<uuid:trade_id>/events", responses={201: Trade})
def append_event(path: TradePath, body: TradeEventAppend) -> Response:
    """Take the next step of a trade. A decision names the version last read as `expected_version`, else 409."""
    with app.session() as db:
        return app.commit(db, service.append(db, app.caller, path.trade_id, body), status=201)


@app.post("/v1/trades/<uuid:trade_id>/events:batch", responses={200: TradeEventBatchResult})
def sync_events(path: TradePath, body: TradeEventBatch) -> Response:
    """Take the steps that a device kept while it was offline, each on its own. What was recorded before is told as
    a duplicate, what cannot be taken as refused, and neither holds up the others."""
    with app.session() as db, db.transaction():
        return app.commit(db, service.sync(db, app.caller, path.trade_id, body))


@app.get("/v1/trades/<uuid:trade_id>", responses={200: Trade})
def read_trade(path: TradePath) -> Response:
    """One trade: an open lot, or one of the caller's own."""
    with app.session() as db:
        trade = service.read(db, path.trade_id)
        return app.answer(trade, version=trade.version)


@app.get("/v1/trades", responses={200: TradePage})
def list_trades(query: TradeQuery) -> Response:
    """Open lots and the caller's own trades, newest first."""
    with app.session() as db:
        return app.answer(service.list_page(db, app.caller, query))


@app.get("/v1/trades/<uuid:trade_id>/events", responses={200: TradeEventPage})
def list_events(path: TradePath, query: TimelineQuery) -> Response:
    """The steps of a trade, oldest first. Of the negotiations a bidder sees its own only, whoever got the lot."""
    with app.session() as db:
        return app.answer(service.timeline(db, path.trade_id, query))


@app.get("/v1/trades/<uuid:trade_id>/settlement", responses={200: Settlement})
def read_settlement(path: TradePath) -> Response:
    """What the buyer owes the seller, line by line; provisional until it is invoiced."""
    with app.session() as db:
        statement = service.settle(db, app.caller, path.trade_id)
        return app.answer(statement, version=statement.version)


@calls.entry_point
def trade_events(request: Request) -> Response:
    return app.serve(request)
