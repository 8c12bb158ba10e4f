"""`make sbom`: one CycloneDX document per capability in build/sbom, of what its bundle asks for. The same bytes each time."""

import json
import subprocess
import sys
from pathlib import Path

from tools.bundle import capabilities
from tools.catalog import ROOT

OUTPUT = ROOT / "build/sbom"
TOOL = ROOT / ".venv-delivery/bin/cyclonedx-py"


def sbom(requirements: Path) -> str:
    """The document, as JSON of CycloneDX 1.6. Raises SystemExit where a component has no hash."""
    command = [TOOL, "requirements", "--output-reproducible", "--spec-version", "1.6", "--of", "JSON", requirements]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"no SBOM of {requirements}: {result.stderr.strip()}")
    for component in json.loads(result.stdout).get("components", []):
        if not any(reference.get("hashes") for reference in component.get("externalReferences", [])):
            raise SystemExit(f"{component['name']} of {requirements} has no hash: run make lock")
    return result.stdout


def main() -> int:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for capability in capabilities():
        path = OUTPUT / f"{capability}.cdx.json"
        path.write_text(sbom(ROOT / "functions" / capability / "requirements.txt"))
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
