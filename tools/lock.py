"""Lock every dependency group of pyproject.toml into a requirements file: versions and hashes, no index addresses.

What is pinned stays pinned; `python -m tools.lock --upgrade` takes the newest versions that fit.
"""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".venv/bin/uv"
NOTE = "# Locked from the dependency group {group!r} of pyproject.toml by `make lock`.\n"


def targets() -> dict[str, Path]:
    """Dependency group -> the file it is locked into."""
    files = {group: ROOT / f"requirements-{group}.txt" for group in ("dev", "bench", "terraform", "delivery")}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    capabilities = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
    missing = [name for name in capabilities if name not in groups]
    if missing:
        raise SystemExit(f"pyproject.toml has no dependency group for {', '.join(missing)}: add one of that name")
    return files | {name: ROOT / "functions" / name / "requirements.txt" for name in capabilities}


def compile_group(group: str, path: Path, *, upgrade: bool = False) -> str:
    """The locked text of one group; what is already pinned in `path` stays unless `upgrade`."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "requirements.txt")
        if path.exists() and not upgrade:
            shutil.copy(path, output)
        command = [UV, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-header", "--no-annotate", "--group", f"{ROOT / 'pyproject.toml'}:{group}", "-o", output]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        if result.returncode:
            raise SystemExit(f"could not lock the group {group!r}: {result.stderr.strip()}")
        return NOTE.format(group=group) + output.read_text()


def main() -> None:
    for group, path in targets().items():
        path.write_text(compile_group(group, path, upgrade="--upgrade" in sys.argv))
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
