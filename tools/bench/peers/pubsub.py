"""The local Pub/Sub alone in a process, for both sides of the relay figure: `python -m tools.bench.peers.pubsub PORT`."""

import os
import sys
import threading

from google.cloud import pubsub_v1
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from tools.catalog import catalog
from tools.local import gapic
from tools.local.core import Core, VirtualClock
from tools.local.environment import PROJECT
from tools.local.pubsub import PubSub
from tools.local.state import State
from tools.local.transport import HttpTransport


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
