"""Who may do what: each trigger calls what it triggers, and nobody does more than their work."""

import re
from typing import Any

from tests.terraform.deployed import Deployed
from tools.terraform.facts import ROLES_OF_A_CONDITION
from tools.terraform.grants import reasons

CALLERS = {"pubsub": "pubsub-push", "task": "cloud-tasks", "schedule": "cloud-scheduler"}


def test_each_trigger_calls_what_it_triggers_and_nobody_else_does(deployed: Deployed) -> None:
    publishers = [name for name, function in deployed.catalog.functions.items() if function.publishes]
    expected: set[tuple[str, str]] = set()
    for name, function in deployed.catalog.functions.items():
        kind = function.trigger.kind
        expected.add(("allUsers" if kind == "http" else deployed.account(CALLERS[kind]), name))
        if function.woken:
            expected |= {(deployed.account(publisher), name) for publisher in publishers}
    assert deployed.granted("roles/run.invoker") == expected


def test_functions_are_told_of_the_callers_that_may_call_them(deployed: Deployed) -> None:
    invokers = deployed.granted("roles/run.invoker")
    for name, variables in deployed.environments.items():
        may = {member.removeprefix("serviceAccount:") for member, function in invokers if function == name}
        if "ALLOWED_CALLERS" in variables:
            assert set(variables["ALLOWED_CALLERS"].split(",")) == may, name
        else:
            assert may == {"allUsers"}, name


def test_only_functions_behind_the_load_balancer_are_public(deployed: Deployed) -> None:
    public = {grant.target for grant in deployed.grants if grant.member in ("allUsers", "allAuthenticatedUsers")}
    assert public == set(deployed.functions("http"))
    for name, service in deployed.services.items():
        assert service["ingress_settings"] == (
            "ALLOW_INTERNAL_AND_GCLB" if name in public else "ALLOW_INTERNAL_ONLY"
        ), name


def test_no_basic_role_and_no_role_that_makes_owners(deployed: Deployed) -> None:
    for grant in deployed.grants:
        assert grant.role not in ("roles/owner", "roles/editor", "roles/viewer"), grant
        if grant.role in ("roles/resourcemanager.projectIamAdmin", "roles/iam.securityAdmin"):
            only = re.fullmatch(r"api\.getAttribute\('[\w./]+', \[\]\)\.hasOnly\(\[[^\])]*\]\)", grant.condition)
            assert only, grant
            assert "roles/owner" not in grant.condition, grant
            assert "roles/editor" not in grant.condition, grant
            assert "projectIamAdmin" not in grant.condition, grant


def test_the_deployer_grants_what_a_new_function_needs_in_the_project_and_nothing_else(deployed: Deployed) -> None:
    (grant,) = [grant for grant in deployed.grants if grant.role == "roles/resourcemanager.projectIamAdmin"]
    functions = {deployed.account(name) for name in deployed.catalog.functions}
    needed = {grant.role for grant in deployed.grants if grant.kind == "project" and grant.member in functions}
    assert set(re.findall(r"'(roles/[\w.]+)'", grant.condition)) == needed
    assert len(needed) <= ROLES_OF_A_CONDITION


def test_each_function_runs_as_an_account_of_its_own(deployed: Deployed) -> None:
    accounts = {name: service["service_account_email"] for name, service in deployed.services.items()}
    assert accounts == {
        name: deployed.account(name).removeprefix("serviceAccount:") for name in deployed.catalog.functions
    }


def test_functions_have_no_more_than_their_entry_in_the_catalog_asks_for(deployed: Deployed) -> None:
    for name, function in deployed.catalog.functions.items():
        expected = {("cloudsql.instanceUser", "")} if function.database else set()
        expected |= {("datastore.user", "")} if function.documents else set()
        expected |= {("cloudkms.cryptoKeyEncrypterDecrypter", "personal-data")} if function.encrypts else set()
        expected |= {("cloudkms.signerVerifier", "receipts")} if function.signs else set()
        expected |= {("cloudtasks.enqueuer", queue) for queue in function.enqueues}
        expected |= {("iam.serviceAccountUser", "cloud-tasks")} if function.enqueues else set()
        expected |= {("secretmanager.secretAccessor", secret) for secret in function.secrets}
        expected |= {("storage.objectUser", f"{deployed.project}-{bucket}") for bucket in function.buckets}
        expected |= {("kapasUrlSigner", name)} if function.buckets else set()
        expected |= {("pubsub.publisher", topic) for topic in deployed.catalog.topics} if function.woken else set()
        expected |= {
            ("run.invoker", target)
            for target, other in deployed.catalog.functions.items()
            if other.woken and function.publishes
        }
        found = {
            (grant.role.removeprefix("roles/").rpartition("/")[2], grant.target.rpartition("/")[2].partition("@")[0])
            for grant in deployed.grants
            if grant.member == deployed.account(name)
        }  # fmt: skip
        assert found == expected, name


def test_grants_on_the_whole_project_to_functions_are_bound_to_one_resource(deployed: Deployed) -> None:
    functions = {deployed.account(name) for name in deployed.catalog.functions}
    for grant in deployed.grants:
        if grant.kind == "project" and grant.member in functions:
            assert "resource.name" in grant.condition, grant


def test_google_signs_its_calls_as_the_calling_accounts_only(deployed: Deployed) -> None:
    agents = {
        "pubsub-push": "gcp-sa-pubsub",
        "cloud-tasks": "gcp-sa-cloudtasks",
        "cloud-scheduler": "gcp-sa-cloudscheduler",
    }
    signers = {
        (account.partition("@")[0], member.partition("@")[2].partition(".")[0])
        for role in ("roles/iam.serviceAccountOpenIdTokenCreator", "roles/iam.serviceAccountTokenCreator")
        for member, account in deployed.granted(role)
    }
    assert signers == set(agents.items())


def test_agents_made_on_request_have_their_role(deployed: Deployed) -> None:
    roles = {"roles/run.serviceAgent": "serverless-robot-prod", "roles/cloudfunctions.serviceAgent": "gcf-admin-robot"}
    for role, agent in roles.items():
        assert [member for member, _ in deployed.granted(role) if f"@{agent}." in member], role


def test_dead_letters_are_moved_by_pubsub(deployed: Deployed) -> None:
    publishers = deployed.granted("roles/pubsub.publisher", "pubsub_topic")
    subscribers = deployed.granted("roles/pubsub.subscriber", "pubsub_subscription")
    for name in deployed.catalog.subscriptions():
        assert any("@gcp-sa-pubsub." in member for member, topic in publishers if topic == f"{name}.dead-letter"), name
        assert any("@gcp-sa-pubsub." in member for member, subscription in subscribers if subscription == name), name


def test_the_deployer_may_act_as_what_it_deploys(deployed: Deployed) -> None:
    acts_as = {
        account.partition("@")[0]
        for member, account in deployed.granted("roles/iam.serviceAccountUser")
        if member == deployed.account("deployer")
    }
    others = {"pubsub-push", "cloud-scheduler", "function-builder", "database-migrator", "deployer"}
    assert acts_as == {*deployed.catalog.functions, *others}


def test_grants_on_a_service_come_again_when_its_function_is_made_anew(replacement: list[dict[str, Any]]) -> None:
    replaced = {
        str(change["address"])
        for change in replacement
        if change["change"]["actions"] in (["delete", "create"], ["create", "delete"])
    }
    relay = 'module.function["outbox-relay"].google_cloud_run_v2_service_iam_member.invoker'
    assert f'{relay}["cloud-scheduler"]' in replaced
    assert f'{relay}["partner-onboarding"]' in replaced


def test_every_grant_has_a_reason(deployed: Deployed) -> None:
    known = reasons()
    for resource in deployed.resources:
        if resource.type.endswith("_iam_member"):
            name = resource.address.rpartition(f"{resource.type}.")[2].partition("[")[0]
            assert known.get((resource.type, name)), resource.address


def test_no_account_has_a_key_and_nobody_may_make_one(deployed: Deployed) -> None:
    assert not deployed.of("service_account_key")
    enforced = {
        values["name"].rpartition("/")[2]
        for values in deployed.values("org_policy_policy")
        if values["spec"][0]["rules"][0]["enforce"] == "TRUE"
    }
    assert enforced >= {
        "iam.disableServiceAccountKeyCreation",
        "sql.restrictPublicIp",
        "storage.publicAccessPrevention",
    }
