from datetime import timedelta

import pytest
from google.api_core import exceptions
from google.pubsub_v1 import types

from local_cloud import pubsub_rules as rules
from local_cloud.pubsub_filter import compile_filter

TOPIC = "projects/kapas/topics/trade-events"
DEAD = "projects/kapas/topics/dead-letters"
SUBSCRIPTION = "projects/kapas/subscriptions/live-feed"
ENDPOINT = "https://feed.example.com/push"

ATTRIBUTES = {"domain": "com", "lang": "en-IN", "iana.org/tag": "hi", "quote": 'a"b'}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("attributes:domain", True),
        ("attributes:missing", False),
        ("NOT attributes:missing", True),
        ("-attributes:domain", False),
        ("NOT -attributes:domain", True),
        ('attributes.domain = "com"', True),
        ('attributes.domain="org"', False),
        ('attributes.domain != "org"', True),
        ('attributes.domain != "com"', False),
        ('attributes.missing != "com"', True),
        ('attributes.missing = ""', False),
        ('hasPrefix(attributes.lang, "en")', True),
        ('hasPrefix(attributes.lang, "IN")', False),
        ('hasPrefix(attributes.missing, "")', False),
        ('attributes:"iana.org/tag"', True),
        ('attributes."iana.org/tag" = "hi"', True),
        ('attributes."iana.org\\/tag" = "hi"', None),
        (r'attributes.quote = "a\"b"', True),
        (r'attributes.domain = "\u0063om"', True),
        ('attributes.domain = "com" AND attributes.lang = "en-IN"', True),
        ('attributes.domain = "com" AND attributes.lang = "de" AND attributes:domain', False),
        ('attributes.domain = "org" OR attributes.lang = "en-IN"', True),
        ('(attributes.domain = "org" OR attributes:lang) AND NOT attributes:missing', True),
        ("attributes:domain AND attributes:lang OR attributes:missing", None),
        ("attributes:domain and attributes:lang", None),
        ("attributes:domain AND", None),
        ("(attributes:domain", None),
        ("attributes:domain)", None),
        ("attributes.domain", None),
        ("attributes.domain = com", None),
        ("attributes.domain = 'com'", None),
        ('domain = "com"', None),
        ('hasSuffix(attributes.domain, "m")', None),
        ('attributes.domain > "com"', None),
        (f'attributes.domain = "{"x" * 256}"', None),
        (" ", None),
    ],
)
def test_filter_language(text: str, matches: bool | None) -> None:
    if matches is None:
        with pytest.raises(exceptions.InvalidArgument):
            compile_filter(text)
    else:
        assert compile_filter(text)(ATTRIBUTES) is matches


@pytest.mark.parametrize(
    "fields",
    [
        {"ack_deadline_seconds": 9},
        {"ack_deadline_seconds": 601},
        {"dead_letter_policy": {"dead_letter_topic": DEAD, "max_delivery_attempts": 4}},
        {"dead_letter_policy": {"dead_letter_topic": DEAD, "max_delivery_attempts": 101}},
        {"dead_letter_policy": {"max_delivery_attempts": 5}},
        {"retry_policy": {"maximum_backoff": timedelta(seconds=601)}},
        {"retry_policy": {"minimum_backoff": timedelta(seconds=9), "maximum_backoff": timedelta(seconds=8)}},
        {"message_retention_duration": timedelta(minutes=9)},
        {"message_retention_duration": timedelta(days=32)},
        {"push_config": {"push_endpoint": "feed.example.com"}},
        {"filter": "type = lot"},
    ],
)
def test_subscriptions_that_the_service_refuses(fields: dict[str, object]) -> None:
    spec = types.Subscription.pb(types.Subscription(name=SUBSCRIPTION, topic=TOPIC, **fields))
    with pytest.raises((exceptions.InvalidArgument, exceptions.OutOfRange)):
        rules.complete_subscription(spec)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"ordering_key": "a"},
        {"data": b"x", "ordering_key": "k" * 1025},
        {"data": b"x" * 10_000_000},
        {"attributes": {"k" * 257: "v"}},
        {"attributes": {"k": "v" * 1025}},
        {"attributes": {"": "v"}},
        {"attributes": {"googclient": "v"}},
        {"attributes": {str(n): "v" for n in range(101)}},
    ],
)
def test_messages_that_the_service_refuses(message: dict[str, object]) -> None:
    request = types.PublishRequest.pb(types.PublishRequest(topic=TOPIC, messages=[message]))
    with pytest.raises(exceptions.InvalidArgument):
        rules.check_publish(request)


@pytest.mark.parametrize("count", [0, 1001])
def test_how_many_messages_a_request_may_have(count: int) -> None:
    request = types.PublishRequest.pb()(topic=TOPIC, messages=[types.PubsubMessage.pb()(data=b"x")] * count)
    with pytest.raises(exceptions.InvalidArgument):
        rules.check_publish(request)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.1), (2, 0.2), (3, 0.4), (10, 51.2), (11, 60), (1000, 60)])
def test_push_back_off_without_a_retry_policy(failures: int, seconds: float) -> None:
    spec = types.Subscription.pb(types.Subscription(push_config={"push_endpoint": ENDPOINT}))
    assert rules.backoff(spec, failures) == timedelta(seconds=seconds)
