"""How a release gets out: a merge makes a plan, a person approves it, and a new revision gets no calls by being made."""

from tests.terraform.deployed import Deployed


def test_an_apply_leaves_the_calls_where_they_are(deployed: Deployed) -> None:
    assert deployed.services.keys() == deployed.catalog.functions.keys()
    for name, service in deployed.services.items():
        assert service["all_traffic_on_latest_revision"] is False, name


def test_a_merge_plans_and_a_release_waits_for_somebody(deployed: Deployed) -> None:
    triggers = {values["name"]: values for values in deployed.values("cloudbuild_trigger")}
    if deployed.name != "prod":  # the repository is not connected yet
        assert not triggers
        return
    deploy, release = triggers["deploy"], triggers["release"]
    assert deploy["filename"] == "cloudbuild.yaml"
    assert deploy["substitutions"]["_DATABASE_INSTANCE"] == deployed.one("sql_database_instance")["name"]
    assert deploy["github"][0]["push"][0]["branch"] == "^main$"
    assert release["git_file_source"][0]["path"] == "cloudbuild-release.yaml"
    assert release["approval_config"][0]["approval_required"] is True
    assert not release["github"]
    assert {"_ENVIRONMENT", "_PLANNED_BY"} == set(release["substitutions"])


def test_who_deploys_does_not_approve(deployed: Deployed) -> None:
    approvers = {member for member, _ in deployed.granted("roles/cloudbuild.builds.approver")}
    assert len(approvers) == 1
    assert approvers.pop().startswith("group:")
