"""Every alert has its runbook and every runbook its alert; what the pages link to is there."""

import re
from pathlib import Path

import pytest

from tools.catalog import ROOT, catalog

PAGES = sorted((ROOT / "docs/operations").glob("*.md"))
RUNBOOK = re.compile(r"Runbook: docs/operations/(\w+\.md)#(.*)\"")


def alerts() -> set[str]:
    """The anchors that the alert policies of Terraform send people to."""
    found: set[str] = set()
    alerts_tf = (ROOT / "terraform/alerts.tf").read_text()
    thresholds = alerts_tf[alerts_tf.index("thresholds = merge(") : alerts_tf.index('"not-run-${name}"')]
    for name in ("alerts.tf", "slos.tf"):
        for page, anchor in RUNBOOK.findall((ROOT / "terraform" / name).read_text()):
            assert page == "alerts.md"
            found |= (
                {"not-run", *re.findall(r"^      ([a-z-]+) = \{", thresholds, re.MULTILINE)}
                if "${" in anchor
                else {anchor}
            )
    return found


def policies() -> int:
    return sum(
        (ROOT / "terraform" / name).read_text().count('"google_monitoring_alert_policy"')
        for name in ("alerts.tf", "slos.tf")
    )


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    text = (ROOT / "docs/operations/alerts.md").read_text()
    assert set(re.findall(r"^## (.+)$", text, re.MULTILINE)) == alerts()
    assert len(alerts()) >= 9


def test_every_alert_policy_names_a_runbook() -> None:
    texts = "".join((ROOT / "terraform" / name).read_text() for name in ("alerts.tf", "slos.tf"))
    assert len(RUNBOOK.findall(texts)) == policies()


def test_every_runbook_says_what_is_wrong_where_to_look_and_what_to_do() -> None:
    text = (ROOT / "docs/operations/alerts.md").read_text()
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        for part in ("**Means.**", "**Look.**", "**Do.**"):
            assert part in section, section.splitlines()[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/operations/README.md").read_text()
    for page in PAGES:
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def test_every_target_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)", page.read_text()):
            assert target in targets, f"{page.name}: make {target}"


def test_every_command_of_python_runs_as_it_is_written() -> None:
    """By a target of make, or with the interpreter of the environment: a bare one has none of the packages."""
    documents = [ROOT / "docs/privacy.md", ROOT / "terraform/README.md", *PAGES, *ROOT.glob("functions/*/README.md")]
    for page in documents:
        for before in re.findall(r"(\S*)python -m tools\.", page.read_text()):
            # What a build runs by `_COMMAND`, it runs where the packages are.
            assert before.endswith((".venv/bin/", "_COMMAND=")), page


def test_every_scheduled_function_is_in_the_runbook_of_what_has_not_run() -> None:
    text = (ROOT / "docs/operations/alerts.md").read_text()
    section = text[text.index("## not-run") :]
    for name, function in catalog().functions.items():
        if function.trigger.kind == "schedule":
            assert f"`{name}`" in section, name
