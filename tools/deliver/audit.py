"""`make audit`: what is known against the locked dependencies of every capability, by PyPI's advisories (pip-audit).

Exit code 0: nothing is known; 1: something is; 2: nobody could be asked, so nothing was audited.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.bundle import capabilities
from tools.catalog import ROOT

TOOL = ROOT / ".venv-delivery/bin/pip-audit"


class NotAudited(Exception):
    """The advisory service gave no answer; the message has what the tool said last."""


def vulnerabilities(requirements: list[Path], environment: Mapping[str, str] = os.environ) -> list[str]:
    """One line for each known vulnerability. Raises `NotAudited`."""
    files = [argument for path in requirements for argument in ("-r", str(path))]
    command = [
        TOOL,
        "--disable-pip",
        "--require-hashes",
        "--progress-spinner=off",
        "--timeout=15",
        "--format=json",
        *files,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(environment))
    try:
        audited = json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise NotAudited((result.stderr.strip().splitlines() or ["no answer"])[-1]) from None
    if skipped := [found["name"] for found in audited if "skip_reason" in found]:
        raise NotAudited(f"skipped: {', '.join(sorted(skipped))}")
    return [
        f"{found['name']} {found['version']}: {known['id']}, fixed in {', '.join(known['fix_versions']) or 'no version'}"
        for found in audited
        for known in found["vulns"]
    ]


def main() -> int:
    files = [ROOT / "functions" / capability / "requirements.txt" for capability in capabilities()]
    try:
        known = vulnerabilities(files)
    except NotAudited as error:
        print(f"not audited, the advisory service of PyPI could not be asked: {error}", file=sys.stderr)
        return 2
    print("\n".join(known) or f"nothing is known against the dependencies of {len(files)} bundles")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
