"""A market to trade on: partners, open lots, and the tokens of those who bid."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pg8000.native import Connection

from functions.trade_events.deal.decide import open_trade
from functions.trade_events.deal.fold import fold
from functions.trade_events.deal.parties import Actor, Parties, Party
from functions.trade_events.deal.steps import Offer
from functions.trade_events.deal.values import Price
from kapas.values import ids
from local_cloud.environment import DATABASE, TOKEN_AUDIENCE, TOKEN_ISSUER
from local_cloud.oidc import Issuer
from tools.bench.load import request

BIDDERS = 20
"""Several, so that a connection changes between partners, as it does behind a load balancer."""

ASK = Price(paise=6_150_000, unit="candy_trade")

_LOT: dict[str, Any] = {
    "kind": "bales",
    "variety": "Shankar-6",
    "crop_year": "2026-27",
    "station": "Rajkot",
    "quantity": {"bales": 100, "kg": "16835"},
    "figures": {"micronaire": "3.9", "strength_g_tex": "29.5", "staple_mm": "28.7"},
}

_PARTNERS = """INSERT INTO partners (id, version, status, type, constitution, submission, clarifications, legal_name, contact,
    state_code, gstin_state, created_at, updated_at)
  SELECT id, 1, 'active', 'trader', 'partnership', 1, '[]', ''::bytea, ''::bytea, '24', '24', :at, :at
  FROM unnest(:ids::uuid[]) AS id"""

_TRADES = """INSERT INTO trades (id, version, status, seller_id, broker_ids, template, kind, variety, crop_year, station,
    ask_paise, ask_unit, due_at, state, created_at, updated_at)
  SELECT id, 1, 'offered', :seller_id, '{}', :template, 'bales', :variety, :crop_year, :station, :ask_paise, :ask_unit,
    :due_at, jsonb_set(:state::jsonb, '{id}', to_jsonb(id)), :at, :at
  FROM unnest(:ids::uuid[]) AS id"""


@dataclass(frozen=True, slots=True)
class Market:
    """Active partners and lots at version 1, each of which a bidder has not bid for."""

    seller_id: UUID
    bidder_ids: tuple[UUID, ...]
    trade_ids: tuple[UUID, ...]


def prepare(postgres_port: int, trades: int) -> Market:
    """Write the market with SQL, as the database's owner: it is not what is measured."""
    market = Market(ids.uuid7(), tuple(ids.uuid7() for _ in range(BIDDERS)), tuple(ids.uuid7() for _ in range(trades)))
    at = datetime.now(UTC)
    with Connection("postgres", host="127.0.0.1", port=postgres_port, database=DATABASE) as connection:
        connection.run(_PARTNERS, ids=[market.seller_id, *market.bidder_ids], at=at)
        connection.run(_TRADES, ids=list(market.trade_ids), at=at, **_offered(market.seller_id, at))
        connection.run("VACUUM ANALYZE")
    return market


def tokens(issuer: Issuer, market: Market) -> list[str]:
    """An access token for each bidder."""
    return [
        issuer.user_token(
            f"bidder-{n}", str(partner_id), "member", "premium", issuer=TOKEN_ISSUER, audience=TOKEN_AUDIENCE
        )
        for n, partner_id in enumerate(market.bidder_ids)
    ]


def bid() -> dict[str, object]:
    """The body of the request that is measured: a bid for a lot at version 1."""
    price = ASK.model_copy(update={"paise": ASK.paise - 50_000})
    until = datetime.now(UTC) + timedelta(days=1)
    step = {"type": "bid", "expected_version": 1, "price": price.model_dump(), "valid_until": until.isoformat()}
    return {"step": step}


def offer(at: datetime) -> Offer:
    """An offer of the lot for a week."""
    return Offer.model_validate(
        {"lot": _LOT, "ask": ASK, "template": "ex_gin_passing", "valid_until": at + timedelta(days=7)}
    )


def offers(number: int, access_token: str) -> list[bytes]:
    """Offers of as many lots by the partner whom the token names, each with an idempotency key of its own."""
    body = offer(datetime.now(UTC)).model_dump(mode="json", exclude_none=True)
    return [
        request(
            "POST",
            "/v1/trades",
            {"Authorization": f"Bearer {access_token}", "Idempotency-Key": str(ids.uuid7())},
            body,
        )
        for _ in range(number)
    ]


def bids(trade_ids: Iterable[UUID], access_tokens: list[str]) -> list[bytes]:
    """One bid for each trade, of the bidders in turn, each with an idempotency key of its own."""
    return [
        request(
            "POST",
            f"/v1/trades/{trade_id}/steps",
            {
                "Authorization": f"Bearer {access_tokens[n % len(access_tokens)]}",
                "Idempotency-Key": str(ids.uuid7()),
            },
            bid(),
        )
        for n, trade_id in enumerate(trade_ids)
    ]


def _offered(seller_id: UUID, at: datetime) -> dict[str, Any]:
    """The columns of a trade that was just offered; `state` has the id of another."""
    seller = Party(id=seller_id, constitution="partnership", cultivates=False, state="24")
    actor = Actor(role="partner", partner_id=seller_id, side="seller")
    trade = fold(open_trade(ids.uuid7(), actor, offer(at), at, Parties(seller)))
    return {
        "seller_id": seller_id,
        "template": trade.terms.template,
        "variety": trade.lot.variety,
        "crop_year": trade.lot.crop_year,
        "station": trade.lot.station,
        "ask_paise": trade.ask.paise,
        "ask_unit": trade.ask.unit,
        "due_at": trade.valid_until,
        "state": trade.dump(),
    }
