"""What is written about the system is current, and true where a test can tell."""

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from local_cloud.environment import Addresses, environment
from local_cloud.page import reference
from tools.catalog import ROOT, catalog
from tools.docs import __main__ as command
from tools.docs import output
from tools.docs.registry import EVENTS

CATALOG = catalog()
CAPABILITIES = sorted({function.capability for function in CATALOG.functions.values()})
HEADINGS = ("Trigger", "Contract", "Idempotency", "Failure behaviour", "Data", "Settings")
OF_EVERY_FUNCTION = {"FUNCTION", "PROJECT", "REGION", "METADATA_URL"}

each_capability = pytest.mark.parametrize("capability", CAPABILITIES)


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return json.loads((output.API / "openapi.json").read_text())


def readme(capability: str) -> str:
    path = ROOT / "functions" / capability / "README.md"
    assert path.exists(), f"functions/{capability} has no README.md, which is its contract"
    return path.read_text()


def test_the_generated_documents_are_current() -> None:
    stale = [str(path.relative_to(ROOT)) for path in output.stale(output.rendered())]
    assert not stale, f"run make docs: {', '.join(stale)}"


def test_generating_twice_gives_the_same() -> None:
    assert output.rendered() == output.rendered()


def test_nothing_is_left_of_what_no_longer_exists() -> None:
    assert {path for path in output.API.rglob("*") if path.is_file()} == output.api_files().keys()


def test_check_names_what_is_stale_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = output.API / "README.md"
    before = path.read_text()
    monkeypatch.setattr(command, "api_files", lambda: {path: "changed"})
    monkeypatch.setattr("sys.argv", ["docs", "--check"])
    assert command.main() == 1
    assert capsys.readouterr().out == "stale: docs/api/README.md\n"
    assert path.read_text() == before


def test_a_breaking_change_is_not_written_over_the_committed_schema(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "breaking", lambda: ["trade.offered.v1: /data/bales was removed"])
    monkeypatch.setattr(command, "event_files", lambda: pytest.fail("must not be asked for"))
    monkeypatch.setattr("sys.argv", ["docs"])
    assert command.main() == 1
    assert "trade.offered.v1" in capsys.readouterr().err


@each_capability
def test_a_readme_has_the_headings_of_all(capability: str) -> None:
    found = re.findall(r"^## (.+)$", readme(capability), re.MULTILINE)
    assert tuple(found) == HEADINGS


@each_capability
def test_a_readme_begins_with_what_the_capability_does(capability: str) -> None:
    title, introduction, heading, *_ = readme(capability).split("\n\n")
    assert title.startswith("# ")
    assert introduction.endswith(".")
    assert heading == "## Trigger"


@each_capability
def test_a_readme_names_every_function_and_trigger(capability: str) -> None:
    text = readme(capability)
    for name, function in CATALOG.functions.items():
        if function.capability != capability:
            continue
        trigger = function.trigger
        for named in (name, *trigger.routes, *trigger.topics, *function.publishes, *filter(None, [trigger.queue])):
            assert f"`{named}`" in text, f"functions/{capability}/README.md does not name `{named}`"


@each_capability
def test_a_readme_names_every_variable(capability: str) -> None:
    text = readme(capability)
    addresses = Addresses("http://127.0.0.1:8080", "127.0.0.1:8081", 5432)
    for name, function in CATALOG.functions.items():
        if function.capability == capability:
            for variable in environment(CATALOG, name, addresses).keys() - OF_EVERY_FUNCTION:
                assert f"`{variable}`" in text, f"functions/{capability}/README.md does not name `{variable}`"


@each_capability
def test_the_examples_of_a_readme_can_be_read(capability: str, openapi: dict[str, Any]) -> None:
    text = readme(capability)
    for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        json.loads(block)
    for event_type in re.findall(r"\b[a-z]+\.[a-z_]+\.v\d+\b", text):
        assert event_type in EVENTS
    for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/v1/[^\s`?]*)", text):
        assert method.lower() in openapi["paths"][path]


@each_capability
def test_a_readme_lists_every_endpoint(capability: str, openapi: dict[str, Any]) -> None:
    routes = {r for f in CATALOG.functions.values() if f.capability == capability for r in f.trigger.routes}
    for path, item in openapi["paths"].items():
        if "/".join(path.split("/", 3)[:3]) in routes:
            for method in item:
                assert f"{method.upper()} {path}" in readme(capability)


class Links(HTMLParser):
    """The identifiers of a page and the links to them; what it loads; that every element is closed."""

    VOID = frozenset({"meta"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: set[str] = set()
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.ids += [told["id"]] if "id" in told else []
        self.targets |= {told["href"]} if "href" in told else set()
        self.loaded += [tag] if tag in ("script", "link", "img", "iframe") or "src" in told else []
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_reference_page_shows_every_operation_event_and_field(openapi: dict[str, Any]) -> None:
    page = reference(openapi)
    links = Links(page)
    operations = [operation for item in openapi["paths"].values() for operation in item.values()]
    assert not links.open
    assert sorted(links.ids) == sorted([*(o["operationId"] for o in operations), *openapi["webhooks"], "problem"])
    assert links.targets == {f"#{name}" for name in links.ids} | {"#", "/openapi.json"}
    for field in ("lifted_kg", "what_happens_then", "expected_version", "Idempotency-Key", "secret"):
        assert field in page


def test_the_reference_page_loads_nothing(openapi: dict[str, Any]) -> None:
    page = reference(openapi)
    assert not Links(page).loaded
    assert "@import" not in page
    assert "url(" not in page


def test_the_reference_page_escapes_what_it_is_given(openapi: dict[str, Any]) -> None:
    hostile = "<script>alert(1)</script>"
    page = reference(openapi | {"info": {"title": hostile, "version": hostile, "description": hostile}})
    assert hostile not in page


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_test_that_is_named_as_evidence_is_there(path: Path) -> None:
    text = path.read_text()
    for file in re.findall(r"`(tests/[\w/]+(?:\.\w+)?)`", text):
        assert (ROOT / file).exists(), f"{path.relative_to(ROOT)} names {file}"
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in written_tests(), f"{path.relative_to(ROOT)} names {name}"
    for name in re.findall(r"mutant `(\w+)`", text):
        assert f"def {name}(" in written_tests(), f"{path.relative_to(ROOT)} names the mutant {name}"


@cache
def written_tests() -> str:
    return "".join(path.read_text() for path in sorted((ROOT / "tests").rglob("*.py")))
