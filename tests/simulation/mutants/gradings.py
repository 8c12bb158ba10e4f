"""Mistakes in gradings."""

from collections.abc import Iterator
from typing import Any

from tests.simulation.fleet import Functions
from tests.simulation.mutants import Patch, instead, mutant


@mutant(40, stories=("gradings",))
def grading_is_not_accounted_for(functions: Functions) -> Iterator[Patch]:
    """The day's counter goes up, and no row says by what."""
    yield functions.module("grading-requests").service.store, "_USE", "SELECT FROM change"


@mutant(200, "freeze", stories=("gradings",))
def budget_is_looked_at_first(functions: Functions) -> Iterator[Patch]:
    """Whether the day is spent is read first and relied on later: two look, and both are graded."""
    service = functions.module("grading-requests").service
    request, store = service.request, service.store

    def look(db: Any, files: Any, caller: Any, body: Any) -> Any:
        used = db.one("SELECT used FROM grading_budgets WHERE partner_id = :id", id=caller.partner_id)
        if used is not None and used[0] >= service.budget.DAILY[caller.tier]:
            raise service.not_charged(db, caller)
        return request(db, files, caller, body)

    yield store, "_CHARGE", instead(store._CHARGE, (" WHERE b.used < :daily", ""))
    yield service, "request", look
