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
    """Offer a lot. The new trade has the status OFFERED and version 1."""
    with app.session() as db:
        return app.commit(db, service.offer(db, app.caller, body), status=201)


@app.post("/v1/trades/<uuid:trade_id>/events", responses={201: Trade})
def append_event(path: TradePath, body: TradeEventAppend) -> Response:
    """Append a step to a trade. A decision must name the current version as `expected_version`; otherwise 409."""
    with app.session() as db:
        return app.commit(db, service.append(db, app.caller, path.trade_id, body), status=201)


@app.post("/v1/trades/<uuid:trade_id>/events:batch", responses={200: TradeEventBatchResult})
def sync_events(path: TradePath, body: TradeEventBatch) -> Response:
    """Append the steps that a device stored while it was offline, each on its own. A step recorded before is reported as
    `duplicate`, an invalid one as `refused`; neither blocks the others."""
    with app.session() as db, db.transaction():
        return app.commit(db, service.sync(db, app.caller, path.trade_id, body))


@app.get("/v1/trades/<uuid:trade_id>", responses={200: Trade})
def read_trade(path: TradePath) -> Response:
    """Return one trade: an open lot, or one of the caller's own."""
    with app.session() as db:
        trade = service.read(db, path.trade_id)
        return app.answer(trade, version=trade.version)


@app.get("/v1/trades", responses={200: TradePage})
def list_trades(query: TradeQuery) -> Response:
    """List open lots and the caller's own trades, newest first."""
    with app.session() as db:
        return app.answer(service.list_page(db, app.caller, query))


@app.get("/v1/trades/<uuid:trade_id>/events", responses={200: TradeEventPage})
def list_events(path: TradePath, query: TimelineQuery) -> Response:
    """List the steps of a trade, oldest first. A bidder sees only its own negotiation, even after the trade is matched."""
    with app.session() as db, db.snapshot():
        return app.answer(service.timeline(db, path.trade_id, query))


@app.get("/v1/trades/<uuid:trade_id>/settlement", responses={200: Settlement})
def read_settlement(path: TradePath) -> Response:
    """Return the settlement statement, line by line. It is provisional until the invoice."""
    with app.session() as db, db.snapshot():
        statement = service.settle(db, app.caller, path.trade_id)
        return app.answer(statement, version=statement.version)


@calls.entry_point
def trade_events(request: Request) -> Response:
    return app.serve(request)
