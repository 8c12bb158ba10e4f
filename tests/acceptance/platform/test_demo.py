"""`make demo`: it plays through, beside another one, leaves nothing, and says which step failed when one does."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from rich.console import Console

from local_cloud.client import Client
from tools.demo import cast, logs
from tools.demo.__main__ import main
from tools.demo.day import Day, Firm
from tools.demo.screen import Screen, StepFailed

ROOT = Path(__file__).resolve().parents[3]
SHOWN = (
    "held: The GST registry has a different name for this GSTIN",
    "notice in Gujarati: ai_processing granted",
    "not measured, because no image shows it: micronaire",
    "136 maunds at ₹1,540.00 for 20 kg, 2,720 kg",
    "liability of lift 1",
    "₹2,06,735.76  payable by the buyer",
    "/quality/table: none → MCX-2021-11",
    "account ending 0001",
    "lot L1, 50 bales: passed, lot L2, 50 bales: passed",
    "8,175 kg by the gin_average; invoice ₹14,86,073.48",
    "100 bales lifted, complete: yes",
    "₹29,69,420.22  payable by the buyer",
    "offered → negotiating → matched → contracted → in_delivery → completed",
    "33  trade.ended.v1",
    "trade.ended.v1 verified, webhook-id",
    "trade.ended.v1 verified, attempt",
    "told to stop: product-analytics",
    "signature, hashes and counts verified",
    "at least by Companies Act 2013: your gradings",
    "table webhook_messages:",
    "Done: 29 steps",
)


def test_it_plays_through_while_another_one_runs_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.demo"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    runs = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for run in runs:
        output, errors = run.communicate(timeout=300)
        assert run.returncode == 0, output + errors
        assert [fact for fact in SHOWN if fact not in output] == [], output
        assert errors == ""
    assert list(tmp_path.iterdir()) == []


def test_a_failed_step_ends_it_with_a_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cast.FIGURES, "micronaire", 42)
    assert main() == 1
    output = capsys.readouterr().out
    assert "✗ The ginner's lot is graded from a laboratory's figures: POST /v1/gradings answered 422" in output
    assert "/figures/micronaire" in output
    assert "Bales" not in output


@pytest.mark.parametrize("value", cast.personal())
def test_what_identifies_somebody_is_found_in_the_log(tmp_path: Path, value: str) -> None:
    log = tmp_path / "kapas.platform.log"
    client = Client("http://kapas.example.com")
    firms = [Firm(uuid4(), client, body) for body in (cast.GINNER, cast.MILL, cast.FARMER)]
    day = Day(Screen(Console(quiet=True)), client, tmp_path, *firms)
    log.write_text('{"message": "partner_registered"}\n')
    logs.play(day, log)
    log.write_text(f'{{"message": "registered {value}"}}\n')
    with pytest.raises(StepFailed, match="stand in the log"):
        logs.play(day, log)
