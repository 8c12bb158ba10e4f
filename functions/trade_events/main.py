"""Trade events over HTTP: offer a lot, bid, match, contract."""

from uuid import UUID

from flask import Request, Response

from kapas.api import App
from kapas.calls import entry_point
from kapas.db import Database
from kapas.db.connect import open_database
from kapas.once import once
from kapas.schemas.common import PageQuery
from kapas.schemas.common import Request as Model
from kapas.schemas.trades import LotOffer, Trade, TradeEventAppend, TradeEventPage, TradePage
from kapas.settings import ApiSettings, load

from . import service


@once
def settings() -> ApiSettings:
    return load(ApiSettings)


@once
def database() -> Database:
    return open_database(settings())


app = App("Trade events", settings=settings, database=database)


class TradePath(Model):
    trade_id: UUID


@app.post("/v1/trades", responses={201: Trade})
def offer_lot(body: LotOffer) -> Response:
    """Put a lot on the market. The trade begins as OFFERED, version 1."""
    with app.session() as db:
        return app.commit(db, service.offer(db, app.caller, body), status=201)


@app.post("/v1/trades/<uuid:trade_id>/events", responses={201: Trade})
def append_event(path: TradePath, body: TradeEventAppend) -> Response:
    """Take the next step of a trade. `expected_version` must be the version last read, else 409."""
    with app.session() as db:
        return app.commit(db, service.append(db, app.caller, path.trade_id, body.event), status=201)


@app.get("/v1/trades/<uuid:trade_id>", responses={200: Trade})
def read_trade(path: TradePath) -> Response:
    """One trade: an open lot, or one of the caller's own."""
    with app.session() as db:
        trade = service.read(db, path.trade_id)
        return app.answer(trade, version=trade.version)


@app.get("/v1/trades", responses={200: TradePage})
def list_trades(query: PageQuery) -> Response:
    """Open lots and the caller's own trades, newest first."""
    with app.session() as db:
        return app.answer(service.list_page(db, query))


@app.get("/v1/trades/<uuid:trade_id>/events", responses={200: TradeEventPage})
def list_events(path: TradePath) -> Response:
    """The steps of a trade, oldest first. Of an open lot a partner sees its own bids only."""
    with app.session() as db:
        return app.answer(service.timeline(db, path.trade_id))


@entry_point
def trade_events(request: Request) -> Response:
    return app.serve(request)
