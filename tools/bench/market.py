"""A market to trade on: partners, open lots, and the tokens of those who bid."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from pg8000.native import Connection

from functions.trade_events.schemas import Lot
from functions.trade_events.step_schemas import FibreQuality
from kapas.schemas.common import UnitPrice, Weight
from kapas.values import ids
from local_cloud.environment import DATABASE, TOKEN_AUDIENCE, TOKEN_ISSUER
from local_cloud.oidc import Issuer
from tools.bench.load import request

BIDDERS = 20
"""Several, so that a connection changes between partners, as it does behind a load balancer."""

ASK = UnitPrice(paise=6_150_000, unit="candy_trade")

_LOT = Lot(
    variety="Shankar-6",
    crop_year="2026-27",
    station="Rajkot",
    bales=100,
    net_weight=Weight(value=Decimal(100), unit="bale", kg_per_unit=Decimal("168.35")),
    quality=FibreQuality(
        micronaire=Decimal("3.9"),
        strength_g_tex=Decimal("29.5"),
        upper_half_mean_length_in=Decimal("1.13"),
        uniformity_index_pct=Decimal("82.1"),
    ),
)

_PARTNERS = """INSERT INTO partners (id, version, status, type, constitution, submission, clarifications, legal_name, contact,
    created_at, updated_at)
  SELECT id, 1, 'active', 'trader', 'partnership', 1, '[]', ''::bytea, ''::bytea, :at, :at
  FROM unnest(:ids::uuid[]) AS id"""

_TRADES = """INSERT INTO trades (id, version, status, seller_id, lot, ask_paise, price_unit, created_at, updated_at)
  SELECT id, 1, 'OFFERED', :seller_id, :lot, :ask_paise, :price_unit, :at, :at FROM unnest(:ids::uuid[]) AS id"""


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
        connection.run(
            _TRADES,
            ids=list(market.trade_ids),
            seller_id=market.seller_id,
            lot=_LOT.model_dump_json(),
            ask_paise=ASK.paise,
            price_unit=ASK.unit,
            at=at,
        )
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
    return {"event": {"type": "bid_placed", "expected_version": 1, "price": price.model_dump()}}


def offers(number: int, access_token: str) -> list[bytes]:
    """Offers of as many lots by the partner whom the token names, each with an idempotency key of its own."""
    body = {"lot": _LOT.model_dump(mode="json"), "ask": ASK.model_dump()}
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
            f"/v1/trades/{trade_id}/events",
            {
                "Authorization": f"Bearer {access_tokens[n % len(access_tokens)]}",
                "Idempotency-Key": str(ids.uuid7()),
            },
            bid(),
        )
        for n, trade_id in enumerate(trade_ids)
    ]
