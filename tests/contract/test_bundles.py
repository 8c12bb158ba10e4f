"""A bundle holds what its capability imports and nothing else, so a change deploys what it changes."""

import ast
import json
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from kapas.privacy.data_map import data_map
from tests.contract.sources import imports
from tools.bundle import CLIENTS, bundle, capabilities, entries
from tools.catalog import ROOT, catalog

CAPABILITIES = capabilities()

OTHER_CODE = {"functions", "tools", "local_cloud", "tests"}

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
mapped = repr(sys.modules["kapas.privacy.data_map"].data_map()) if "kapas.privacy.data_map" in sys.modules else ""
print(json.dumps([from_elsewhere, mapped]))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources that bundles are made of, to change."""
    root = tmp_path_factory.mktemp("sources")
    for folder in ("functions", "shared"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def before(copy: Path) -> dict[str, bytes]:
    """The bundles of the unchanged sources."""
    return {name: bundle(name, copy).content for name in CAPABILITIES}


def adapters_without_use(capability: str) -> list[str]:
    own = [function for function in catalog().functions.values() if function.capability == capability]
    return [adapter for adapter, uses in CLIENTS.items() if not any(uses(function) for function in own)]


@pytest.mark.parametrize(
    "capability", ["audit_trail", "data_export", "partner_onboarding"]
)  # make bundle-test starts every bundle
def test_every_module_of_a_bundle_imports_from_the_bundle_alone(capability: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(BytesIO(bundle(capability).content)) as archive:
        archive.extractall(tmp_path)
    shipped = [path.relative_to(tmp_path).with_suffix("") for path in sorted(tmp_path.rglob("kapas/**/*.py"))]
    modules = [".".join(path.parts).removesuffix(".__init__") for path in shipped]
    own_files = [path.relative_to(tmp_path).with_suffix("") for path in sorted(tmp_path.rglob("*.py"))]
    own_names = [".".join(path.parts).removesuffix(".__init__") for path in own_files if path.parts[0] != "kapas"]
    own = [f"main.{name}" for name in own_names if name != "main"]
    target = (ROOT / "functions" / capability / "function.yaml").read_text().split("entry_point: ")[1].split()[0]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), json.dumps([*modules, *own]), target]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env={}, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    from_elsewhere, mapped = json.loads(run.stdout.splitlines()[-1])
    assert from_elsewhere == {}
    # In the bundle the map is read from other files than here, and is the same.
    assert mapped == (repr(data_map()) if "kapas.privacy.data_map" in modules else "")


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_bundle_has_each_module_that_its_files_import(capability: str) -> None:
    """Imports within functions, too: an instance would fail at its first use of one."""
    shipped = {name: path for name, path in entries(capability).items() if name.endswith(".py")}
    unused = adapters_without_use(capability)
    for name, path in shipped.items():
        for node, imported in imports(ast.parse(path.read_text())):
            assert imported.partition(".")[0] not in OTHER_CODE, f"{name} imports {imported}"
            if imported.startswith((".", "kapas.")):
                file = file_of(imported, Path(name), ROOT / "shared", ROOT / "functions" / capability)
                assert file in shipped or file in unused, f"{name}:{getattr(node, 'lineno', 0)} imports {imported}"


def file_of(imported: str, importer: Path, *roots: Path) -> str:
    """The file in a bundle of what is imported: `kapas.values.clock` is a module, `kapas.values.clock.now` is in one."""
    relative = len(imported) - len(imported.lstrip("."))
    names = imported.lstrip(".").split(".")
    names = [*(importer.parts[:-relative] if relative else ()), *names]
    for length in (len(names), len(names) - 1):
        for file in (
            Path(*names[:length]).with_suffix(".py") if length else None,
            Path(*names[:length], "__init__.py"),
        ):
            if file and any((root / file).exists() for root in roots):
                return str(file)
    return f"no file of {imported}"


def test_an_adapter_that_no_function_of_a_capability_uses_is_left_out() -> None:
    assert "kapas/platform/gcp/pubsub.py" in entries("outbox_relay")
    assert "kapas/platform/gcp/pubsub.py" in adapters_without_use("audit_trail")
    assert not set(adapters_without_use("audit_trail")) & entries("audit_trail").keys()


@pytest.mark.parametrize(
    ("file", "capabilities"),
    [
        ("functions/trade_events/schemas.py", {"trade_events"}),
        ("functions/trade_events/event_models.py", {"trade_events"}),
        ("functions/trade_events/README.md", set()),
        ("functions/trade_events/function.yaml", set()),
        ("functions/live_feed/firestore.rules", set()),
        ("functions/trade_events/data_map.json", {"data_export", "retention_sweep"}),
        ("shared/kapas/platform/gcp/pubsub.py", {"outbox_relay"}),
        ("shared/kapas/values/clock.py", set(CAPABILITIES)),
        ("shared/kapas/schemas/events/trade.offered.v1.json", {"webhook_delivery"}),
    ],
)
def test_a_change_deploys_what_it_changes(
    copy: Path, before: dict[str, bytes], file: str, capabilities: set[str]
) -> None:
    path = copy / file
    text = path.read_text()
    path.write_text(text + ("# a comment\n" if path.suffix == ".py" else "\n"))
    try:
        assert {name for name in CAPABILITIES if bundle(name, copy).content != before[name]} == capabilities
    finally:
        path.write_text(text)


def test_a_module_of_kapas_is_shipped_where_it_is_imported_and_nowhere_else() -> None:
    shipping = {name for name in CAPABILITIES if "kapas/privacy/consents.py" in entries(name)}
    assert shipping == {"consent_updates", "grading_requests"}
