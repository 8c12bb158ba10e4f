"""What is locked is what pyproject.toml asks for: versions and hashes, and nothing of where they came from."""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.contract.sources import imports, sources
from tools.catalog import ROOT
from tools.lock import APART, missing, pins, targets

GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)")
MISSING = missing()
FILES = {group: path for group, path in targets().items() if group not in MISSING}
DEPLOYED = {group: path for group, path in FILES.items() if path.is_relative_to(ROOT / "functions")}
HELD_BY_PEERS = {"python-dateutil"}
"""Versions that a peer of the benches pins."""

each_file = pytest.mark.parametrize(("group", "path"), FILES.items(), ids=FILES)


def required(group: str) -> Iterator[Requirement]:
    """The requirements of a dependency group, with those of the groups that it includes (PEP 735)."""
    for entry in GROUPS[group]:
        if isinstance(entry, str):
            yield Requirement(entry)
        else:
            yield from required(entry["include-group"])


def locked(path: Path) -> dict[str, tuple[str, int]]:
    """Distribution -> its version and how many hashes it has."""
    assert path.exists(), f"{path.relative_to(ROOT)} is missing: run make lock"
    found: dict[str, tuple[str, int]] = {}
    for block in re.split(r"\n(?=\S)", path.read_text()):
        if match := PINNED.match(block):
            found[canonicalize_name(match[1])] = (match[2], block.count("--hash=sha256:"))
    return found


def test_every_capability_has_a_dependency_group() -> None:
    assert not MISSING, (
        f"pyproject.toml has no dependency group {', '.join(MISSING)}: add one of that name, run make lock"
    )


@each_file
def test_every_requirement_is_locked_at_a_version_that_fits(group: str, path: Path) -> None:
    pins = locked(path)
    for requirement in required(group):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{requirement} is not locked: run make lock"
        version = pins[name][0]
        assert requirement.specifier.contains(Version(version)), (
            f"{requirement}, but {version} is locked: run make lock"
        )


@each_file
def test_every_lock_has_hashes_and_no_address(group: str, path: Path) -> None:
    for name, (_, hashes) in locked(path).items():
        assert hashes, f"{name} has no hash"
    text = path.read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_a_distribution_has_one_version_wherever_it_is_locked() -> None:
    """So what is tested is what is deployed, and siblings have the same."""
    tested: dict[str, tuple[str, str]] = {}
    for group, path in FILES.items():
        for name, lines in pins(path).items() if group not in APART else ():
            other, known = tested.setdefault(name, (group, lines))
            assert lines == known, f"{name} differs between {other} and {group}: run make lock"


def test_the_benches_run_what_is_tested() -> None:
    measured, tested = locked(FILES["bench"]), locked(FILES["dev"])
    different = {name for name in tested if measured[name] != tested[name]}
    assert different <= HELD_BY_PEERS, f"{', '.join(different - HELD_BY_PEERS)}: run make lock"


@pytest.mark.parametrize("capability", DEPLOYED)
def test_a_function_brings_what_it_imports(capability: str) -> None:
    pins = locked(DEPLOYED[capability])
    brought = packages_distributions()
    for source in sources(f"functions/{capability}"):
        for node, name in imports(source.tree):
            module = name.partition(".")[0]
            if module and module not in sys.stdlib_module_names and module != "kapas":
                distributions = {canonicalize_name(one) for one in brought.get(module, [])}
                assert distributions & pins.keys(), f"{source.at(node)}: {module} is not in its requirements.txt"
