"""Fold every trade of the database of `DATABASE_URL` again from its events (`python -m tools.verify_trades`).

Prints each trade whose stored row is not the fold of its events, and whose events have a gap; exits 1 if there is one.
The role of `DATABASE_URL` must be able to read `trades`, `trade_events` and `partners`, as `trade_events` is.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from uuid import UUID

from functions.trade_events import projection, store
from functions.trade_events.schemas import TradeQuery
from kapas.platform.db import PLATFORM, Session
from kapas.platform.settings import DatabaseSettings
from kapas.schemas.common import cursor
from tools.database import FAILURES, opened

PAGE = 100


def verify(db: Session) -> Iterator[tuple[UUID, str | None]]:
    """Each trade, newest first, and what is wrong with it, None if nothing is."""
    query = TradeQuery(limit=PAGE)
    while trades := store.page(db, query, PAGE, None):
        for trade in trades:
            try:
                folded = projection.fold(trade.id, store.events(db, trade.id))
            except (ValueError, KeyError) as error:
                yield trade.id, str(error)
                continue
            stored, made = trade.model_dump(), folded.model_dump()
            wrong = [name for name in stored if stored[name] != made[name]]
            yield trade.id, f"{', '.join(wrong)} not as the events make it" if wrong else None
        query = TradeQuery(limit=PAGE, after=cursor(trades[-1].id))


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Verify, and print what is wrong; the exit code."""
    whole = wrong = 0
    try:
        with (
            opened("verify-trades", environment, DatabaseSettings) as (_, database),
            database.session(PLATFORM) as db,
            db.transaction(),
        ):
            # One moment for all statements: a step that is taken meanwhile must not look like a fault.
            db.command("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            for trade_id, fault in verify(db):
                whole, wrong = (whole + 1, wrong) if fault is None else (whole, wrong + 1)
                if fault is not None:
                    print(f"trade {trade_id}: {fault}")
    except FAILURES as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return 2
    print(f"{whole} trades are the fold of their events, {wrong} are not")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
