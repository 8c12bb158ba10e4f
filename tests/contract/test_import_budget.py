"""A cold start pays for what is imported: each function keeps to its budget, and leaves the rest for its first use."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tools.catalog import ROOT, catalog

CATALOG = catalog()
TRIES = 3

PROGRAM = """
import sys, time

connected = []
sys.addaudithook(lambda event, _: connected.append(event) if event == "socket.connect" else None)

import functions_framework
functions_framework.create_app(target=sys.argv[1], source=sys.argv[2], signature_type="http")

import json, threading
spent = time.process_time() * 1000
print(json.dumps({
    "milliseconds": round(spent),
    "grpc": "grpc" in sys.modules,
    "connections": len(connected),
    "threads": [thread.name for thread in threading.enumerate()],
}))
"""


def import_entry_point(name: str) -> dict[str, Any]:
    """What importing a function costs and does in a fresh process, started as functions-framework starts."""
    function = CATALOG.functions[name]
    source = ROOT / "functions" / function.capability / "main.py"
    command = [sys.executable, "-c", PROGRAM, function.entry_point, str(source)]
    # An empty environment: nothing at import reads one, for main.py is imported before an instance is told anything.
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={})
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CATALOG.functions)
def test_an_import_keeps_to_its_budget(name: str, record_property: Any) -> None:
    function = CATALOG.functions[name]
    found = import_entry_point(name)
    for _ in range(TRIES - 1):  # the best counts: others use this machine too
        if found["milliseconds"] > function.import_budget_ms:
            found = import_entry_point(name)
    record_property("milliseconds", found["milliseconds"])
    print(f"{name}: {found['milliseconds']} of {function.import_budget_ms} ms")  # noqa: T201 - the figures, with pytest -s
    assert found["milliseconds"] <= function.import_budget_ms
    assert function.trigger.kind != "http" or not found["grpc"], "a function that serves clients does without grpc"
    assert found["connections"] == 0, "clients and pools are made on first use, after the fork"
    assert found["threads"] == ["MainThread"], "a thread made at import is dead after the fork"
