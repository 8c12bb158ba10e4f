"""`make demo`: it plays through, beside another one, and says which step failed when one does."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import demo

ROOT = Path(__file__).resolve().parents[2]


def test_it_plays_through_while_another_one_runs() -> None:
    runs = [
        subprocess.Popen([sys.executable, "-m", "tools.demo"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for run in runs:
        output, _ = run.communicate(timeout=180)
        assert run.returncode == 0, output
        assert "trade.contracted.v1 verified" in output
        assert "Done: 10 steps" in output


def test_a_failed_step_ends_it_with_a_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(demo.BID, "unit", "quintal")
    assert demo.main() == 1
    output = capsys.readouterr().out
    assert "✗ The mill bids: POST /v1/trades/" in output
    assert "This lot is quoted per candy_trade" in output.replace("\n", " ")
