"""What is written about the system is current, and true where a test can tell."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kapas.schemas.events import EVENTS
from tools.catalog import ROOT, catalog
from tools.docs import output
from tools.docs.openapi import document
from tools.local.environment import Addresses, environment
from tools.local.page import reference

CATALOG = catalog()
CAPABILITIES = sorted({function.capability for function in CATALOG.functions.values()})
HEADINGS = ("Trigger", "Contract", "Idempotency", "Failure behaviour", "Data", "Settings")
COMMON = {"FUNCTION", "PROJECT", "REGION", "METADATA_URL"}

each_capability = pytest.mark.parametrize("capability", CAPABILITIES)


def readme(capability: str) -> str:
    path = ROOT / "functions" / capability / "README.md"
    assert path.exists(), f"functions/{capability} has no README.md, its contract"
    return path.read_text()


def test_the_generated_documents_are_current() -> None:
    stale = [str(path.relative_to(ROOT)) for path in output.stale(output.rendered())]
    assert not stale, f"run make docs: {', '.join(stale)}"


def test_generating_twice_gives_the_same() -> None:
    assert output.rendered() == output.rendered()


def test_no_document_is_left_of_what_no_longer_exists() -> None:
    assert {path for path in output.API.rglob("*") if path.is_file()} == output.rendered().keys()
