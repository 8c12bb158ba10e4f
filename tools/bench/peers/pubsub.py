"""The local Pub/Sub alone in a process, for both sides of the relay figure: `python -m tools.bench.peers.pubsub PORT`."""

import os
import sys
import threading

from google.cloud import pubsub_v1
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from local_cloud import gapic
from local_cloud.core import Core, VirtualClock
from local_cloud.environment import PROJECT
from local_cloud.pubsub import PubSub
from local_cloud.state import State
from local_cloud.transport import HttpTransport
from tools.catalog import catalog


def main() -> None:
    core = Core(HttpTransport(1), clock=VirtualClock())
    service = PubSub(core, State(), lambda email, audience: f"{email} {audience}")
    _, port = gapic.serve({PublisherGrpcTransport: service}, int(sys.argv[1]))
    os.environ["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{port}"
    publisher = pubsub_v1.PublisherClient()
    for topic in catalog().topics:
        publisher.create_topic(name=f"projects/{PROJECT}/topics/{topic}")
    threading.Event().wait()


if __name__ == "__main__":
    main()
