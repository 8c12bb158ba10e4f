"""Fold every trade of the database of `DATABASE_URL` again from its events (`python -m tools.verify_trades`).

Prints each trade whose stored row is not the fold of its events, and whose events have a gap; exits 1 if there is one.
The role of `DATABASE_URL` must be able to read `trades` and `trade_events`, as `trade_events` is.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from uuid import UUID

from functions.trade_events import store
from functions.trade_events.deal.fold import fold
from functions.trade_events.deal.trade import Trade
from kapas.platform.db import PLATFORM, Session
from kapas.platform.settings import DatabaseSettings
from tools.database import FAILURES, opened

PAGE = 100
_TRADES = "SELECT id, state::text, version, status FROM trades WHERE id > :last ORDER BY id LIMIT :limit"


def verify(db: Session) -> Iterator[tuple[UUID, str | None]]:
    """Each trade, in the order of ids, and what is wrong with it, None if nothing is."""
    last = UUID(int=0)
    while rows := db.run(_TRADES, last=last, limit=PAGE):
        for trade_id, state, version, status in rows:
            yield trade_id, _fault(db, trade_id, state, version, status)
        last = rows[-1][0]


def _fault(db: Session, trade_id: UUID, state: str, version: int, status: str) -> str | None:
    try:
        made, stored = fold(store.events(db, trade_id)), Trade.load(state)
    except (ValueError, KeyError) as error:
        return str(error)
    wrong = [field.name for field in fields(Trade) if getattr(stored, field.name) != getattr(made, field.name)]
    wrong += [
        name for name, kept in (("row version", version), ("row status", status)) if kept != getattr(made, name[4:])
    ]
    return f"{', '.join(wrong)} not as the events make it" if wrong else None


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
