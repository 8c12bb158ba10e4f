"""Webhook signatures, against the independent `standardwebhooks` package."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from functions.webhook_delivery import signatures
from functions.webhook_delivery.signatures import Secrets
from kapas.values import ids

secrets = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())


@given(secret=secrets, message_id=st.uuids(), body=st.text())
def test_another_implementation_accepts_them(secret: str, message_id: object, body: str) -> None:
    headers = signatures.headers([secret], str(message_id), datetime.now(UTC), body.encode())
    Webhook(secret).verify(body.encode(), headers, json_parse=False)


def test_signs_the_specification_s_example() -> None:
    headers = signatures.headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(old=secrets, new=secrets, body=st.text())
def test_two_secrets_are_each_verified(old: str, new: str, body: str) -> None:
    headers = signatures.headers([new, old], "msg-1", datetime.now(UTC), body.encode())
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        Webhook(secret).verify(body.encode(), headers, json_parse=False)


def test_the_previous_secret_is_signed_with_for_a_day_and_not_a_moment_longer() -> None:
    rotated_at = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
    first = Secrets(signatures.new_secret())
    assert first.valid(rotated_at) == [first.current]
    end = rotated_at + signatures.OVERLAP
    assert end == rotated_at + timedelta(hours=24)
    second = Secrets.load(first.rotated(signatures.new_secret(), end).dump().encode())
    assert second == Secrets(second.current, first.current, end)
    assert second.valid(end - timedelta(microseconds=1)) == [second.current, first.current]
    assert second.valid(end) == [second.current]


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body", "secret"])
def test_covers_id_time_and_body(changed: str) -> None:
    secret, body, now = signatures.new_secret(), b"{}", datetime.now(UTC)
    headers = signatures.headers([secret], "msg-1", now, body)
    if changed == "secret":
        secret = signatures.new_secret()
    elif changed == "body":
        body = b"{ }"
    else:
        headers[changed] = {"webhook-id": "msg-2", "webhook-timestamp": str(int(now.timestamp()) + 1)}[changed]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_a_new_secret_is_32_bytes_of_the_injected_randomness() -> None:
    with ids.use(lambda count: b"k" * count):
        assert signatures.new_secret() == "whsec_" + base64.b64encode(b"k" * 32).decode()
