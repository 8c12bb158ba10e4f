"""When a new revision stays and when it goes back; and that the measure is the one that people are woken by."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.catalog import ROOT
from tools.deliver.canary import STAGES, Change, Doing, Figures, Objective, Verdict, decide, walk
from tools.deliver.cloud_run import CloudRun
from tools.deliver.release import changes, hold

OBJECTIVE = Objective()
WELL = Figures(1000, 0, 120.0)
CHANGE = Change("trade-events", "trade-events-00001", "trade-events-00002")
COUNTS = st.integers(0, 10_000)


@pytest.mark.parametrize(
    ("before", "new", "verdict"),
    [
        (WELL, Figures(100, 0, 130.0), Verdict.ADVANCE),
        (WELL, Figures(100, 7, 130.0), Verdict.ADVANCE),
        (WELL, Figures(100, 8, 130.0), Verdict.ROLL_BACK),
        (WELL, Figures(4, 4, 130.0), Verdict.ROLL_BACK),
        (WELL, Figures(3, 3, 130.0), Verdict.WAIT),
        (WELL, Figures(49, 0, 130.0), Verdict.WAIT),
        (WELL, Figures(0, 0, 0.0), Verdict.WAIT),
        (Figures(1000, 300, 120.0), Figures(100, 30, 120.0), Verdict.WAIT),
        (WELL, Figures(100, 0, 420.0), Verdict.ADVANCE),
        (WELL, Figures(100, 0, 421.0), Verdict.ROLL_BACK),
        (Figures(1000, 0, 2000.0), Figures(100, 0, 2900.0), Verdict.ADVANCE),
        (Figures(10, 0, 1.0), Figures(100, 0, 5000.0), Verdict.ADVANCE),
    ],
)
def test_a_stage_waits_advances_or_rolls_back(before: Figures, new: Figures, verdict: Verdict) -> None:
    assert decide(before, new, OBJECTIVE) is verdict


@given(COUNTS, COUNTS, st.floats(0, 10_000))
def test_never_back_without_a_failure_or_being_slow(requests: int, before: int, p95: float) -> None:
    same = Figures(requests, 0, p95)
    assert decide(Figures(before, 0, p95), same, OBJECTIVE) is not Verdict.ROLL_BACK


@given(st.integers(4, 10_000), COUNTS)
def test_never_on_with_only_failures(requests: int, before: int) -> None:
    assert decide(Figures(before, 0, 10.0), Figures(requests, requests, 10.0), OBJECTIVE) is Verdict.ROLL_BACK


def test_the_measure_is_that_of_the_alerts() -> None:
    fast = re.search(r"fast\s*=\s*\{[^}]*rate = ([\d.]+)", (ROOT / "terraform/slos.tf").read_text())
    variable = r'variable "availability_goal" \{.*?default\s*=\s*([\d.]+)'
    goal = re.search(variable, (ROOT / "terraform/variables.tf").read_text(), re.DOTALL)
    assert fast
    assert goal
    assert (OBJECTIVE.burn_rate, OBJECTIVE.goal) == (float(fast[1]), float(goal[1]))


class World:
    """Two revisions, and what each look at the new one shows."""

    def __init__(self, *seen: Figures | Exception) -> None:
        self.splits: list[dict[str, int]] = []
        self.broken_at: int | None = None
        """From which share of the new revision on the system does not answer from outside."""
        self._seen: Iterator[Figures | Exception] = iter(seen)

    def doing(self) -> Doing:
        return Doing(self.split, self.look, self.ask, lambda: None, lambda line: None)

    def ask(self) -> list[str]:
        broken = self.broken_at is not None and self.new_share[-1] >= self.broken_at
        return ["GET /v1/trades as nobody: answered 500"] if broken else []

    def split(self, service: str, shares: Mapping[str, int]) -> None:
        self.splits.append(dict(shares))

    def look(self, change: Change) -> tuple[Figures, Figures]:
        seen = next(self._seen, Figures(100, 0, 100.0))
        if isinstance(seen, Exception):
            raise seen
        return WELL, seen

    @property
    def new_share(self) -> list[int]:
        return [shares.get(CHANGE.new, 0) for shares in self.splits]


def test_a_good_revision_takes_over_step_by_step() -> None:
    world = World()
    assert walk([CHANGE], OBJECTIVE, world.doing())
    assert world.new_share == list(STAGES)
    assert world.splits[-1] == {CHANGE.new: 100}


def test_a_bad_revision_goes_back_at_once() -> None:
    world = World(Figures(100, 0, 100.0), Figures(100, 50, 100.0))
    assert not walk([CHANGE], OBJECTIVE, world.doing())
    assert world.new_share == [5, 25, 0]
    assert world.splits[-1] == {CHANGE.before: 100}


def test_an_error_on_the_way_puts_back_what_served() -> None:
    world = World(ConnectionError("Monitoring is away"))
    with pytest.raises(ConnectionError):
        walk([CHANGE], OBJECTIVE, world.doing())
    assert world.splits[-1] == {CHANGE.before: 100}


def test_too_few_calls_pass_only_if_none_failed() -> None:
    quiet = [Figures(1, 0, 10.0)] * 2 * len(STAGES)
    assert walk([CHANGE], OBJECTIVE, World(*quiet).doing(), looks=2)
    assert not walk([CHANGE], OBJECTIVE, World(Figures(1, 1, 10.0), Figures(2, 1, 10.0)).doing(), looks=2)


@pytest.mark.parametrize("share", STAGES)
def test_a_revision_that_nobody_calls_goes_back_if_it_does_not_answer_from_outside(share: int) -> None:
    world = World(*[Figures(0, 0, 0.0)] * 2 * len(STAGES))
    world.broken_at = share
    assert not walk([CHANGE], OBJECTIVE, world.doing(), looks=2)
    assert max(world.new_share) == share
    assert world.splits[-1] == {CHANGE.before: 100}


class RestApi:
    """Cloud Run's and Monitoring's answers for one service with two revisions, the `latest` of which is the newest."""

    def __init__(self) -> None:
        self.latest = CHANGE.new
        self.traffic: list[dict[str, Any]] = [{"percent": 100, "revision": CHANGE.before}]
        self.asked: list[str] = []

    def __call__(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        self.asked.append(f"{method} {url}")
        service = {
            "name": f"projects/p/locations/r/services/{CHANGE.service}",
            "latestReadyRevision": f"projects/p/locations/r/services/{CHANGE.service}/revisions/{self.latest}",
            "trafficStatuses": self.traffic,
        }
        if "timeSeries" in url:
            return {"timeSeries": list(self._series("request_count" in url))}
        if method == "PATCH":
            assert body is not None
            self.traffic = [{"percent": t["percent"], "revision": t["revision"]} for t in body["traffic"]]
        return {"services": [service]} if url.endswith("/services") else service

    def _series(self, counts: bool) -> Iterator[dict[str, Any]]:
        for revision in (CHANGE.before, CHANGE.new):
            resource = {"labels": {"revision_name": revision}}
            if not counts:
                yield {"resource": resource, "metric": {}, "points": [{"value": {"doubleValue": 80.5}}]}
            for code, count in (("201", "90"), ("503", "4"), ("500", "2")) if counts else ():
                metric = {"labels": {"response_code": code}}
                yield {"resource": resource, "metric": metric, "points": [{"value": {"int64Value": count}}]}


def test_the_revisions_are_read_and_set_on_cloud_run() -> None:
    api = RestApi()
    run = CloudRun(api, "p", "r", pause=lambda: None)
    assert run.serving() == {CHANGE.service: CHANGE.before}
    assert run.newest(CHANGE.service) == CHANGE.new
    run.split(CHANGE.service, {CHANGE.new: 100})
    assert run.serving() == {CHANGE.service: CHANGE.new}


def test_calls_are_held_by_the_revision_that_serves_before_another_is_made() -> None:
    """A service that was never split has its calls with the latest revision, whichever that is."""
    api = RestApi()
    api.latest, api.traffic = CHANGE.before, [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}]
    run = CloudRun(api, "p", "r", pause=lambda: None)
    served = hold(run)
    api.latest = CHANGE.new
    assert run.serving() == served == {CHANGE.service: CHANGE.before}
    assert changes(run, served) == [CHANGE]


@pytest.mark.parametrize(("unavailable", "failures"), [(True, 6), (False, 2)])
def test_an_event_before_its_turn_is_no_failure(unavailable: bool, failures: int) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    run = CloudRun(RestApi(), "p", "r")
    _, new = run.figures(CHANGE, now - timedelta(minutes=5), now, unavailable_is_failure=unavailable)
    assert new == Figures(96, failures, 80.5)
