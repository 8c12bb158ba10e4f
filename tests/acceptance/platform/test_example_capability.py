"""docs/example-capability.md, followed to the letter in a copy of the repository: the capability answers and fits in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FENCE = re.compile(r"```\w*\n(.*?)```\n?", re.DOTALL)
FILE = re.compile(r"`((?:functions|migrations)/[\w./]+\.\w+|pyproject\.toml)`")
FOLDER, MIGRATION, GROUP = "functions/lot_notes", "migrations/NNNN_lot_notes.sql", "pyproject.toml"

CALL = """
from tests.journeys.partners import active_partner
from local_cloud.client import Client
from local_cloud.cloud import LocalCloud

with LocalCloud() as cloud:
    keeper, other = active_partner(Client(cloud.url)), active_partner(Client(cloud.url))
    made = keeper.owner.post("/v1/lot-notes", {"text": "good colour"}, expect=201).body
    assert keeper.owner.get("/v1/lot-notes").body["data"] == [made]
    assert other.owner.get("/v1/lot-notes").body["data"] == []
    keeper.owner.post("/v1/lot-notes", {"txet": "typo"}, expect=422)
print("the new capability answers")
"""


def steps() -> dict[str, str]:
    """File -> what the page says to write to it: each block, by the first file that the text before it names."""
    parts = FENCE.split((ROOT / "docs/example-capability.md").read_text())
    named = [FILE.search(text.rpartition("\n## ")[2] if "\n## " in text else text) for text in parts[0:-1:2]]
    assert all(named), "a block follows no file"
    return {match[1]: block for match, block in zip(named, parts[1::2], strict=True) if match}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository, with all that the page adds to it."""
    for folder in ("docs", "functions", "local_cloud", "migrations", "shared", "terraform", "tools", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, text in steps().items():
        if name == GROUP:
            path = tmp_path / name
            path.write_text(path.read_text().replace("\ndev = [", f"\n{text}\ndev = [", 1))
            continue
        number = len(list((tmp_path / "migrations").glob("*.sql"))) + 1
        path = tmp_path / name.replace("NNNN", f"{number:04d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    # What `make lock` writes without a new distribution: the requirements of a capability with the same group.
    shutil.copy(ROOT / "functions/audit_trail/requirements.txt", tmp_path / FOLDER)
    return tmp_path


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{copy / 'shared'}{os.pathsep}{copy}"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )


def test_it_touches_its_folder_one_migration_and_one_dependency_group() -> None:
    touched = {FOLDER if name.startswith(f"{FOLDER}/") else name for name in steps()}
    assert touched == {FOLDER, MIGRATION, GROUP}
    [group] = steps()[GROUP].splitlines()
    assert group.startswith("lot_notes = ")


def test_what_the_page_says_works(copy: Path) -> None:
    result = run(copy, "-c", CALL)
    assert result.stdout.rstrip().endswith("the new capability answers"), result.stderr[-2000:]


def test_what_the_page_says_fits_in(copy: Path) -> None:
    before = contents(copy)
    for command in ("tools.docs", "tools.privacy_docs", "tools.cost"):
        result = run(copy, "-m", command)
        assert result.returncode == 0, result.stderr
    changed = {path for path, content in contents(copy).items() if before.get(path) != content}
    assert changed, "the generated documents show the capability"
    assert all(path.startswith("docs/") for path in changed), changed
    names = (
        "catalog",
        "cost",
        "data_map",
        "docs",
        "event_schemas",
        "imports",
        "openapi",
        "retention",
        "settings",
        "sql",
    )
    passes(copy, *(f"tests/contract/test_{name}.py" for name in names))
    # The slow ones, for this capability.
    passes(
        copy,
        "-k",
        "lot_notes or lot-notes",
        *(f"tests/contract/test_{name}.py" for name in ("bundles", "import_budget")),
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def passes(copy: Path, *arguments: str) -> None:
    result = run(copy, "-m", "pytest", "-q", *arguments)
    assert result.returncode == 0, result.stdout[-2000:]
