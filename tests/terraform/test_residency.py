"""All data is in India, and encrypted with keys that are ours."""

from typing import Any

from tests.terraform.deployed import KEYS, Deployed

INDIA = {"asia-south1", "asia-south2"}
PLACES = ("location", "region", "location_id")


def test_everything_with_a_place_is_in_india(deployed: Deployed) -> None:
    placed = [(r.address, r.values[name]) for r in deployed.resources for name in PLACES if r.values.get(name)]
    assert len(placed) > 50
    assert {address: place for address, place in placed if place not in INDIA} == {}


def test_nothing_global_where_there_is_a_regional_kind(deployed: Deployed) -> None:
    allowed = {"google_compute_global_address"}
    found = {
        r.type
        for r in deployed.resources
        if "_global_" in r.type or r.type in ("google_compute_url_map", "google_compute_backend_service")
    }
    assert found <= allowed


def test_messages_stay_in_india_at_rest_and_under_way(deployed: Deployed) -> None:
    for topic in deployed.values("pubsub_topic"):
        (policy,) = topic["message_storage_policy"]
        assert set(policy["allowed_persistence_regions"]) <= INDIA, topic["name"]
        assert policy["allowed_persistence_regions"], topic["name"]
        assert policy["enforce_in_transit"] is True, topic["name"]


def test_secrets_are_replicated_within_india_only(deployed: Deployed) -> None:
    for secret in deployed.values("secret_manager_secret"):
        (replication,) = secret["replication"]
        assert not replication["auto"], secret["secret_id"]
        assert {replica["location"] for replica in replication["user_managed"][0]["replicas"]} <= INDIA


def test_backups_are_in_the_other_region(deployed: Deployed) -> None:
    instance = deployed.one("sql_database_instance")
    (backups,) = instance["settings"][0]["backup_configuration"]
    assert backups["location"] in INDIA - {instance["region"]}


def test_resources_outside_india_are_refused(deployed: Deployed) -> None:
    (policy,) = [p for p in deployed.values("org_policy_policy") if p["name"].endswith("/gcp.resourceLocations")]
    (rule,) = policy["spec"][0]["rules"]
    assert set(rule["values"][0]["allowed_values"]) == {f"in:{region}-locations" for region in INDIA}


def test_logs_are_kept_in_india_and_not_in_the_global_bucket(deployed: Deployed) -> None:
    buckets = {bucket["bucket_id"]: bucket for bucket in deployed.values("logging_project_bucket_config")}
    assert buckets["kapas-audit"]["retention_days"] >= 365
    assert buckets["kapas-system"]["retention_days"] >= 30
    filters = {
        sink["name"]: (sink["destination"].rpartition("/")[2], sink["filter"])
        for sink in deployed.values("logging_project_sink")
    }
    assert {destination for destination, _ in filters.values()} == set(buckets)
    # What one takes the other does not, so that no entry is in neither.
    assert filters["kapas-system"][1] == f"NOT {filters['kapas-audit'][1]}"
    assert deployed.one("logging_project_exclusion")["filter"] == "severity>=DEFAULT"


def _at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values[0] if isinstance(values, list) and values else values
        values = values.get(name) if isinstance(values, dict) else None
    return values


def test_everything_that_holds_data_is_encrypted_with_our_keys(deployed: Deployed) -> None:
    keys = {key["id"] for key in deployed.values("kms_crypto_key")}
    for kind, path in KEYS.items():
        for resource in deployed.of(kind):
            assert _at(resource.values, path) in keys, resource.address


def test_keys_are_rotated_and_not_destroyed_at_once(deployed: Deployed) -> None:
    for key in deployed.values("kms_crypto_key"):
        if key["purpose"] == "ENCRYPT_DECRYPT":
            assert 0 < int(key["rotation_period"].removesuffix("s")) <= 90 * 86400, key["name"]
        else:
            assert key["version_template"][0]["algorithm"] == "EC_SIGN_P256_SHA256", key["name"]
        assert int(key["destroy_scheduled_duration"].removesuffix("s")) >= 30 * 86400, key["name"]


def test_personal_data_receipts_and_platform_have_rings_of_their_own(deployed: Deployed) -> None:
    rings = {key["name"]: key["key_ring"].rpartition("/")[2] for key in deployed.values("kms_crypto_key")}
    assert rings.pop("personal-data") == "data"
    assert rings.pop("receipts") == "receipts"
    assert set(rings.values()) == {"platform"}


def test_data_is_protected_where_it_matters(deployed: Deployed) -> None:
    if deployed.name != "prod":
        return
    assert deployed.one("sql_database_instance")["deletion_protection"] is True
    assert deployed.one("firestore_database")["delete_protection_state"] == "DELETE_PROTECTION_ENABLED"
    assert not any(bucket["force_destroy"] for bucket in deployed.values("storage_bucket"))
    assert all(key["deletion_policy"] == "PREVENT" for key in deployed.values("kms_crypto_key"))


def test_buckets_are_closed(deployed: Deployed) -> None:
    for bucket in deployed.values("storage_bucket"):
        assert bucket["public_access_prevention"] == "enforced", bucket["name"]
        assert bucket["uniform_bucket_level_access"] is True, bucket["name"]


def test_exports_are_deleted_and_what_is_deleted_by_mistake_can_be_restored(deployed: Deployed) -> None:
    buckets = {
        bucket["name"].removeprefix(f"{deployed.project}-"): bucket for bucket in deployed.values("storage_bucket")
    }
    if "exports" in buckets:
        rules = [r for r in buckets["exports"]["lifecycle_rule"] if r["action"][0]["type"] == "Delete"]
        assert any(0 < (rule["condition"][0]["age"] or 0) <= 30 for rule in rules)
    # All but archives, which are made again.
    versioned = {name for name, bucket in buckets.items() if bucket["versioning"][0]["enabled"]}
    assert "exports" not in versioned
    assert "uploads" in versioned or "uploads" not in buckets


def test_each_use_of_a_key_is_on_record(deployed: Deployed) -> None:
    (audit,) = [a for a in deployed.values("project_iam_audit_config") if a["service"] == "cloudkms.googleapis.com"]
    assert "DATA_READ" in {config["log_type"] for config in audit["audit_log_config"]}
