"""docs/example-capability.md, followed to the letter in a copy of the repository: the new capability answers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"`([\w./]+)`[^`\n]*:\n\n```(?:yaml|sql|python)\n(.*?)```", re.DOTALL)

CALL = """
from tests.journey import active_partner
from tools.local.client import Client
from tools.local.cloud import LocalCloud

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
    for folder in ("functions", "shared", "tools", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_what_the_page_says_works(copy: Path) -> None:
    page = (ROOT / "docs/example-capability.md").read_text()
    blocks = dict(BLOCK.findall(page))
    assert len(blocks) == 6
    for name, content in blocks.items():
        if name == "functions/catalog.yaml":
            path = copy / name
            path.write_text(path.read_text().rstrip() + "\n\n" + content)
            continue
        next_number = len(list((copy / "shared/kapas/db/migrations").glob("*.sql"))) + 1
        path = copy / name.replace("NNNN", f"{next_number:04d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    environment = os.environ | {"PYTHONPATH": f"{copy / 'shared'}{os.pathsep}{copy}"}
    result = subprocess.run(
        [sys.executable, "-c", CALL],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout.rstrip().endswith("the new capability answers"), result.stderr[-2000:]
