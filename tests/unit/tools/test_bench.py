"""The pure parts of the benches: statistics, the report, requests and the process tree."""

import json
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from functions.partner_onboarding.profile import identifiers
from functions.partner_onboarding.schemas import PartnerCreate
from tools.bench import sink
from tools.bench.create import registration
from tools.bench.load import LoadError, Outcome, drive, request
from tools.bench.quiet import TOLERATED, Usage, descendants
from tools.bench.report import Bound, Figure, show, write
from tools.bench.statistics import Sample, percentile, ratios


def figure(measured: tuple[float, ...], bound: Bound, *, others: float = 0.0) -> Figure:
    return Figure("x test", "something", "x", Sample(measured), bound, peer="a peer", others=others)


def test_a_sample_is_its_median_least_and_most() -> None:
    sample = Sample((5.0, 1.0, 9.0))
    assert (sample.median, sample.least, sample.most) == (5.0, 1.0, 9.0)
    with pytest.raises(ValueError, match="at least one"):
        Sample(())


def test_ratios_pair_the_rounds_and_do_not_compare_medians() -> None:
    assert ratios(Sample((10.0, 30.0)), Sample((5.0, 10.0))).values == (2.0, 3.0)
    with pytest.raises(ValueError, match="shorter"):
        ratios(Sample((1.0, 2.0)), Sample((1.0,)))


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(n) for n in range(200, 0, -1)]
    assert percentile(values, 50) == 100
    assert percentile(values, 99) == 198
    assert percentile(values, 100) == 200
    assert percentile([7.0], 1) == 7
    assert percentile([1.0, 2.0, 3.0], 50) == 2
    for values, percent in (([], 50), ([1.0], 0), ([1.0], 101)):
        with pytest.raises(ValueError, match="percent"):
            percentile(values, percent)


def test_a_bound_includes_its_value() -> None:
    assert Bound(1.0).reached(1.0)
    assert not Bound(1.0).reached(0.999)
    assert Bound(2.0, "at_most").reached(2.0)
    assert not Bound(2.0, "at_most").reached(2.001)
    assert str(Bound(1.0, aim=1.5)) == "≥ 1, aim 1.5"
    assert str(Bound(300.0, "at_most")) == "≤ 300"


def test_a_figure_is_judged_by_its_median() -> None:
    assert figure((0.5, 1.2, 1.1), Bound(1.0)).reached is True
    assert figure((0.5, 1.2, 0.9), Bound(1.0)).reached is False


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_a_disturbed_figure_is_neither_reached_nor_missed(ratio: float) -> None:
    assert figure((ratio,), Bound(1.0), others=TOLERATED + 0.01).reached is None
    assert figure((ratio,), Bound(1.0), others=TOLERATED).reached is (ratio > 1)


def test_the_report_names_what_was_missed_and_what_was_disturbed() -> None:
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115 - lives as long as the console
    figures = [figure((0.5,), Bound(1.0)), figure((2.0,), Bound(1.0)), figure((2.0,), Bound(1.0), others=1.5)]
    show(figures, console)
    text = console.export_text()
    assert text.count("MISSED") == 1
    assert text.count("DISTURBED") == 1
    assert "others used 1.5 cores" in text
    assert "undecided" in text


def test_the_written_report_has_what_a_reader_needs(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    write([figure((1.0, 3.0, 2.0), Bound(1.0, aim=1.5))], path, datetime(2026, 11, 24, tzinfo=UTC))
    written = json.loads(path.read_text())
    assert written["at"] == "2026-11-24T00:00:00+00:00"
    assert written["machine"]["cpus"] >= 1
    (entry,) = written["figures"]
    assert (entry["figure"], entry["peer"], entry["ratio"]) == ("x test", "a peer", 2.0)
    assert entry["rounds"] == [1.0, 3.0, 2.0]
    assert (entry["median"], entry["min"], entry["max"], entry["floor"]) == (2.0, 1.0, 3.0, 1.0)
    assert entry["reached"] is True
    assert entry["disturbed"] is False


def test_a_figure_with_a_ceiling_says_so(tmp_path: Path) -> None:
    write([figure((1.0,), Bound(2.0, "at_most"))], tmp_path / "bench.json", datetime(2026, 11, 24, tzinfo=UTC))
    (entry,) = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert entry["ceiling"] == 2.0
    assert "floor" not in entry


def test_a_request_is_complete_http() -> None:
    head, _, body = request("POST", "/v1/trades", {"Idempotency-Key": "k"}, {"a": 1}).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/trades HTTP/1.1"
    assert {b"Content-Length: 7", b"Content-Type: application/json", b"Idempotency-Key: k"} <= set(lines)
    assert body == b'{"a":1}'
    assert request("GET", "/").endswith(b"Content-Length: 0\r\n\r\n")


def test_an_outcome_with_another_status_is_no_measurement() -> None:
    outcome = Outcome(2.0, {201: 3, 409: 1}, (0.1, 0.2, 0.3, 0.4))
    assert outcome.rate == 2.0
    with pytest.raises(LoadError, match="409"):
        outcome.require(201)
    good = Outcome(1.0, {201: 1}, (0.1,))
    assert good.require(201) is good


def test_others_are_cores_on_average() -> None:
    usage = Usage()
    assert usage.cores == 0
    usage.add(Usage(wall=2.0, own=1.0, others=1.0))
    usage.add(Usage(wall=2.0, own=1.0, others=3.0))
    assert usage.cores == 1.0


def test_descendants_are_found_at_any_depth_and_nobody_else() -> None:
    assert descendants(1, {1: 0, 2: 1, 3: 2, 4: 3, 5: 0, 6: 5}) == {1, 2, 3, 4}


@pytest.mark.parametrize(("others", "verdict", "passes"), [(0.0, "reported", True), (1.0, "undecided", False)])
def test_a_figure_without_a_bound_is_reported(tmp_path: Path, others: float, verdict: str, passes: bool) -> None:
    reported = Figure("x test", "something", "x", Sample((0.1,)), None, peer="a peer", others=others)
    assert reported.reached is None
    assert verdict in reported.verdict
    assert reported.passes is passes
    write([reported], tmp_path / "bench.json", datetime(2026, 11, 24, tzinfo=UTC))
    (entry,) = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert "floor" not in entry
    assert "ceiling" not in entry
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115 - lives as long as the console
    show([reported], console)
    assert verdict in console.export_text()


@pytest.mark.parametrize(("ratio", "passes"), [(0.5, False), (2.0, True)])
def test_a_run_passes_when_nothing_is_missed(ratio: float, passes: bool) -> None:
    assert figure((ratio,), Bound(1.0)).passes is passes
    assert figure((2.0,), Bound(1.0), others=1.0).passes is False


def test_the_sink_answers_at_once_and_keeps_when_what_came() -> None:
    with sink.running() as running:
        posts = [request("POST", "/", {"webhook-id": name}, {"n": 1}) for name in ("one", "two", "one")]
        before = time.time()
        drive(running.port, posts, 2).require(204)
        assert running.count() == 3
        arrived = running.arrivals()
        assert arrived.keys() == {"one", "two"}
        assert all(before - 1 < at <= time.time() for at in arrived.values())
        assert running.count() == 0


def test_the_sink_never_answers_where_it_hangs() -> None:
    with sink.running() as running, socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.settimeout(0.3)
        connection.sendall(request("POST", f"{sink.HANG}/1", {"webhook-id": "one"}, {"n": 1}))
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert running.count() == 0


def test_registrations_are_valid_and_of_partners_of_their_own() -> None:
    made = [PartnerCreate.model_validate(registration(number)) for number in range(1, 3000, 7)]
    assert all(identifiers.faults(one) == [] for one in made)
    for taken in (
        lambda one: one.identifiers.pan,
        lambda one: one.identifiers.gstin,
        lambda one: one.bank_account.number,
    ):
        assert len({taken(one) for one in made}) == len(made)
