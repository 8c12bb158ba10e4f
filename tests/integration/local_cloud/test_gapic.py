"""The trick of `gapic.py` leans on private attributes of the clients: their method tables are pinned here."""

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcTransport
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.pubsub_v1 import PublisherClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from local_cloud import gapic

TRANSPORTS = (
    CloudSchedulerGrpcTransport,
    CloudTasksGrpcTransport,
    FirestoreGrpcTransport,
    KeyManagementServiceGrpcTransport,
    PublisherGrpcTransport,
    SecretManagerServiceGrpcTransport,
    SubscriberGrpcTransport,
)
TABLE = Path(__file__).with_name("gapic_methods.json")


def test_the_clients_call_the_methods_that_the_local_cloud_was_written_for() -> None:
    actual = {
        transport.__name__: {path: kind for path, (kind, _, _) in sorted(gapic.methods(transport).items())}
        for transport in TRANSPORTS
    }
    expected = json.loads(TABLE.read_text())
    for name, methods in actual.items():
        assert methods == expected[name], f"{name} has changed: look at each difference, then write it to {TABLE.name}"
    assert expected.keys() == actual.keys()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_method_has_its_own_reader_and_writer(transport: type) -> None:
    for path, (_, request, response) in gapic.methods(transport).items():
        for message in (request, response):
            assert hasattr(message, "deserialize") or hasattr(message, "FromString"), path
            assert hasattr(message, "serialize") or hasattr(message, "SerializeToString"), path


class Topics:
    """Implements one method well and one badly."""

    def GetTopic(self, request: types.GetTopicRequest, _: grpc.ServicerContext) -> types.Topic:
        if request.topic == "broken":
            raise KeyError(request.topic)
        if request.topic == "missing":
            raise exceptions.NotFound("no such topic")
        return types.Topic(name=request.topic)


@pytest.fixture
def client() -> Iterator[PublisherClient]:
    server, port = gapic.serve({PublisherGrpcTransport: Topics()}, threads=2)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield PublisherClient(transport=PublisherGrpcTransport(channel=channel))
    server.stop(None).wait()


def test_a_handler_answers_its_client(client: PublisherClient) -> None:
    assert client.get_topic(topic="lots").name == "lots"


def test_a_handler_raises_through_to_its_client(client: PublisherClient) -> None:
    with pytest.raises(exceptions.NotFound, match="no such topic"):
        client.get_topic(topic="missing")


def test_a_fault_of_a_handler_is_internal(client: PublisherClient) -> None:
    with pytest.raises(exceptions.InternalServerError, match="KeyError"):
        client.get_topic(topic="broken")


def test_a_method_that_a_handler_lacks_is_unimplemented(client: PublisherClient) -> None:
    with pytest.raises(exceptions.MethodNotImplemented):
        client.create_topic(name="lots")
