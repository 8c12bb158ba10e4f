"""`make bundle`: one deterministic zip per capability, as Cloud Functions takes its source.

At the root stand `main.py` and its modules, as functions-framework wants them, beside the package `kapas` and the
capability's own locked requirements. The same sources make the same bytes anywhere, so the name carries their hash and a
function is deployed anew only when its code or its requirements changed.
"""

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.catalog import ROOT, catalog

OUTPUT = ROOT / "build/bundles"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: the first that a zip can hold."""
LEFT_OUT = ("__pycache__", "examples", "README.md", ".DS_Store")
"""Migrations run before a deployment, from the repository: a new one must not deploy every function anew."""


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


def bundle(capability: str) -> Bundle:
    """The bundle of one capability. Raises SystemExit where its requirements are not locked."""
    folder = ROOT / "functions" / capability
    if not (folder / "requirements.txt").exists():
        raise SystemExit(f"functions/{capability} has no requirements.txt: run make lock")
    entries = {str(path.relative_to(folder)): path for path in _files(folder)}
    entries |= {str(path.relative_to(ROOT / "shared")): path for path in _files(ROOT / "shared/kapas")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, EPOCH)  # stored, not deflated: zlib's versions compress differently
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, entries[name].read_bytes())
    return Bundle(capability, buffer.getvalue())


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
        if path.is_file() and not any(part in LEFT_OUT for part in path.parts):
            yield path


def main() -> int:
    for path in write():
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1024} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
