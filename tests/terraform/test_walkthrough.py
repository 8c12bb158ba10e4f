"""The first apply of terraform/README.md: every command was run, or is tested by what it names, or cannot be run offline."""

import json
from typing import Any
from urllib.parse import unquote

import yaml
from werkzeug.test import Client

from kapas.platform import settings
from local_cloud.functions import load
from tests.terraform.deployed import Deployed
from tools.catalog import ROOT, catalog
from tools.terraform.grants import resources
from tools.terraform.proof import STATES
from tools.terraform.walkthrough import NOT_RUN, README, Command, commands

FOLLOWED: list[dict[str, Any]] = json.loads((STATES / "first-apply.walk").read_text())


def the(start: str) -> Command:
    """The one command that begins so."""
    (found,) = [command for command in commands() if str(command).startswith(start)]
    return found


def applied(start: str, kind: str) -> list[dict[str, Any]]:
    """The resources of a type that were there when the walkthrough came to a command."""
    (step,) = [step for step in FOLLOWED if step["command"].startswith(start)]
    there = resources(step["state"]["values"]["root_module"])
    return [resource["values"] for resource in there if resource["type"] == f"google_{kind}"]


def test_every_command_is_run_or_is_listed_with_the_reason() -> None:
    listed = {str(command): [s for s in NOT_RUN if str(command).startswith(s)] for command in commands()}
    assert [command for command in commands() if command.is_run == bool(listed[str(command)])] == []
    assert {start for starts in listed.values() for start in starts} == set(NOT_RUN), "what is listed is in the README"
    assert all(NOT_RUN.values())


def test_the_proof_followed_the_readme_as_it_is_now() -> None:
    assert [step["command"] for step in FOLLOWED] == [str(command) for command in commands()], (
        "run `make terraform-test`"
    )
    ran = [step["command"].split()[:2] for step in FOLLOWED if step["run"]]
    assert [words[0] for words in ran].count("terraform") >= 7
    assert ["make", "bundle"] in ran


def test_the_project_and_the_bucket_of_the_state_are_those_of_dev() -> None:
    project = the("export").words[1].removeprefix("PROJECT=")
    assert f'project_id      = "{project}"' in (ROOT / "terraform/envs/dev.tfvars").read_text()
    for start in ("gcloud storage buckets create", "gcloud storage buckets update"):
        bucket = the(start).words[4].removeprefix("gs://")
        assert f'bucket = "{bucket}"\n' in (ROOT / "terraform/envs/dev.gcs.tfbackend").read_text()
    assert the("gcloud projects create").words[3] == project


def test_what_is_uploaded_has_a_bucket_by_then() -> None:
    names = {bucket["name"] for bucket in applied("gcloud storage cp", "storage_bucket")}
    assert the("gcloud storage cp").words[-1].removeprefix("gs://").removesuffix("/") in names


def test_every_secret_is_there_by_then_and_has_its_value_before_functions_read_it() -> None:
    start = "gcloud secrets versions add"
    secrets = {secret for function in catalog().functions.values() for secret in function.secrets}
    assert [the(start).words[4]] == sorted(secrets)
    assert {values["secret_id"] for values in applied(start, "secret_manager_secret")} == secrets
    assert len(applied(start, "secret_manager_secret_iam_member")) >= len(secrets)
    assert not applied(start, "cloudfunctions2_function")


def test_what_migrates_is_there_by_then() -> None:
    start = "gcloud builds submit"
    options = the(start).options()
    (pool,) = applied(start, "cloudbuild_worker_pool")
    assert options["region"] == pool["location"]
    assert (
        options["worker-pool"] == f"projects/{pool['project']}/locations/{pool['location']}/workerPools/{pool['name']}"
    )
    assert options["service-account"] in {account["id"] for account in applied(start, "service_account")}
    bucket = options["gcs-source-staging-dir"].removeprefix("gs://").partition("/")[0]
    assert bucket in {values["name"] for values in applied(start, "storage_bucket")}
    given = dict(pair.split("=", 1) for pair in options["substitutions"].split(","))
    defaults = yaml.safe_load((ROOT / options["config"]).read_text())["substitutions"]
    assert set(given) == {"_INSTANCE", "_USER"}
    assert {name: defaults[name] for name in defaults.keys() - given} == {
        "_COMMAND": "python -m tools.migrate",
        "_REQUIREMENTS": "functions/outbox_relay/requirements.txt",
    }
    assert given["_INSTANCE"] == applied(start, "sql_database_instance")[0]["connection_name"]
    assert unquote(given["_USER"]) in {user["name"] for user in applied(start, "sql_user")}
    assert applied(start, "sql_database")
    assert not applied(start, "cloudfunctions2_function"), "functions come after the tables"


def test_the_first_call_is_answered_as_it_says(deployed: Deployed) -> None:
    if deployed.name == "grown":  # which has few of the functions
        return
    path = "/" + the("curl").words[-1].removeprefix("https://").partition("/")[2]
    ((name, function),) = [item for item in deployed.functions("http").items() if path in item[1].trigger.routes]
    _, app = load(ROOT / "functions", function)
    with settings.use(deployed.environments[name]):
        answer = Client(app).get(path)
    assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
    assert f"`{the('curl')}` answers {answer.status_code} with `{answer.mimetype}`" in README.read_text()
