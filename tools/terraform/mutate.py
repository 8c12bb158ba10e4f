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
from tools.terraform.proof import STATES, grow, keep, keep_configuration, keep_replacement, thin
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
            space.terraform("plan", "-out=plan", "-no-color")
            keep_configuration(space, states)
            space.terraform("apply", "-no-color", "plan")
        except TerraformFailed as error:
            # What the configuration says is tested first: which resource an apply fails on, or whether, may be luck.
            planned = (states / "configuration.plan").exists()
            test = _failing_test(states, "test_configuration.py") if planned else ""
            return Outcome(mutation, test or f"{'apply' if planned else 'plan'}: {_reason(error)}")
        keep(space, states, "prod")
        if mutation.file.startswith("terraform/modules/function/"):
            keep_replacement(space, states)
        else:  # as it is without the mutation, for a plan takes its time
            shutil.copy(STATES / "replacement.plan", states)
        shutil.copy(STATES / "restored.plan", states)
    return Outcome(mutation, _failing_test(states))


def _reason(error: TerraformFailed) -> str:
    """The first error's line, without the name of the resource, which is another on each run."""
    found = re.search(r"Error: (.*)", str(error))
    return re.sub(r"(Error \d+: google_\w+) \S+:", r"\1:", found[1]) if found else "error"


def _failing_test(states: Path, file: str = "") -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/terraform/{file}"]
    command += [f"--ignore=tests/terraform/{written}" for written in ("test_documents.py", "test_walkthrough.py")]
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
        "for Google Cloud, runs the policy tests on the result, and writes this page.",
        f"Caught: {len(outcomes) - len(missed)} of {len(outcomes)}; at least {NEEDED} must be.",
        "",
        "One author wrote the list and the tests, and some tests were added after a mutation had escaped.",
        "Expect the tests to catch a new mistake less reliably than these.",
        "",
        "| what is wrong | in | caught by |",
        "|---|---|---|",
    ]
    for outcome in outcomes:
        by = f"`{outcome.caught_by}`" if "::" in outcome.caught_by else outcome.caught_by or "**nothing**"
        lines.append(f"| {outcome.mutation.name} | `{outcome.mutation.file}` | {by} |")
    return "\n".join(lines) + "\n"


def only(name: str) -> int:
    """Try the mutations whose name holds `name`, and write no report; the exit code: 0 if each is caught."""
    _ready()
    outcomes = [attempt(numbered) for numbered in enumerate(MUTATIONS, 1) if name in numbered[1].name]
    for outcome in outcomes:
        print(f"{outcome.mutation.name}: {outcome.caught_by or 'not caught'}")
    return 0 if outcomes and all(outcome.caught_by for outcome in outcomes) else 1


def main() -> int:
    """Try every mutation, write the report; the exit code."""
    _ready()
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


def _ready() -> None:
    terraform_binary()
    if not (STATES / "restored.plan").exists():
        raise SystemExit("run `make terraform-test` first: it says whether the configuration is right unbroken")
