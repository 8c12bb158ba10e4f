"""What Terraform makes on Google Cloud, made here through the official clients: topics, queues, schedules, keys, roles."""

from typing import Any

import grpc
from google.api_core.exceptions import Conflict
from google.auth.credentials import AnonymousCredentials
from google.cloud import kms_v1, pubsub_v1, scheduler_v1, storage, tasks_v2
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcTransport
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from pg8000.native import Connection, identifier

from local_cloud.environment import (
    DATABASE,
    PROJECT,
    PUSH_CALLER,
    SCHEDULE_CALLER,
    Addresses,
    bucket_name,
    key_name,
    receipt_key_name,
)
from tools import grants
from tools.catalog import ROOT, Catalog, Queue
from tools.migrations import migrate

TIME_ZONE = "Asia/Kolkata"
DEAD_LETTER_ATTEMPTS = 10


def provision(catalog: Catalog, at: Addresses) -> None:
    """Make everything that is not there yet; what is there stays as it is."""
    with grpc.insecure_channel(at.grpc) as channel:
        _topics(catalog, at, channel)
        _queues(catalog, channel)
        _schedules(catalog, at, channel)
        _keys(catalog, channel)
    _buckets(catalog, at)


def prepare_database(catalog: Catalog, port: int) -> None:
    """Create the database, apply the migrations, and let each capability's role log in."""
    with Connection("postgres", host="127.0.0.1", port=port, database="postgres") as connection:
        if not connection.run("SELECT FROM pg_database WHERE datname = :name", name=DATABASE):
            connection.run(f"CREATE DATABASE {identifier(DATABASE)}")
    with Connection("postgres", host="127.0.0.1", port=port, database=DATABASE) as connection:
        migrate(connection, ROOT / "migrations", finish=grants.apply)
        for role in sorted({f.database.role for f in catalog.functions.values() if f.database}):
            connection.run(f"ALTER ROLE {identifier(role)} LOGIN")


def _topics(catalog: Catalog, at: Addresses, channel: grpc.Channel) -> None:
    publisher: Any = pubsub_v1.PublisherClient(transport=PublisherGrpcTransport(channel=channel))
    subscriber: Any = pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    for topic in catalog.topics:
        _make(publisher.create_topic, name=_topic(topic))
    for name, (topic, function) in catalog.subscriptions().items():
        dead = f"{name}.dead-letter"
        _make(publisher.create_topic, name=_topic(dead))
        _make(subscriber.create_subscription, name=_subscription(dead), topic=_topic(dead))
        url = at.function(function)
        request = {
            "name": _subscription(name),
            "topic": _topic(topic),
            "enable_message_ordering": True,
            "ack_deadline_seconds": max(10, catalog.functions[function].timeout_seconds),
            "push_config": {
                "push_endpoint": url,
                "oidc_token": {"service_account_email": PUSH_CALLER, "audience": url},
            },
            "retry_policy": {"minimum_backoff": _seconds(1), "maximum_backoff": _seconds(60)},
            "dead_letter_policy": {
                "dead_letter_topic": _topic(dead),
                "max_delivery_attempts": DEAD_LETTER_ATTEMPTS,
            },
        }
        if not _make(subscriber.create_subscription, request=request):
            # The port may be another one than at the last start.
            subscriber.modify_push_config(subscription=request["name"], push_config=request["push_config"])


def _queues(catalog: Catalog, channel: grpc.Channel) -> None:
    client: Any = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
    parent = f"projects/{PROJECT}/locations/{catalog.region}"
    for name, queue in catalog.queues.items():
        _make(client.create_queue, parent=parent, queue={"name": f"{parent}/queues/{name}", **_limits(queue)})


def _limits(queue: Queue) -> dict[str, Any]:
    return {
        "rate_limits": {
            "max_dispatches_per_second": queue.max_dispatches_per_second,
            "max_concurrent_dispatches": queue.max_concurrent_dispatches,
        },
        "retry_config": {
            "max_attempts": queue.max_attempts,
            "min_backoff": _seconds(queue.min_backoff_seconds),
            "max_backoff": _seconds(queue.max_backoff_seconds),
        },
    }


def _schedules(catalog: Catalog, at: Addresses, channel: grpc.Channel) -> None:
    client: Any = scheduler_v1.CloudSchedulerClient(transport=CloudSchedulerGrpcTransport(channel=channel))
    parent = f"projects/{PROJECT}/locations/{catalog.region}"
    for name, function in catalog.functions.items():
        if function.trigger.schedule is None:
            continue
        url = at.function(name)
        job = {
            "name": f"{parent}/jobs/{name}",
            "schedule": function.trigger.schedule,
            "time_zone": TIME_ZONE,
            "attempt_deadline": _seconds(function.timeout_seconds),
            "http_target": {
                "uri": url,
                "http_method": "POST",
                "oidc_token": {"service_account_email": SCHEDULE_CALLER, "audience": url},
            },
        }
        if not _make(client.create_job, parent=parent, job=job):
            client.update_job(job=job, update_mask={"paths": ["schedule", "http_target"]})


def _keys(catalog: Catalog, channel: grpc.Channel) -> None:
    transport = KeyManagementServiceGrpcTransport(channel=channel)
    client: Any = kms_v1.KeyManagementServiceClient(transport=transport)
    ring, _, key = key_name(catalog).rpartition("/cryptoKeys/")
    parent, _, ring_id = ring.rpartition("/keyRings/")
    _make(client.create_key_ring, parent=parent, key_ring_id=ring_id, key_ring={})
    purpose = kms_v1.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT
    _make(client.create_crypto_key, parent=ring, crypto_key_id=key, crypto_key={"purpose": purpose})
    signing = {
        "purpose": kms_v1.CryptoKey.CryptoKeyPurpose.ASYMMETRIC_SIGN,
        "version_template": {
            "algorithm": kms_v1.CryptoKeyVersion.CryptoKeyVersionAlgorithm.EC_SIGN_P256_SHA256,
        },
    }
    _, _, receipts = receipt_key_name(catalog).rpartition("/cryptoKeys/")
    _make(client.create_crypto_key, parent=ring, crypto_key_id=receipts, crypto_key=signing)


def _buckets(catalog: Catalog, at: Addresses) -> None:
    options = {"api_endpoint": at.storage}
    client: Any = storage.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options=options)
    for bucket in catalog.buckets():
        _make(client.create_bucket, bucket_or_name=bucket_name(bucket), location=catalog.region)


def _make(create: Any, **request: Any) -> bool:
    """Create something; False if it is there already."""
    try:
        create(**request)
    except Conflict:
        return False
    return True


def _topic(name: str) -> str:
    return f"projects/{PROJECT}/topics/{name}"


def _subscription(name: str) -> str:
    return f"projects/{PROJECT}/subscriptions/{name}"


def _seconds(value: float) -> Duration:
    return Duration(seconds=int(value), nanos=int(value % 1 * 1e9))
