"""The peer of the relay figure: Google's PublisherClient on payloads made beforehand; no database, nothing to mark.

`python -m tools.bench.peers.publisher PORT`: a GET is answered with 204 at once, a POST when everything is acknowledged.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.types import BatchSettings, PublisherOptions

from functions.trade_events.event_models import BidPlaced
from kapas.messaging.events import CONTENT_TYPE
from local_cloud.environment import PROJECT
from tools.bench import relay

TOPIC = f"projects/{PROJECT}/topics/{relay.TOPIC}"


class Publish(BaseHTTPRequestHandler):
    """The trigger, so that both sides are timed from the outside."""

    protocol_version = "HTTP/1.1"
    client = pubsub_v1.PublisherClient(
        batch_settings=BatchSettings(max_messages=500, max_bytes=1_000_000, max_latency=0.005),
        publisher_options=PublisherOptions(enable_message_ordering=True),
    )
    messages: list[tuple[str, bytes]] = []  # noqa: RUF012 - one server a process

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        pending = [
            self.client.publish(TOPIC, data, ordering_key=key, **{"content-type": CONTENT_TYPE, "type": BidPlaced.type})
            for key, data in self.messages
        ]
        for future in pending:
            future.result(timeout=60)
        self._answer()

    def _answer(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
        """Nothing: the runner tells what happened."""


def main() -> None:
    data = json.loads(relay.payload())
    Publish.messages = [(str(key), relay.encoded(key, sequence, data)) for key, sequence in relay.subjects()]
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Publish).serve_forever()


if __name__ == "__main__":
    main()
