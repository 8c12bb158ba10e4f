"""A bundle holds what its capability imports and nothing else, so a change deploys what it changes."""

import json
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from tools.bundle import bundle, capabilities, entries
from tools.catalog import ROOT

CAPABILITIES = capabilities()

PROGRAM = """
import importlib, json, sys
import functions_framework

sys.path.insert(0, sys.argv[1])
modules = json.loads(sys.argv[2])
functions_framework.create_app(target=sys.argv[3], source=f"{sys.argv[1]}/main.py", signature_type="http")
for name in modules:
    importlib.import_module(name)
from_elsewhere = {
    name: module.__file__
    for name, module in sys.modules.items()
    if name.partition(".")[0] in ("kapas", "main") and module.__file__ and not module.__file__.startswith(sys.argv[1])
}
if "kapas.privacy.data_map" in sys.modules:
    assert len(sys.modules["kapas.privacy.data_map"].data_map().tables) > 30
print(json.dumps(from_elsewhere))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources that bundles are made of, to change."""
    root = tmp_path_factory.mktemp("sources")
    for folder in ("functions", "shared"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def changed(copy: Path, file: str) -> set[str]:
    """The capabilities whose bundle a new comment line in `file` changes."""
    before = {name: bundle(name, copy).content for name in CAPABILITIES}
    path = copy / file
    text = path.read_text()
    path.write_text(text + ("# a comment\n" if path.suffix == ".py" else "\n"))
    try:
        return {name for name in CAPABILITIES if bundle(name, copy).content != before[name]}
    finally:
        path.write_text(text)


@pytest.mark.parametrize("capability", ["audit_trail", "data_export"])  # make bundle-test starts every bundle
def test_every_module_of_a_bundle_imports_from_the_bundle_alone(capability: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(BytesIO(bundle(capability).content)) as archive:
        archive.extractall(tmp_path)
    shipped = [path.relative_to(tmp_path).with_suffix("") for path in sorted(tmp_path.rglob("kapas/**/*.py"))]
    modules = [".".join(path.parts).removesuffix(".__init__") for path in shipped]
    own = [f"main.{path.stem}" for path in sorted(tmp_path.glob("*.py")) if path.stem != "main"]
    target = (ROOT / "functions" / capability / "function.yaml").read_text().split("entry_point: ")[1].split()[0]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), json.dumps([*modules, *own]), target]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env={}, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert json.loads(run.stdout.splitlines()[-1]) == {}


@pytest.mark.parametrize(
    ("file", "capabilities"),
    [
        ("functions/trade_events/schemas.py", {"trade_events"}),
        ("functions/trade_events/event_models.py", {"trade_events"}),
        ("functions/trade_events/README.md", set()),
        ("functions/trade_events/data_map.json", {"data_export", "retention_sweep"}),
        ("shared/kapas/platform/gcp/pubsub.py", {"outbox_relay"}),
        ("shared/kapas/values/clock.py", set(CAPABILITIES)),
        ("shared/kapas/schemas/events/trade.offered.v1.json", {"webhook_delivery"}),
    ],
)
def test_a_change_deploys_what_it_changes(copy: Path, file: str, capabilities: set[str]) -> None:
    assert changed(copy, file) == capabilities


def test_a_module_of_kapas_is_shipped_where_it_is_imported_and_nowhere_else() -> None:
    shipping = {name for name in CAPABILITIES if "kapas/privacy/consents.py" in entries(name)}
    assert shipping == {"consent_updates", "grading_requests"}
