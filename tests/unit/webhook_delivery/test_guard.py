"""Where webhooks may go, and where they must not."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.webhook_delivery import guard
from functions.webhook_delivery.guard import AddressRefused, Refused, Target, addresses, check, is_public
from functions.webhook_delivery.schemas import EVENT_TYPES
from tools.catalog import catalog
from tools.docs.registry import EVENTS

NONE: frozenset[str] = frozenset()
PUBLIC = "93.184.215.14"


def allowed_hosts(setting: str) -> frozenset[str]:
    return guard.HostSettings(function="f", project="p", webhook_allow_hosts=setting).allowed_hosts


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hooks.example.com/kapas", Target("https", "hooks.example.com", 443, "/kapas")),
        ("https://hooks.example.com", Target("https", "hooks.example.com", 443, "/")),
        ("HTTPS://Hooks.Example.COM:443/A?b=c%20d", Target("https", "hooks.example.com", 443, "/A?b=c%20d")),
        ("https://hooks.example.com:8443/?x", Target("https", "hooks.example.com", 8443, "/?x")),
        (
            "https://xn--p1b6ci4b4b3a.xn--11b5bs3a9aj6g/",
            Target("https", "xn--p1b6ci4b4b3a.xn--11b5bs3a9aj6g", 443, "/"),
        ),
    ],
)
def test_takes_a_url_apart(url: str, expected: Target) -> None:
    assert check(url, NONE) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com:443/_",
        # Not a name
        "https:///x",
        "https://localhost/",
        "https://metadata/computeMetadata/v1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://169.254.169.254/",
        "https://hooks.example.com.127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://hooks.example.com./",
        "https://hooks..example.com/",
        "https://-hooks.example.com/",
        "https://hooks_.example.com/",
        "https://hooks.example.com%2e/",
        f"https://{'a' * 64}.example.com/",
        f"https://{'a.' * 130}com/",
        # Ports
        "https://hooks.example.com:22/",
        "https://hooks.example.com:80/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:65536/",
        "https://hooks.example.com:-1/",
        "https://hooks.example.com:443:443/",
        "https://hooks.example.com:6379/",
        "https://hooks.example.com:5432/",
        "https://hooks.example.com:2375/",
        "https://hooks.example.com:6000/",
        "https://hooks.example.com:10080/",
        "https://hooks.example.com:４４３/",
        # Where parsers disagree
        "https://user@hooks.example.com/",
        "https://user:word@hooks.example.com/",
        "https://@hooks.example.com/",
        "https://hooks.example.com\\@169.254.169.254/",
        "https://169.254.169.254\\.example.com/",
        "https://hooks.example.com/#",
        "https://hooks.example.com#@169.254.169.254/",
        "https://hooks.example.com /",
        "https://hooks.example.com/\r\nX-Injected: 1",
        "https://hooks.exa\tmple.com/",
        "https://hooks.example.com/\x00",
        " https://hooks.example.com/",
        "https://１２７.0.0.1/",
        "https://ⓔxample.com/",
        "https://कपास.example.com/",
    ],
)
def test_refuses_a_url(url: str) -> None:
    with pytest.raises(Refused):
        check(url, NONE)


@given(st.text() | st.from_regex(r"\Ahttps?://[^/]*/?\Z"))
def test_answers_or_refuses_whatever_it_is_given(url: str) -> None:
    try:
        target = check(url, NONE)
    except Refused:
        return
    assert target.scheme == "https"
    with pytest.raises(ValueError):
        ipaddress.ip_address(target.host)


def test_only_an_allowed_host_may_be_plain_and_local() -> None:
    allowed = allowed_hosts("127.0.0.1:8080, localhost:9090")
    target = check("http://127.0.0.1:8080/_local/receiver/mill", allowed)
    assert target == Target("http", "127.0.0.1", 8080, "/_local/receiver/mill", trusted=True)
    assert addresses(target, lambda host, port: [host]) == ["127.0.0.1"]
    for url in ("http://127.0.0.1:8081/", "http://127.0.0.1/", "http://a@127.0.0.1:8080/", "file://127.0.0.1:8080/"):
        with pytest.raises(Refused):
            check(url, allowed)
    assert allowed_hosts("") == NONE


@pytest.mark.parametrize(
    "ip",
    [
        PUBLIC,
        "168.63.129.17",
        "199.36.153.12",
        "8.8.8.8",
        "100.63.255.255",
        "172.32.0.1",
        "2606:2800:21f:cb07::1",
        "2001:4860::8",
    ],
)
def test_public_addresses(ip: str) -> None:
    assert is_public(ip)


@pytest.mark.parametrize(
    "ip",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "168.63.129.16",
        "199.36.153.5",
        "199.36.153.10",
        "192.0.0.192",
        "100.100.100.200",
        "2600:2d00:2:1000::1",
        "2600:2d00:2:2000::1",
        "fd00:ec2::254",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd20:ce::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "metadata",
        "",
    ],
)
def test_addresses_that_are_not_public(ip: str) -> None:
    assert not is_public(ip)


@given(st.ip_addresses())
def test_is_never_looser_than_the_standard_library(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert ip.is_global or not is_public(str(ip))


@given(
    st.sampled_from([*guard._FORBIDDEN_V4, *guard._FORBIDDEN_V6]).flatmap(lambda block: st.ip_addresses(network=block))
)
def test_holds_for_every_address_of_a_block(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert not is_public(str(ip))


@pytest.mark.parametrize(
    "answers", [["169.254.169.254"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], [PUBLIC, "fd20:ce::254"]]
)
def test_one_forbidden_answer_refuses_the_host(answers: list[str]) -> None:
    with pytest.raises(AddressRefused):
        addresses(check("https://hooks.example.com/", NONE), lambda host, port: answers)


def test_asks_once_for_the_full_name_and_answers_what_was_checked() -> None:
    asked: list[tuple[str, int]] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return [PUBLIC] if len(asked) == 1 else ["169.254.169.254"]

    assert addresses(check("https://hooks.example.com/", NONE), rebinding) == [PUBLIC]
    assert asked == [("hooks.example.com.", 443)]


def test_the_system_s_resolver_answers_addresses() -> None:
    assert set(guard.resolve("localhost", 443)) <= {"127.0.0.1", "::1"}


def test_what_can_be_subscribed_to_is_every_event_that_is_not_private_and_is_fanned_out() -> None:
    public = {model.type: model.topic for model in EVENTS.values() if not model.private}
    assert sorted(public.keys() - {"privacy.erased.v1"}) == list(EVENT_TYPES)
    assert set(public.values()) == set(catalog().functions["webhook-fan-out"].trigger.topics)
