"""The two ends of a release: `python -m tools.deliver.release hold PROJECT` and `canary PROJECT TARGET`.

`hold`, before the apply, keeps the calls of each function with the revision that serves them, so that a new one gets none,
and writes down which it is (build/serving.json). `canary`, after it, walks the calls over to the
revisions that are new, and back if they do worse or if TARGET, a URL or an environment, does not answer by `make smoke`. Exit
code 1: they went back.
"""

import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tools.catalog import ROOT, Catalog, catalog
from tools.deliver import smoke
from tools.deliver.canary import Change, Doing, Figures, Objective, walk
from tools.deliver.cloud_run import CloudRun, as_deployer

SERVING = ROOT / "build/serving.json"
LOOK_SECONDS = 60
"""Cloud Monitoring has a minute's figures some minutes later; ten looks a stage are enough for them."""


def changes(run: CloudRun, served: dict[str, str]) -> list[Change]:
    """The services with a revision that did not serve before the apply. A new service has nothing to go back to."""
    newest = {service: run.newest(service) for service in served}
    return [Change(name, before, newest[name]) for name, before in sorted(served.items()) if newest[name] != before]


def hold(run: CloudRun) -> dict[str, str]:
    """Service -> the revision that serves. It is named to Cloud Run: "the latest" would be the next one."""
    served = run.serving()
    for service, revision in served.items():
        run.split(service, {revision: 100})
    return served


def serves_clients(described: Catalog) -> dict[str, bool]:
    """Function -> whether its capability answers clients, to whom 503 is a failure; as in `terraform/slos.tf`."""
    clients = {f.capability for f in described.functions.values() if f.trigger.kind == "http"}
    return {name: f.capability in clients for name, f in described.functions.items()}


def canary(run: CloudRun, served: dict[str, str], url: str) -> bool:
    """Walk over whatever is new, asking the system at `url`; whether it stayed."""
    split_at: dict[str, datetime] = {}
    strict = serves_clients(catalog())

    def split(service: str, shares: Mapping[str, int]) -> None:
        run.split(service, shares)
        split_at[service] = datetime.now(UTC)

    def look(change: Change) -> tuple[Figures, Figures]:
        since = split_at[change.service]
        return run.figures(change, since, datetime.now(UTC), unavailable_is_failure=strict.get(change.service, True))

    found = changes(run, served)
    print(f"{len(found)} functions have a new revision")
    doing = Doing(split, look, lambda: smoke.failures(url), lambda: time.sleep(LOOK_SECONDS))
    return walk(found, Objective(), doing) if found else True


def main(arguments: list[str], path: Path = SERVING) -> int:
    match arguments:
        case ["hold", project]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(hold(CloudRun(as_deployer(), project, catalog().region)), indent=2))
            return 0
        case ["canary", project, target]:
            run = CloudRun(as_deployer(), project, catalog().region)
            return 0 if canary(run, json.loads(path.read_text()), smoke.base_url(target)) else 1
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
