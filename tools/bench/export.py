"""Figure j: the memory of an export of 200,000 rows, as its test measures it: the peak of a process of its own.

Others that are at work meanwhile make it slower, not larger: so it is never undecided.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from tools.bench.report import Bound, Figure
from tools.bench.statistics import Sample
from tools.catalog import ROOT

TEST = "tests/integration/data_export/test_exports.py::test_two_hundred_thousand_rows_are_exported_in_bounded_memory"
BOUND = Bound(150.0, "at_most")


def measure() -> list[Figure]:
    """Megabytes. Raises RuntimeError if the test did not pass for another reason than the memory it used."""
    with TemporaryDirectory(prefix="kapas-bench-") as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", TEST, f"--junit-xml={report}"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        measured = report.exists() and ElementTree.parse(report).find(".//property[@name='megabytes']")  # noqa: S314 - pytest's own
    if not isinstance(measured, ElementTree.Element):
        raise RuntimeError(f"the export was not measured: {run.stdout[-500:]}")
    return [
        Figure(
            name="j export memory",
            what="peak of a worker that exports 200,000 rows",
            unit="MB",
            measured=Sample((float(measured.attrib["value"]),)),
            bound=BOUND,
        )
    ]
