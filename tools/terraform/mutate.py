"""Break the configuration in the ways of `mutations`, and see what catches each: `make terraform-mutations`."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.catalog import ROOT
from tools.terraform.mutations import MUTATIONS, Mutation
from tools.terraform.proof import STATES, grow, keep, keep_replacement, thin
from tools.terraform.standin import BUILD, TerraformFailed, stand_in, terraform_binary, workspace

NEEDED = 28
REPORT = ROOT / "docs/operations/terraform-mutations.md"
UNBROKEN = Mutation("(nothing)", "terraform/modules/function/main.tf", "", "")


@dataclass(frozen=True, slots=True)
class Outcome:
    mutation: Mutation
    caught_by: str
    """`plan`, `apply`, the first test that failed; empty if nothing caught it."""


def attempt(numbered: tuple[int, Mutation]) -> Outcome:
    """Break a copy, apply it to an empty cloud, test what is applied. The copy is prod, its catalog thinned and grown."""
    number, mutation = numbered
    folder = BUILD / f"mutants/{number:02}"
    states = folder / "states"
    with stand_in() as environment:
        space = workspace(folder, environment, "prod")
        thin(folder)
        grow(folder)
        mutation.apply(folder)
        states.mkdir()
        try:
            space.terraform("init", "-input=false", "-no-color")
            space.terraform("apply", "-auto-approve", "-no-color")
        except TerraformFailed as error:
            stage = "apply" if ": Creating..." in str(error) else "plan"
            found = re.search(r"Error: (.*)", str(error))
            return Outcome(mutation, f"{stage}: {found[1] if found else 'error'}")
        keep(space, states, "prod")
        if mutation.file.startswith("terraform/modules/function/"):
            keep_replacement(space, states)
        else:  # as it is without the mutation, for a plan takes its time
            shutil.copy(STATES / "replacement.plan", states)
    return Outcome(mutation, _failing_test(states))


def _failing_test(states: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/terraform"]
    command += ["--ignore=tests/terraform/test_documents.py"]
    environment = {**os.environ, "KAPAS_TERRAFORM_STATES": str(states)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    failed = re.search(r"^(?:FAILED|ERROR) tests/terraform/(\S+)", result.stdout, re.M)
    if result.returncode and not failed:
        raise SystemExit(f"the tests did not run:\n{result.stdout}{result.stderr}")
    return failed[1].partition("[")[0] if failed else ""


def report(outcomes: list[Outcome]) -> str:
    """The outcomes as a document."""
    missed = [outcome for outcome in outcomes if not outcome.caught_by]
    lines = [
        "# What the Terraform proof catches",
        "",
        f"`make terraform-mutations` breaks the configuration in {len(outcomes)} ways, applies each to an empty stand-in",
        "for Google Cloud, and runs the policy tests over the result. It also writes this page.",
        f"Caught: {len(outcomes) - len(missed)} of {len(outcomes)}; at least {NEEDED} must be.",
        "",
        "The list and the tests have one author. When the list was first tried, 27 were caught: the deployer's condition,",
        "the order of network and database, and the rule for trades were missed, and have had a test since. So a new mistake",
        "is caught less surely than these.",
        "",
        "| what is wrong | in | caught by |",
        "|---|---|---|",
    ]
    for outcome in outcomes:
        by = f"`{outcome.caught_by}`" if "::" in outcome.caught_by else outcome.caught_by or "**nothing**"
        lines.append(f"| {outcome.mutation.name} | `{outcome.mutation.file}` | {by} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Try every mutation, write the report; the exit code."""
    terraform_binary()
    if not (STATES / "replacement.plan").exists():
        raise SystemExit("run `make terraform-test` first: it says whether the configuration is right unbroken")
    shutil.rmtree(BUILD / "mutants", ignore_errors=True)
    with ThreadPoolExecutor(2) as pool:
        first, *outcomes, last = pool.map(attempt, enumerate((UNBROKEN, *MUTATIONS, UNBROKEN)))
    if first.caught_by or last.caught_by:
        print(f"the configuration fails unbroken: {first.caught_by or last.caught_by}", file=sys.stderr)
        return 1
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(report(outcomes))
    missed = [outcome.mutation.name for outcome in outcomes if not outcome.caught_by]
    caught = len(MUTATIONS) - len(missed)
    print(f"{caught} of {len(MUTATIONS)} caught; not: {', '.join(missed) or 'none'}")
    return 0 if caught >= NEEDED else 1
