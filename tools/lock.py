"""Lock the dependency groups of pyproject.toml into requirements files: versions and hashes, no index addresses.

All that is installed or deployed together is resolved once, and each group's file is cut from that resolution: a
distribution has one version in all of them, and a new capability gets its siblings'. What is pinned stays pinned;
`python -m tools.lock --upgrade` takes the newest versions that fit. The groups of `APART` are resolved on their own.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
NOTE = "# Locked from the dependency group {group!r} of pyproject.toml by `make lock`.\n"
APART = {
    "bench": "celery pins python-dateutil 2.9",
    "terraform": "tf holds protobuf below 6",
}
"""Groups that would hold back what is deployed -> by which limit. Each is installed into an environment of its own."""

_TOOLS = ("dev", "delivery", *APART)
_PIN = re.compile(r"([A-Za-z0-9._-]+)==")


def targets(root: Path = ROOT) -> dict[str, Path]:
    """Dependency group -> the file it is locked into: the groups of tools, and one for each capability."""
    files = {group: root / f"requirements-{group}.txt" for group in _TOOLS}
    capabilities = sorted(path.parent.name for path in root.glob("functions/*/main.py"))
    return files | {name: root / "functions" / name / "requirements.txt" for name in capabilities}


def missing(root: Path = ROOT) -> list[str]:
    """What has a file to lock and no dependency group in pyproject.toml."""
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]
    return [group for group in targets(root) if group not in groups]


def pins(path: Path) -> dict[str, str]:
    """Distribution -> its lines in a requirements file: the version, a marker, hashes. Empty if there is no file."""
    text = path.read_text() if path.exists() else ""
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", text):
        if match := _PIN.match(block):
            found[match[1]] = found.get(match[1], "") + block.rstrip("\n") + "\n"
    return found


def lock(root: Path = ROOT, *, upgrade: bool = False, offline: bool = False) -> dict[Path, str]:
    """The text of each requirements file. `offline` takes what uv has in its cache.

    Raises ValueError, with what uv says of it, for groups that cannot be resolved or do not exist.
    """
    if names := missing(root):
        raise ValueError(f"pyproject.toml has no dependency group {', '.join(names)}: add one of that name")
    files = targets(root)
    together = [group for group in files if group not in APART]
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder, "one.txt")
        _seed(one, [] if upgrade else [files[group] for group in together])
        _compile(root, together, one, offline=offline)
        # What a group needs of it: the cache holds all that this asks for.
        texts = {
            group: _compile(root, [group], Path(folder, f"{group}.txt"), "--constraints", str(one), offline=True)
            for group in together
        }
        for group in APART:
            output, kept = Path(folder, f"{group}.txt"), [] if upgrade else [files[group]]
            # The benches measure what is deployed: other versions only where a peer asks for them.
            _seed(output, [one, *kept] if group == "bench" else kept)
            texts[group] = _compile(root, [group], output, offline=offline)
    return {files[group]: NOTE.format(group=group) + texts[group] for group in files}


def _seed(output: Path, sources: Iterable[Path]) -> None:
    """Write the pins of `sources` where uv looks for the versions to prefer; of two for one distribution the first."""
    merged: dict[str, str] = {}
    for source in sources:
        merged = pins(source) | merged
    output.write_text("".join(merged.values()))


def _compile(root: Path, groups: Iterable[str], output: Path, *options: str, offline: bool) -> str:
    group_names = list(groups)
    command = [str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", *options, "-o", str(output)]
    command += [word for group in group_names for word in ("--group", f"{root / 'pyproject.toml'}:{group}")]
    command += ["--offline"] if offline else []
    result = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    if result.returncode:
        raise ValueError(f"could not lock {', '.join(group_names)}: {result.stderr.strip()}")
    return output.read_text()


def write(texts: Mapping[Path, str]) -> list[Path]:
    """Write the files that change; these."""
    changed = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in changed:
        path.write_text(texts[path])
    return changed


def main() -> int:
    try:
        texts = lock(upgrade="--upgrade" in sys.argv)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for path in write(texts):
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
