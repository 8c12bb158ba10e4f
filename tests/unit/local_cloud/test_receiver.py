"""The local webhook receiver, over HTTP as partners' endpoints are reached."""

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook
from werkzeug.test import Client, TestResponse

from local_cloud.core import VirtualClock
from local_cloud.receiver import HANG, Answer, Receiver, fault_of
from local_cloud.state import State
from tests.times import PATIENCE, eventually

OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
BODY = '{"type":"trade.contracted.v1","note":"गाँठ"}'.encode()
URL = "/_local/receiver/mill"


class Setup:
    """A receiver with the endpoint `mill` under a clock that stands still, and a client."""

    def __init__(self) -> None:
        self.clock = VirtualClock(datetime(2031, 5, 1, tzinfo=UTC), frozen=True)
        self.receiver = Receiver(self.clock.now)
        self.receiver.add("mill", OLD)
        self.client = Client(self.receiver)

    def headers(self, secret: str = OLD, *, identifier: str = "msg_1", body: bytes = BODY) -> dict[str, str]:
        """The three headers, signed as the specification says, without help of the package."""
        stamp = str(int(self.clock.now().timestamp()))
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.new(key, f"{identifier}.{stamp}.".encode() + body, hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(digest).decode()}"
        return {"webhook-id": identifier, "webhook-timestamp": stamp, "webhook-signature": signature}

    def post(self, headers: dict[str, str] | None = None, body: bytes = BODY) -> TestResponse:
        headers = self.headers() if headers is None else headers
        return self.client.post(URL, data=body, headers=headers, content_type="application/json")

    def listed(self) -> list[dict[str, Any]]:
        return self.client.get(URL).get_json()["data"]


@pytest.fixture
def mill() -> Setup:
    return Setup()


def test_the_published_example() -> None:
    """The example of the Standard Webhooks reference libraries."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    now = datetime.fromtimestamp(1614265330, UTC)
    assert fault_of(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], headers, b'{"test": 2432232314}', now) is None


def test_agrees_with_the_package_when_the_clock_is_real() -> None:
    now = datetime.now(UTC)
    webhook = Webhook(NEW)
    stamp = str(int(now.timestamp()))
    signature = f"v1a,bm90aGluZw== v1,{'A' * 43}= {webhook.sign('msg_1', now, BODY.decode())}"
    headers = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}
    webhook.verify(BODY, headers)
    assert fault_of([NEW], headers, BODY, now) is None


def test_a_delivery_is_verified_and_listed(mill: Setup) -> None:
    headers = mill.headers()
    assert mill.post(headers).status_code == 200
    mill.clock.advance(timedelta(days=3))
    assert mill.post().status_code == 200
    first, second = mill.listed()
    assert first | {"headers": {}} == {
        "time": "2031-05-01T00:00:00.000000Z",
        "webhook_id": "msg_1",
        "headers": {},
        "body": BODY.decode(),
        "verified": True,
        "fault": None,
        "seen": 1,
        "status": 200,
    }
    assert first["headers"] | headers | {"content-type": "application/json"} == first["headers"]
    assert (second["time"], second["seen"]) == ("2031-05-04T00:00:00.000000Z", 2)
    assert mill.client.get("/_local/receiver").get_json() == {"data": ["mill"]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda mill: (mill.headers(NEW), BODY), "no signature matches"),
        (lambda mill: (mill.headers(), BODY + b" "), "no signature matches"),
        (lambda mill: (mill.headers() | {"webhook-id": "msg_2"}, BODY), "no signature matches"),
        (lambda mill: (mill.headers() | {"webhook-signature": "v1 , v1,é v2"}, BODY), "no signature matches"),
        (lambda mill: (mill.headers(body=b"\xff"), b"\xff"), "the body is not UTF-8"),
        (lambda mill: (mill.headers() | {"webhook-timestamp": "now"}, BODY), "the timestamp is not in Unix seconds"),
        (lambda mill: (mill.headers() | {"webhook-timestamp": "9" * 12}, BODY), "the timestamp is not in Unix seconds"),
        (lambda mill: ({}, BODY), "a webhook header is missing"),
    ],
)
def test_a_false_delivery(mill: Setup, change: Callable[[Setup], tuple[dict[str, str], bytes]], fault: str) -> None:
    headers, body = change(mill)
    assert mill.post(headers, body).status_code == 401
    [delivery] = mill.listed()
    assert (delivery["verified"], delivery["fault"], delivery["status"]) == (False, fault, 401)


def test_the_timestamp_is_held_to_the_local_clock(mill: Setup) -> None:
    headers = mill.headers()
    mill.clock.advance(timedelta(minutes=5))
    assert mill.post(headers).status_code == 200
    mill.clock.advance(timedelta(seconds=1))
    assert mill.post(headers).get_json() == {"verified": False, "fault": "the timestamp is too old"}
    early = mill.headers()
    mill.clock.offset -= timedelta(minutes=5, seconds=1)
    assert mill.post(early).get_json()["fault"] == "the timestamp is too new"


def test_rotation(mill: Setup) -> None:
    mill.receiver.add("mill", NEW)
    assert [mill.post(mill.headers(secret)).status_code for secret in (OLD, NEW)] == [200, 200]
    both = mill.headers(OLD)
    both["webhook-signature"] += " " + mill.headers(NEW)["webhook-signature"]
    mill.receiver.retire("mill", OLD)
    assert mill.post(both).status_code == 200
    assert mill.post(mill.headers(OLD)).status_code == 401


def test_answers_on_demand(mill: Setup) -> None:
    mill.receiver.answer("mill", Answer(500, times=2), Answer(429, retry_after=30), Answer(410, times=None))
    answers = [mill.post(mill.headers()) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [500, 500, 429, 410, 410]
    assert [answer.headers.get("Retry-After") for answer in answers] == [None, None, "30", None, None]
    assert [delivery["seen"] for delivery in mill.listed()] == [1, 2, 3, 4, 5]
    assert all(delivery["verified"] for delivery in mill.listed())
    mill.receiver.answer("mill")
    assert mill.post().status_code == 200


def test_hangs_until_released(mill: Setup) -> None:
    mill.receiver.answer("mill", Answer(200, delay=HANG))
    answers: list[TestResponse] = []
    caller = threading.Thread(target=lambda: answers.append(mill.post()))
    caller.start()
    eventually(lambda: mill.receiver.deliveries("mill"), "the delivery")
    assert caller.is_alive()
    assert answers == []
    mill.receiver.release()
    caller.join(PATIENCE)
    assert [answer.status_code for answer in answers] == [200]
    assert len(mill.listed()) == 1


def test_set_up_over_http(mill: Setup) -> None:
    wish = {"secret": NEW, "answers": [{"status": 503, "retry_after": "120"}]}
    assert mill.client.put("/_local/receiver/ginner", json=wish).get_json() == {"url": "/_local/receiver/ginner"}
    answer = mill.client.post("/_local/receiver/ginner", data=BODY, headers=mill.headers(NEW))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "120")
    assert mill.client.post("/_local/receiver/ginner", data=BODY, headers=mill.headers(NEW)).status_code == 200


@pytest.mark.parametrize(
    "wish",
    [
        b"{",
        b"[]",
        b'{"secret": "short"}',
        b'{"secret": "whsec_c2hvcnQ="}',
        b'{"secret": 7}',
        b'{"answers": [{"status": 42}]}',
        b'{"answers": [{"status": "500"}]}',
        b'{"answers": [{"wait": 1}]}',
        b'{"answers": [{"status": 500, "times": 0}]}',
    ],
)
def test_an_unfit_wish(mill: Setup, wish: bytes) -> None:
    assert mill.client.put("/_local/receiver/other", data=wish).status_code == 422
    assert mill.client.get("/_local/receiver").get_json() == {"data": ["mill"]}


def test_unknown_endpoints_and_methods(mill: Setup) -> None:
    assert mill.client.post("/_local/receiver/nobody", data=BODY).status_code == 404
    assert mill.client.get("/_local/receiver/nobody").status_code == 404
    assert mill.client.delete(URL).status_code == 405
    assert mill.client.post("/_local/receiver", data=BODY).status_code == 405


def test_endpoints_outlive_a_restart(mill: Setup, tmp_path: Any) -> None:
    before = State(tmp_path / "state.db")
    receiver = Receiver(mill.clock.now, before)
    receiver.add("mill", OLD)
    receiver.add("mill", NEW)
    receiver.retire("mill", OLD)
    before.close()
    mill.client = Client(Receiver(mill.clock.now, State(tmp_path / "state.db")))
    assert mill.post(mill.headers(NEW)).status_code == 200
    assert mill.post(mill.headers(OLD)).status_code == 401
