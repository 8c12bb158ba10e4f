"""docs/example-capability.md, followed to the letter in a copy of the repository: the capability answers and fits in."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"`([\w./]+\.\w+)`[^`\n]*:\n\n```\w*\n(.*?)```", re.DOTALL)
CATALOG = "functions/catalog.yaml"
MAP = "shared/kapas/privacy/data_map.json"
PLACES = "functions/retention_sweep/places.py"
SWEEP_README = "functions/retention_sweep/README.md"
CONTRACTS = ("catalog", "data_map", "retention")

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


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository, with all that the page adds to it."""
    for folder in ("docs", "functions", "local_cloud", "migrations", "shared", "tools", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    blocks = dict(BLOCK.findall((ROOT / "docs/example-capability.md").read_text()))
    assert len(blocks) == 9
    added = {
        CATALOG: lambda before, block: f"{before.rstrip()}\n\n{block}",
        MAP: lambda before, block: json.dumps(_with_table(json.loads(before), json.loads(block))),
        PLACES: lambda before, block: before.replace('    Swept("audit_log"),', f'{block}    Swept("audit_log"),'),
        SWEEP_README: lambda before, block: before.replace("| `table audit_log` |", f"{block}| `table audit_log` |"),
    }
    for name, block in blocks.items():
        if name in added:
            path = tmp_path / name
            path.write_text(added[name](path.read_text(), block))
            continue
        next_number = len(list((tmp_path / "migrations").glob("*.sql"))) + 1
        path = tmp_path / name.replace("NNNN", f"{next_number:04d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    return tmp_path


def _with_table(data_map: dict[str, dict[str, object]], table: dict[str, object]) -> dict[str, dict[str, object]]:
    return data_map | {"tables": data_map["tables"] | table}


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{copy / 'shared'}{os.pathsep}{copy}"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_the_page_says_works(copy: Path) -> None:
    result = run(copy, "-c", CALL)
    assert result.stdout.rstrip().endswith("the new capability answers"), result.stderr[-2000:]


def test_what_the_page_says_fits_in(copy: Path) -> None:
    assert run(copy, "-m", "tools.privacy_docs").returncode == 0
    files = [f"tests/contract/test_{name}.py" for name in CONTRACTS]
    # Its README and its locked requirements are left to the reader.
    result = run(copy, "-m", "pytest", "-q", "-k", "not has_the_same_files", *files)
    assert result.returncode == 0, result.stdout[-2000:]
