"""A partner's webhook endpoint at a receiver of the local cloud."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from local_cloud.client import Answer, Client
from tests.journeys.partners import Partner


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook endpoint of a partner, at a receiver that knows its secret."""

    client: Client
    partner: Partner
    body: dict[str, Any]
    name: str = field(default_factory=lambda: uuid4().hex)

    @property
    def owner(self) -> Client:
        """With a token of now: the clock may have been moved."""
        return self.client.as_user("owner", self.partner.id, "owner")

    @property
    def path(self) -> str:
        return f"/v1/webhook-endpoints/{self.body['id']}"

    def read(self) -> Answer:
        return self.owner.get(self.path)

    def ask(self, what: str, body: Any = None, **options: Any) -> Answer:
        return self.owner.post(f"{self.path}/{what}", body, **options)

    def change(self, **changes: Any) -> Answer:
        headers = {"If-Match": self.read().etag}
        return self.owner.call("PATCH", self.path, changes, headers=headers)

    def answer(self, *answers: dict[str, Any]) -> None:
        """Have the receiver answer so from now on, then 200 to what verifies and 401 to what does not."""
        self.client.call("PUT", f"/_local/receiver/{self.name}", {"answers": list(answers)})

    def learn(self, secret: str) -> None:
        """Have the receiver accept this secret too."""
        self.client.call("PUT", f"/_local/receiver/{self.name}", {"secret": secret})

    def arrived(self) -> list[dict[str, Any]]:
        self.client.settle()
        return self.client.get(f"/_local/receiver/{self.name}").body["data"]

    def messages(self, event_type: str = "webhook.test") -> list[dict[str, Any]]:
        """With their attempts, the newest first."""
        query = f"endpoint_id={self.body['id']}&limit=100"
        found = self.owner.get(f"/v1/webhook-messages?{query}").body["data"]
        chosen = [message["id"] for message in found if message["event_type"] == event_type]
        return [self.owner.get(f"/v1/webhook-messages/{message_id}").body for message_id in chosen]


def subscribe(client: Client, partner: Partner, *event_types: str) -> Subscription:
    name = uuid4().hex
    body = {"url": f"{client.url}/_local/receiver/{name}", "event_types": list(event_types)}
    endpoint = partner.owner.post("/v1/webhook-endpoints", body, expect=201).body
    subscription = Subscription(client, partner, endpoint, name)
    subscription.learn(endpoint["secret"])
    return subscription


def assert_refused(answer: Answer, status: int, problem: str, *pointers: str) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.body
    assert answer.body["type"] == f"https://kapas.example.com/problems/{problem}"
    assert tuple(error["pointer"] for error in answer.body.get("errors", [])) == pointers


def advance(client: Client, duration: str) -> None:
    client.post("/_local/clock", {"advance": duration})
