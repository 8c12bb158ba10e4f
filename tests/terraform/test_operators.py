"""Operators can do what the runbooks ask of them, and no more."""

import re

from tests.terraform.deployed import Deployed
from tools.catalog import ROOT

NEEDS = {
    "builds submit": "roles/cloudbuild.builds.editor",
    "builds triggers run": "roles/cloudbuild.builds.editor",
    "kms keys versions create": "cloudkms.cryptoKeyVersions.create",
    "kms keys versions disable": "cloudkms.cryptoKeyVersions.update",
    "pubsub subscriptions pull": "roles/pubsub.subscriber",
    "pubsub subscriptions seek": "roles/pubsub.subscriber",
    "pubsub topics publish": "roles/pubsub.publisher",
    "run revisions list": "roles/run.viewer",
    "scheduler jobs pause": "cloudscheduler.jobs.pause",
    "secrets versions add": "roles/secretmanager.secretVersionAdder",
    "sql backups list": "cloudsql.backupRuns.list",
    "sql backups restore": "cloudsql.instances.restoreBackup",
    "sql instances clone": "cloudsql.instances.clone",
    "sql instances create": "cloudsql.instances.create",
    "tasks queues pause": "roles/cloudtasks.queueAdmin",
}
"""A command of gcloud -> the role, or the permission of the operators' own role, that it needs."""

BY_AN_OWNER = {"kms keys add-iam-policy-binding", "sql ssl server-ca-certs", "storage ls"}
"""Commands that a runbook has an owner do, or grant for that time."""


def asked() -> set[str]:
    """The commands of gcloud that the runbooks name, but for those of a first apply."""
    pages = [page for page in (ROOT / "docs/operations").glob("*.md") if page.name != "first-apply.md"]
    known = NEEDS.keys() | BY_AN_OWNER
    found: set[str] = set()
    for page in pages:
        for command in re.findall(r"\bgcloud ((?:[a-z-]+ ){1,3}[a-z-]+)", page.read_text()):
            found.add(next((name for name in known if f"{command} ".startswith(f"{name} ")), command))
    return found


def test_operators_hold_what_each_command_of_a_runbook_needs(deployed: Deployed) -> None:
    operators = {grant.member for grant in deployed.grants if grant.member.startswith("group:")}
    assert len(operators) == 1
    held = {grant.role for grant in deployed.grants if grant.member in operators}
    (own,) = [role for role in deployed.values("project_iam_custom_role") if role["role_id"] == "kapasOperator"]
    assert own["name"] in held
    held |= set(own["permissions"])
    assert asked() == NEEDS.keys() | BY_AN_OWNER
    assert set(NEEDS.values()) <= held


def test_operators_neither_read_data_nor_deploy_nor_grant(deployed: Deployed) -> None:
    for grant in deployed.grants:
        if grant.member.startswith("group:"):
            assert not re.search(
                r"owner|editor$|iamAdmin|\.admin$|secretAccessor|cryptoKey\w*Decrypter|run\.dev", grant.role
            ) or (grant.role == "roles/cloudbuild.builds.editor"), grant
            if grant.role == "roles/iam.serviceAccountUser":
                assert "/database-migrator@" in grant.target, grant
    (own,) = [role for role in deployed.values("project_iam_custom_role") if role["role_id"] == "kapasOperator"]
    assert not [name for name in own["permissions"] if re.search(r"delete|destroy|setIamPolicy|useTo", name)]
