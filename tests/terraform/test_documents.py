"""What is written about the configuration is what it is."""

import json

from tools.catalog import ROOT
from tools.terraform.grants import README, document
from tools.terraform.mutations import MUTATIONS
from tools.terraform.proof import STATES


def test_the_table_of_grants_is_current() -> None:
    state = json.loads((STATES / "prod.json").read_text())
    text = README.read_text()
    assert document(text, state) == text, "run `python -m tools.terraform document`"


def test_every_file_is_in_the_table() -> None:
    text = README.read_text()
    boilerplate = {"variables.tf", "versions.tf", "outputs.tf"}
    assert [
        path.name
        for path in (ROOT / "terraform").glob("*.tf")
        if path.name not in boilerplate and f"({path.name})" not in text
    ] == []


def test_every_mutation_is_in_the_report() -> None:
    report = (ROOT / "docs/operations/terraform-mutations.md").read_text()
    assert [mutation.name for mutation in MUTATIONS if mutation.name not in report] == []


def test_every_mutation_has_something_to_break() -> None:
    for mutation in MUTATIONS:
        assert mutation.old in (ROOT / mutation.file).read_text(), mutation.name
