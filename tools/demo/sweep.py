"""Retention: what the sweep would delete in a year, and a year later what it deleted, night after night."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from kapas.values.clock import rfc3339
from tools.demo.day import Day
from tools.demo.screen import expect

AHEAD = timedelta(days=368)
"""So that what is kept for a year is due."""
LAST_NIGHTS = timedelta(days=2)
"""Of them the local cloud plays each; of a longer time some."""


def play(day: Day) -> None:
    day.screen.act("Retention")
    with day.screen.step("The protection officer runs the sweep dry, as of a year from now") as seen:
        officer = day.staff("dpo")
        now = datetime.fromisoformat(day.client.get("/_local/clock").body["now"])
        body = {"dry_run": True, "as_of": rfc3339(now + AHEAD)}
        sweep_id = officer.post("/v1/retention-sweeps", body, expect=201).body["id"]
        day.client.settle()
        dry = officer.get(f"/v1/retention-sweeps/{sweep_id}").body
        expect(dry["complete"], f"the sweep is {dry['status']}")
        planned = _deleted([dry])
        laws = {line["place"]: line["law"] for line in dry["lines"] if line["deleted"]}
        expect(bool(planned), "nothing would be deleted")
        seen += [f"{place}: {planned[place]} would go, kept until then by {law}" for place, law in laws.items()]
    with day.screen.step("A year passes, and the nightly sweep comes by schedule") as seen:
        for period in (AHEAD - LAST_NIGHTS, LAST_NIGHTS):
            day.advance(f"P{period.days}D")
        swept = day.staff("dpo").get("/v1/retention-sweeps?limit=100").body["data"]
        nightly = [one for one in swept if one["started_by"] == "schedule" and one["complete"]]
        gone = _deleted(nightly)
        for place, count in planned.items():
            expect(gone[place] >= count, f"{place}: {count} should be gone, {gone[place]} are")
        seen.append(f"{len(nightly)} sweeps; gone: " + ", ".join(f"{place} {gone[place]}" for place in planned))


def _deleted(sweeps: Iterable[dict[str, Any]]) -> Counter[str]:
    """Place -> records deleted there, where there were any."""
    counts = Counter[str]()
    for sweep in sweeps:
        for line in sweep["lines"]:
            counts[line["place"]] += line["deleted"]
    return +counts
