"""What the stand-in knows of Google Cloud beyond the schema: names, what must be there first, what cannot be changed.

From the providers' documentation and Google's: the formats of ids, service agents, and who needs a key before a resource
can be encrypted with it (https://cloud.google.com/kms/docs/cmek).
"""

import re

PROJECT_NUMBER = "123456789012"

SERVICE_AGENTS = {
    "artifactregistry.googleapis.com": "gcp-sa-artifactregistry",
    "cloudfunctions.googleapis.com": "gcf-admin-robot",
    "cloudscheduler.googleapis.com": "gcp-sa-cloudscheduler",
    "cloudtasks.googleapis.com": "gcp-sa-cloudtasks",
    "firestore.googleapis.com": "gcp-sa-firestore",
    "pubsub.googleapis.com": "gcp-sa-pubsub",
    "run.googleapis.com": "serverless-robot-prod",
    "secretmanager.googleapis.com": "gcp-sa-secretmanager",
    "sqladmin.googleapis.com": "gcp-sa-cloud-sql",
}

FORCES_NEW = (
    "name",
    "project",
    "location",
    "region",
    "account_id",
    "role",
    "member",
    "service",
    "topic",
    "instance",
    "key_ring",
    "bucket",
)
"""Arguments that no resource can change in place. Others that force a new resource are not known."""

COMPUTED = {
    "*": {
        "id": "projects/{project}/{name}",
        "self_link": "https://www.googleapis.com/compute/v1/projects/{project}/{name}",
        "etag": "BwX",
    },
    "google_artifact_registry_repository": {
        "id": "projects/{project}/locations/{location}/repositories/{repository_id}",
        "name": "{repository_id}",
    },
    "google_artifact_registry_repository_iam_member": {"id": "{repository}/{role}/{member}"},
    "google_cloud_run_v2_service_iam_member": {
        "id": "projects/{project}/locations/{location}/services/{name}/{role}/{member}"
    },
    "google_cloud_scheduler_job": {"id": "projects/{project}/locations/{region}/jobs/{name}"},
    "google_cloud_tasks_queue": {"id": "projects/{project}/locations/{location}/queues/{name}"},
    "google_cloud_tasks_queue_iam_member": {
        "id": "projects/{project}/locations/{location}/queues/{name}/{role}/{member}"
    },
    "google_cloudfunctions2_function": {"id": "projects/{project}/locations/{location}/functions/{name}"},
    "google_compute_address": {"address": "192.0.2.10"},
    "google_firestore_database": {"id": "projects/{project}/databases/{name}"},
    "google_firestore_index": {
        "name": "projects/{project}/databases/{database}/collectionGroups/{collection}/indexes/{fields}"
    },
    "google_firebaserules_ruleset": {"name": "projects/{project}/rulesets/1"},
    "google_kms_crypto_key": {"id": "{key_ring}/cryptoKeys/{name}"},
    "google_kms_crypto_key_iam_member": {"id": "{crypto_key_id}/{role}/{member}"},
    "google_kms_key_ring": {"id": "projects/{project}/locations/{location}/keyRings/{name}"},
    "google_logging_project_bucket_config": {"id": "projects/{project}/locations/{location}/buckets/{bucket_id}"},
    "google_logging_project_sink": {
        "writer_identity": "serviceAccount:service-{number}@gcp-sa-logging.iam.gserviceaccount.com"
    },
    "google_monitoring_slo": {
        "id": "projects/{project}/services/{service}/serviceLevelObjectives/{slo_id}",
        "name": "projects/{project}/services/{service}/serviceLevelObjectives/{slo_id}",
    },
    "google_project_iam_custom_role": {
        "id": "projects/{project}/roles/{role_id}",
        "name": "projects/{project}/roles/{role_id}",
    },
    "google_project_iam_member": {"id": "{project}/{role}/{member}"},
    "google_project_service": {"id": "{project}/{service}"},
    "google_project_service_identity": {
        "id": "projects/{project}/services/{service}",
        "email": "service-{number}@{agent}.iam.gserviceaccount.com",
        "member": "serviceAccount:service-{number}@{agent}.iam.gserviceaccount.com",
    },
    "google_pubsub_subscription": {"id": "projects/{project}/subscriptions/{name}"},
    "google_pubsub_subscription_iam_member": {"id": "{subscription}/{role}/{member}"},
    "google_pubsub_topic": {"id": "projects/{project}/topics/{name}"},
    "google_pubsub_topic_iam_member": {"id": "{topic}/{role}/{member}"},
    "google_secret_manager_secret": {
        "id": "projects/{project}/secrets/{secret_id}",
        "name": "projects/{number}/secrets/{secret_id}",
    },
    "google_secret_manager_secret_iam_member": {"id": "{secret_id}/{role}/{member}"},
    "google_service_account": {
        "id": "projects/{project}/serviceAccounts/{account_id}@{project}.iam.gserviceaccount.com",
        "name": "projects/{project}/serviceAccounts/{account_id}@{project}.iam.gserviceaccount.com",
        "email": "{account_id}@{project}.iam.gserviceaccount.com",
        "member": "serviceAccount:{account_id}@{project}.iam.gserviceaccount.com",
    },
    "google_service_account_iam_member": {"id": "{service_account_id}/{role}/{member}"},
    "google_sql_database_instance": {
        "id": "{name}",
        "connection_name": "{project}:{region}:{name}",
        "private_ip_address": "10.20.0.{octet}",
    },
    "google_sql_user": {"id": "{name}//{instance}"},
    "google_storage_bucket": {"id": "{name}", "url": "gs://{name}"},
    "google_storage_bucket_iam_member": {"id": "{bucket}/{role}/{member}"},
    "data.google_project": {"id": "projects/{project_id}", "number": "{number}", "name": "{project_id}"},
    "data.google_storage_project_service_account": {
        "email_address": "service-{number}@gs-project-accounts.iam.gserviceaccount.com",
        "member": "serviceAccount:service-{number}@gs-project-accounts.iam.gserviceaccount.com",
    },
    "data.google_sql_ca_certs": {
        "certs": [
            {
                "cert": "certificate of the CA of {instance}",
                "common_name": "",
                "create_time": "",
                "expiration_time": "",
                "sha1_fingerprint": "",
            }
        ],
    },
    "data.google_logging_project_cmek_settings": {
        "service_account_id": "service-{number}@gcp-sa-logging.iam.gserviceaccount.com",
    },
}
"""Type -> computed attribute -> its value. `{fields}` is the paths of an index, `{octet}` a number that follows the name."""

IMPORTED = {
    "google_sql_database_instance": r"(?P<name>[^/]+)",
    "google_sql_database": r"(?P<instance>[^/]+)/(?P<name>[^/]+)",
    "google_sql_user": r"(?P<project>[^/]+)/(?P<instance>[^/]+)/(?P<name>[^/]+)",
}
"""Type -> the form of the id by which one is imported."""

KNOWN_WHEN_PLANNED = {"google_service_account": ("email", "member")}
"""Computed attributes that the real provider already knows at plan time."""

PATTERNS = {
    "google_service_account": {"account_id": r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])"},
    "google_pubsub_topic": {"name": r"(?!goog)[A-Za-z][\w.~+%-]{2,254}"},
    "google_pubsub_subscription": {"name": r"(?!goog)[A-Za-z][\w.~+%-]{2,254}"},
    "google_storage_bucket": {"name": r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"},
    "google_cloudfunctions2_function": {"name": r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"},
}

EXACTLY_ONE = {
    "google_cloud_scheduler_job": [("pubsub_target", "http_target", "app_engine_http_target")],
    "google_logging_metric": [],
}

AT_MOST_ONE = {
    "google_pubsub_subscription": [("push_config", "bigquery_config", "cloud_storage_config")],
    "google_compute_region_target_https_proxy": [("ssl_certificates", "certificate_manager_certificates")],
}

ENCRYPTED = {
    "google_artifact_registry_repository": ("kms_key_name", ("gcp-sa-artifactregistry",)),
    "google_cloudfunctions2_function": (
        "kms_key_name",
        ("gcf-admin-robot", "serverless-robot-prod", "gcp-sa-artifactregistry", "gs-project-accounts"),
    ),
    "google_firestore_database": ("cmek_config.kms_key_name", ("gcp-sa-firestore",)),
    "google_logging_project_bucket_config": ("cmek_settings.kms_key_name", ("gcp-sa-logging",)),
    "google_pubsub_topic": ("kms_key_name", ("gcp-sa-pubsub",)),
    "google_secret_manager_secret": (
        "replication.user_managed.replicas.customer_managed_encryption.kms_key_name",
        ("gcp-sa-secretmanager",),
    ),
    "google_sql_database_instance": ("encryption_key_name", ("gcp-sa-cloud-sql",)),
    "google_storage_bucket": ("encryption.default_kms_key_name", ("gs-project-accounts",)),
}
"""Type -> where it names its key, and the service agents that must be allowed to use the key by then."""

REFERENCES = {
    "google_pubsub_subscription": [
        ("topic", "google_pubsub_topic"),
        ("dead_letter_policy.dead_letter_topic", "google_pubsub_topic"),
    ],
    "google_cloud_run_v2_service_iam_member": [("name", "google_cloudfunctions2_function")],
    "google_sql_user": [("instance", "google_sql_database_instance")],
    "google_compute_region_network_endpoint_group": [("cloud_run.service", "google_cloudfunctions2_function")],
}
"""Type -> arguments that name another resource, which must be there by then."""

SECRETS = ("google_cloudfunctions2_function", "service_config.service_account_email")
"""The type that reads secrets while it is made, and where it names the account that must be allowed to by then."""

ROLES_OF_A_CONDITION = 10
"""How many roles `hasOnly` takes (https://cloud.google.com/iam/docs/setting-limits-on-granting-roles)."""

PREREQUISITES = {
    "google_cloudbuild_worker_pool": "google_service_networking_connection",
    "google_sql_database_instance": "google_service_networking_connection",
}
"""Type -> another that must be there by then, though no argument names it."""

PROTECTED = (
    ("deletion_protection", True),
    ("deletion_policy", "PREVENT"),
    ("delete_protection_state", "DELETE_PROTECTION_ENABLED"),
)
"""An attribute and its value that make the provider refuse to delete a resource."""


def refused_condition(expression: str) -> str | None:
    """Why IAM refuses the condition of a grant; None where it takes it."""
    for roles in re.findall(r"hasOnly\(\[([^\]]*)\]\)", expression):
        if len(roles.split(",")) > ROLES_OF_A_CONDITION:
            return f"hasOnly takes {ROLES_OF_A_CONDITION} roles at most, not {len(roles.split(','))}"
    return None
