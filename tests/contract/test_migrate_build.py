"""The build that migrates in the network installs one capability's requirements: `tools.migrate` imports nothing else."""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

from tools.catalog import ROOT

PROGRAM = """
import json, sys
before = set(sys.modules)
import tools.migrate
files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name not in before}
print(json.dumps(sorted({name.partition(".")[0] for name, file in files.items() if file})))
"""


def test_what_migrates_needs_no_more_than_the_build_installs() -> None:
    [requirements] = re.findall(
        r"^  _REQUIREMENTS: (\S+)$", (ROOT / "terraform/migrate.yaml").read_text(), re.MULTILINE
    )
    installed = set(re.findall(r"^([\w.-]+)==", (ROOT / requirements).read_text(), re.MULTILINE))
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, cwd=ROOT)
    of_package = packages_distributions()
    imported = {of_package[name][0] for name in json.loads(run.stdout) if name in of_package}
    assert "pg8000" in imported
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in imported} <= installed
