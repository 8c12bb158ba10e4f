"""The database: reached privately, as oneself, by no more connections than it has, and recoverable."""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from tests.terraform.deployed import Deployed


def _settings(deployed: Deployed) -> dict[str, list[dict[str, Any]]]:
    return deployed.one("sql_database_instance")["settings"][0]


def _flags(deployed: Deployed) -> dict[str, str]:
    return {str(flag["name"]): str(flag["value"]) for flag in _settings(deployed)["database_flags"]}


def test_every_pool_full_leaves_room(deployed: Deployed) -> None:
    limits = deployed.catalog.database
    assert int(_flags(deployed)["max_connections"]) == limits.max_connections
    pools = {name: int(variables.get("DATABASE_POOL", 0)) for name, variables in deployed.environments.items()}
    most = sum(pools[name] * service["max_instance_count"] for name, service in deployed.services.items())
    assert 0 < most <= limits.max_connections - limits.reserved


def test_a_pool_is_no_larger_than_the_requests_that_use_it(deployed: Deployed) -> None:
    for name, variables in deployed.environments.items():
        assert int(variables.get("DATABASE_POOL", 0)) <= deployed.services[name]["max_instance_request_concurrency"], (
            name
        )


def test_it_has_no_public_address(deployed: Deployed) -> None:
    (ip,) = _settings(deployed)["ip_configuration"]
    assert ip["ipv4_enabled"] is False
    assert ip["private_network"]
    assert not ip["authorized_networks"]
    assert ip["ssl_mode"] == "ENCRYPTED_ONLY"


def test_its_certificate_is_of_a_ca_of_its_own(deployed: Deployed) -> None:
    """Functions verify the CA and no name, so the CA must sign for nobody else."""
    (ip,) = _settings(deployed)["ip_configuration"]
    assert ip["server_ca_mode"] == "GOOGLE_MANAGED_INTERNAL_CA"
    certificates = {v["DATABASE_CA"] for v in deployed.environments.values() if "DATABASE_CA" in v}
    assert certificates == {"certificate of the CA of kapas"}


def test_it_is_made_once_its_network_is_connected(deployed: Deployed) -> None:
    for kind in ("sql_database_instance", "cloudbuild_worker_pool"):
        (resource,) = deployed.of(kind)
        assert "google_service_networking_connection.private_services" in resource.after, kind


def test_functions_log_in_as_themselves_with_their_role(deployed: Deployed) -> None:
    assert _flags(deployed)["cloudsql.iam_authentication"] == "on"
    users = {user["name"]: user for user in deployed.values("sql_user")}
    assert not any(user["password"] for user in users.values())
    expected = {f"database-migrator@{deployed.project}.iam": ["cloudsqlsuperuser"]} | {
        f"{name}@{deployed.project}.iam": [function.database.role]
        for name, function in deployed.catalog.functions.items()
        if function.database
    }
    assert {name: user["database_roles"] for name, user in users.items()} == expected
    assert {user["type"] for user in users.values()} == {"CLOUD_IAM_SERVICE_ACCOUNT"}


def test_functions_know_the_database_and_who_they_are(deployed: Deployed) -> None:
    address = deployed.one("sql_database_instance")["private_ip_address"]
    database = deployed.one("sql_database")["name"]
    assert ipaddress.ip_address(address).is_private
    for name, function in deployed.catalog.functions.items():
        variables = deployed.environments[name]
        if function.database:
            user = f"{name}%40{deployed.project}.iam"
            assert variables["DATABASE_URL"] == f"postgresql://{user}@{address}/{database}?sslmode=verify-ca", name
            assert variables["DATABASE_IAM"] == "true", name


def test_functions_reach_it_without_a_connector(deployed: Deployed) -> None:
    assert _settings(deployed)["connector_enforcement"] == "NOT_REQUIRED"
    for name, function in deployed.catalog.functions.items():
        # Direct VPC egress: the database has an address of the network only.
        assert not function.database or deployed.services[name]["direct_vpc_network_interface"], name


def test_it_can_be_restored_to_any_moment_of_a_week(deployed: Deployed) -> None:
    (backups,) = _settings(deployed)["backup_configuration"]
    assert backups["enabled"] is True
    assert backups["point_in_time_recovery_enabled"] is True
    assert backups["transaction_log_retention_days"] == 7
    assert backups["backup_retention_settings"][0]["retained_backups"] >= 7
    assert _settings(deployed)["retain_backups_on_delete"] is True


def test_a_restored_instance_takes_over_and_nothing_is_deleted(restored: list[dict[str, Any]]) -> None:
    kinds = {"google_sql_database_instance", "google_sql_database", "google_sql_user"}
    for change in restored:
        assert "delete" not in change["change"]["actions"], change["address"]
        # What has the instance's name in it is there already, and comes into the state.
        assert bool(change["change"].get("importing")) == (change["type"] in kinds), change["address"]
    told = {
        change["address"]: change["change"]["after"]["service_config"][0]["environment_variables"]
        for change in restored
        if change["type"] == "google_cloudfunctions2_function"
    }
    with_database = [variables for variables in told.values() if "DATABASE_URL" in variables]
    (address,) = {urlsplit(variables["DATABASE_URL"]).hostname for variables in with_database}
    (instance,) = [change["change"]["after"] for change in restored if change["type"] == "google_sql_database_instance"]
    assert (instance["name"], instance["private_ip_address"]) == ("kapas-restored", address)
    assert {variables["DATABASE_CA"] for variables in with_database} == {"certificate of the CA of kapas-restored"}


def test_who_may_connect_may_connect_to_an_instance_that_is_restored(deployed: Deployed) -> None:
    grants = [grant for grant in deployed.grants if grant.role.startswith("roles/cloudsql.") and grant.condition]
    assert {grant.member for grant in grants} >= {
        deployed.account("database-migrator"),
        deployed.account("outbox-relay"),
    }
    for grant in grants:
        (start,) = re.findall(r'resource\.name\.startsWith\("(.*?)"\)', grant.condition)
        for instance in ("kapas", "kapas-restored"):
            assert f"projects/{deployed.project}/instances/{instance}".startswith(start), grant


def test_the_database_in_the_instance_is_protected_as_the_instance_is(deployed: Deployed) -> None:
    protected = deployed.one("sql_database_instance")["deletion_protection"]
    assert deployed.one("sql_database")["deletion_policy"] == ("PREVENT" if protected else "DELETE")
    assert protected == (deployed.name == "prod")


def test_no_personal_data_in_its_logs(deployed: Deployed) -> None:
    assert _flags(deployed)["log_parameter_max_length"] == "0"
    assert _flags(deployed).get("log_statement") in ("none", "ddl")
    (insights,) = _settings(deployed)["insights_config"]
    assert insights["record_client_address"] is False


def test_who_connects_and_who_waits_is_logged(deployed: Deployed) -> None:
    for flag in ("log_checkpoints", "log_connections", "log_disconnections", "log_lock_waits"):
        assert _flags(deployed)[flag] == "on", flag


def test_documents_can_be_restored(deployed: Deployed) -> None:
    database = deployed.one("firestore_database")
    assert database["point_in_time_recovery_enablement"] == "POINT_IN_TIME_RECOVERY_ENABLED"
    assert deployed.one("firestore_backup_schedule")["database"] == database["name"]
