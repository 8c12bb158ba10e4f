"""`make bundle`: one deterministic zip per capability, as Cloud Functions takes its source.

At the root are `main.py` and its modules, as functions-framework wants them, then the modules of `kapas` that they import,
directly or through others, and the capability's locked requirements. The same sources make the same bytes anywhere, so the
name carries their hash, and a function is deployed anew only when something that it ships changed.
"""

import ast
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.catalog import ROOT, Function, catalog

OUTPUT = ROOT / "build/bundles"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: the first that a zip can hold."""
LEFT_OUT = ("__pycache__", "examples", "README.md", "data_map.json", "function.yaml", "firestore.rules", ".DS_Store")
"""What of a capability's folder only tools and Terraform read."""
DATA_MAP = "kapas/privacy/data_map.py"
"""The module that reads every capability's part of the data map."""
CLIENTS: dict[str, Callable[[Function], object]] = {
    "kapas/platform/db/connect.py": lambda function: function.database,
    "kapas/platform/gcp/tasks.py": lambda function: function.enqueues,
    "kapas/platform/gcp/pubsub.py": lambda function: function.woken,
    "kapas/platform/gcp/firestore.py": lambda function: function.documents,
    "kapas/platform/gcp/storage.py": lambda function: function.buckets,
    "kapas/platform/gcp/kms.py": lambda function: function.encrypts,
    "kapas/platform/gcp/kms_client.py": lambda function: (
        function.encrypts and function.enqueues and function.trigger.kind != "http"
    ),
    "kapas/platform/gcp/kms_signer.py": lambda function: function.signs,
}
"""Adapters that `kapas.http.function` imports on first use -> whether a function has that use, by its catalog entry."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A capability's source, `content` as a zip file."""

    capability: str
    content: bytes

    @property
    def name(self) -> str:
        return f"{self.capability}-{hashlib.sha256(self.content).hexdigest()[:16]}.zip"


def capabilities() -> list[str]:
    """The folders that the catalog deploys."""
    return sorted({function.capability for function in catalog().functions.values()})


def bundle(capability: str, root: Path = ROOT) -> Bundle:
    """The bundle of one capability. Raises SystemExit where its requirements are not locked."""
    if not (root / "functions" / capability / "requirements.txt").exists():
        raise SystemExit(f"functions/{capability} has no requirements.txt: run make lock")
    files = entries(capability, root)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)  # stored, not deflated: zlib's versions compress differently
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name].read_bytes())
    return Bundle(capability, buffer.getvalue())


def entries(capability: str, root: Path = ROOT) -> dict[str, Path]:
    """Name in the bundle -> file: the capability's folder, and what of kapas it imports with the data of those modules."""
    folder, shared = root / "functions" / capability, root / "shared"
    own = [function for function in catalog(root / "functions").functions.values() if function.capability == capability]
    unused = {client for client, uses in CLIENTS.items() if not any(uses(function) for function in own)}
    found = {str(path.relative_to(folder)): path for path in _files(folder)}
    waiting = list(found.values())
    while waiting:
        for path in _imported(waiting.pop(), shared):
            name = str(path.relative_to(shared))
            if name not in found and name not in unused:
                found[name] = path
                waiting.append(path)
                found |= {str(data.relative_to(shared)): data for data in _data(path)}
    if DATA_MAP in found:
        parts = sorted(root.glob("functions/*/data_map.json"))
        found |= {f"kapas/privacy/data_maps/{path.parent.name}.json": path for path in parts}
    return found


def write(target: Path = OUTPUT) -> list[Path]:
    """Write every bundle to `target`, and their names for Terraform beside it; what was there of earlier sources goes."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for capability in capabilities():
        made = bundle(capability)
        for old in target.glob(f"{capability}-*.zip"):
            old.unlink()
        path = target / made.name
        path.write_bytes(made.content)
        written.append(path)
    names = {path.name.rpartition("-")[0]: path.name for path in written}
    (target.parent / "bundles.tfvars.json").write_text(json.dumps({"bundles": names}, indent=2) + "\n")
    return written


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part in LEFT_OUT for part in path.relative_to(folder).parts):
            yield path


def _imported(path: Path, shared: Path) -> Iterator[Path]:
    """The files of kapas that a file imports, with the packages that they are in."""
    for name in _names(path.read_text()) if path.suffix == ".py" else ():
        yield from _modules(name, shared)


@cache
def _names(source: str) -> list[str]:
    """What a file imports of kapas, also within functions."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in found if name.partition(".")[0] == "kapas"]


def _modules(name: str, shared: Path) -> Iterator[Path]:
    """The file of a module and of each package around it; nothing for a name that is not a module."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        place = shared.joinpath(*parts[:length])
        yield from (path for path in (place / "__init__.py", place.with_suffix(".py")) if path.exists())


def _data(path: Path) -> list[Path]:
    """The data of a module: `x.json` beside `x.py`, and every JSON file of a package that has no other module."""
    if path.name != "__init__.py":
        return [data for data in [path.with_suffix(".json")] if data.exists()]
    alone = not any(other != path for other in path.parent.glob("*.py"))
    return sorted(path.parent.glob("*.json")) if alone else []


def main() -> int:
    for path in write():
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1024} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
