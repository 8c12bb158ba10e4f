"""Cloud Storage's holds and retention policies through the official client."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from google.api_core import exceptions
from google.cloud import storage

from local_cloud.conformance.storage_server import Served, no_network, put, refused, serving
from local_cloud.core import Core
from local_cloud.state import State


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Core(no_network), State()) as served:
        yield served


@pytest.fixture
def bucket(served: Served) -> storage.Bucket:
    return served.client.create_bucket("kapas-exports", location="asia-south1")


def test_a_hold_keeps_an_object(bucket: storage.Bucket) -> None:
    blob = put(bucket, "evidence")
    for hold in ("temporary_hold", "event_based_hold"):
        setattr(blob, hold, True)
        blob.patch()
        refused(blob.delete, "objectUnderActiveHold")
        refused(lambda: put(bucket, "evidence", b"other"), "objectUnderActiveHold")
        setattr(blob, hold, False)
        blob.patch()
    blob.delete()


def test_retention_keeps_every_object_for_its_period(served: Served, bucket: storage.Bucket) -> None:
    bucket.retention_period = 3600
    bucket.patch()
    assert bucket.retention_policy_effective_time
    blob = put(bucket, "ledger")
    blob.reload()
    assert blob.retention_expiration_time == blob.time_created + timedelta(hours=1)
    refused(blob.delete, "retentionPolicyNotMet")
    refused(lambda: put(bucket, "ledger", b"other"), "retentionPolicyNotMet")
    refused(lambda: blob.compose([blob]), "retentionPolicyNotMet")
    refused(lambda: blob.rewrite(blob), "retentionPolicyNotMet")
    served.core.clock.advance(timedelta(minutes=59))
    refused(blob.delete, "retentionPolicyNotMet")
    served.core.clock.advance(timedelta(minutes=2))
    blob.delete()


def test_a_locked_policy_only_grows(bucket: storage.Bucket) -> None:
    bucket.retention_period = 100
    bucket.patch()
    bucket.retention_period = 50
    bucket.patch()
    bucket.lock_retention_policy()
    assert bucket.retention_policy_locked
    for period in (49, None):
        bucket.retention_period = period
        refused(bucket.patch, "forbidden")
    bucket.reload()
    bucket.retention_period = 200
    bucket.patch()
    assert bucket.retention_policy_locked
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.client._connection.api_request(
            method="POST", path=f"{bucket.path}/lockRetentionPolicy", query_params={"ifMetagenerationMatch": 1}
        )


def test_retention_counts_from_the_release_of_an_event_based_hold(served: Served, bucket: storage.Bucket) -> None:
    bucket.default_event_based_hold = True
    bucket.retention_period = 3600
    bucket.patch()
    blob = put(bucket, "contract")
    blob.reload()
    assert blob.event_based_hold
    assert blob.retention_expiration_time is None
    served.core.clock.advance(timedelta(days=9))
    refused(blob.delete, "objectUnderActiveHold")
    blob.event_based_hold = False
    blob.patch()
    assert blob.retention_expiration_time > served.core.now() + timedelta(minutes=59)
    refused(blob.delete, "retentionPolicyNotMet")
    served.core.clock.advance(timedelta(hours=2))
    blob.delete()
