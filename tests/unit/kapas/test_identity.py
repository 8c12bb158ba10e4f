"""Who is calling: what a token must say to be accepted."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from kapas.http.identity import Identity, InvalidToken, Role, ServiceVerifier, Tier, Verifier, bearer
from tests.times import Time, moving_time
from tests.unit.kapas.signed_tokens import (
    AUDIENCE,
    EC_KEY,
    ISSUER,
    NOW,
    PARTNER,
    RSA_KEY,
    Issuer,
    claims,
    refusal,
    signed,
    token,
)


@pytest.fixture
def time() -> Iterator[Time]:
    with moving_time(NOW) as time:
        yield time


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def verifier(issuer: Issuer, time: Time) -> Verifier:
    return Verifier(issuer.fetch, ISSUER, AUDIENCE)


# What is accepted


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256")])
def test_tells_who_is_calling(verifier: Verifier, key: Any, algorithm: str) -> None:
    assert verifier.verify(token(key, algorithm)) == Identity("user-1", PARTNER, Role.OWNER, Tier.PREMIUM)


def test_the_audience_may_be_one_of_several(verifier: Verifier) -> None:
    assert verifier.verify(token(aud=["https://other.example.com", AUDIENCE])).subject == "user-1"


def test_a_token_of_identity_platform_is_accepted(issuer: Issuer, time: Time) -> None:
    """Its claims as the service writes them, with the account's custom ones beside them."""
    now = int(NOW.timestamp())
    issued = {
        "iss": "https://securetoken.google.com/kapas-prod",
        "aud": "kapas-prod",
        "auth_time": now - 600,
        "user_id": "q8Zt3vYwUOhL1nR5sXeKbD2fGmA2",
        "sub": "q8Zt3vYwUOhL1nR5sXeKbD2fGmA2",
        "iat": now,
        "exp": now + 3600,
        "email": "asha@ginning.example.com",
        "email_verified": True,
        "firebase": {"identities": {"email": ["asha@ginning.example.com"]}, "sign_in_provider": "password"},
        "partner_id": str(PARTNER),
        "role": "owner",
        "tier": "basic",
    }
    verifier = Verifier(issuer.fetch, "https://securetoken.google.com/kapas-prod", "kapas-prod")
    expected = Identity("q8Zt3vYwUOhL1nR5sXeKbD2fGmA2", PARTNER, Role.OWNER, Tier.BASIC)
    assert verifier.verify(signed(json.dumps(issued).encode())) == expected
    elsewhere = issued | {"iss": "https://securetoken.google.com/kapas-dev"}
    assert refusal(verifier, signed(json.dumps(elsewhere).encode())) == "issuer"
    without = {name: value for name, value in issued.items() if name not in ("partner_id", "role", "tier")}
    assert refusal(verifier, signed(json.dumps(without).encode())) == "role", "an account without claims is nobody"


@pytest.mark.parametrize("role", ["ops", "dpo", "inspector"])
def test_platform_roles_need_no_partner(verifier: Verifier, role: str) -> None:
    assert verifier.verify(token(role=role, partner_id=None)) == Identity("user-1", None, Role(role), Tier.PREMIUM)


def test_times_are_read_with_leeway(verifier: Verifier, time: Time) -> None:
    presented = token(nbf=NOW.timestamp() + 30)
    verifier.verify(presented)
    time.advance(seconds=929)
    verifier.verify(presented)
    time.advance(seconds=1)
    assert refusal(verifier, presented) == "expired"
    time.now = NOW - timedelta(seconds=1)
    assert refusal(verifier, presented) == "not_yet_valid"
    assert refusal(Verifier(Issuer().fetch, ISSUER, AUDIENCE), presented) == "not_yet_valid"


# What is not


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://evil.example.com"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"aud": "https://other.example.com"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": AUDIENCE + "/x"}, "audience"),
        ({"exp": int(NOW.timestamp()) - 30}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": str(int(NOW.timestamp()) + 900)}, "expired"),
        ({"exp": True}, "expired"),
        ({"exp": float("nan")}, "expired"),
        ({"exp": float("inf")}, "expired"),
        ({"exp": int(NOW.timestamp()) + 86_431}, "lifetime"),
        ({"exp": 4_102_444_800}, "lifetime"),
        ({"exp": 2**80}, "lifetime"),
        ({"nbf": int(NOW.timestamp()) + 31}, "not_yet_valid"),
        ({"nbf": "now"}, "not_yet_valid"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": 7}, "subject"),
        ({"sub": "user\0"}, "subject"),
        ({"sub": "user\ud800"}, "subject"),
        ({"sub": "user\n"}, "subject"),
        ({"sub": "u" * 256}, "subject"),
        ({"role": "admin"}, "role"),
        ({"role": None}, "role"),
        ({"role": ["owner"]}, "role"),
        ({"tier": "gold"}, "tier"),
        ({"tier": None}, "tier"),
        ({"partner_id": None}, "partner"),
        ({"partner_id": "partner-1"}, "partner"),
        ({"partner_id": 7}, "partner"),
        ({"partner_id": PARTNER.hex}, "partner"),
        ({"partner_id": f"{{{PARTNER}}}"}, "partner"),
        ({"role": "ops", "partner_id": "partner-1"}, "partner"),
    ],
)
def test_refuses_claims(verifier: Verifier, changes: dict[str, Any], reason: str) -> None:
    full = json.dumps(claims(**changes)).encode()
    assert refusal(verifier, signed(full)) == reason


# Google's services

CALLER = "pusher@kapas-example.iam.gserviceaccount.com"


@pytest.fixture
def service(issuer: Issuer, time: Time) -> ServiceVerifier:
    return ServiceVerifier(issuer.fetch, AUDIENCE, {CALLER})


def google(**changes: Any) -> str:
    issued = {"iss": "https://accounts.google.com", "email": CALLER, "email_verified": True}
    return token(**(issued | changes))


@pytest.mark.parametrize("iss", ["https://accounts.google.com", "accounts.google.com"])
def test_tells_which_service_account_calls(service: ServiceVerifier, iss: str) -> None:
    assert service.verify(google(iss=iss)) == CALLER


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": ISSUER}, "issuer"),
        ({"aud": "https://other.example.com"}, "audience"),
        ({"email": "other@kapas-example.iam.gserviceaccount.com"}, "email"),
        ({"email": None}, "email"),
        ({"email": [CALLER]}, "email"),
        ({"email_verified": False}, "email"),
        ({"email_verified": "true"}, "email"),
        ({"email_verified": None}, "email"),
        ({"exp": int(NOW.timestamp()) - 31}, "expired"),
        ({"exp": int(NOW.timestamp()) + 86_431}, "lifetime"),
    ],
)
def test_refuses_other_callers(service: ServiceVerifier, changes: dict[str, Any], reason: str) -> None:
    assert refusal(service, google(**changes)) == reason


@pytest.mark.parametrize("sub", ["u" * 255, "आशा", "user 1|x"])
def test_a_subject_is_any_text_that_can_be_stored(verifier: Verifier, sub: str) -> None:
    assert verifier.verify(token(sub=sub, exp=int(NOW.timestamp()) + 86_400)).subject == sub


def test_of_a_partner_a_role_covers_those_that_may_do_less() -> None:
    covered = {(one, other) for one in Role for other in Role if one.covers(other) and one is not other}
    assert covered == {(Role.OWNER, Role.MEMBER), (Role.OWNER, Role.VIEWER), (Role.MEMBER, Role.VIEWER)}
    assert all(role.covers(role) for role in Role)


# The header


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_reads_the_bearer_token(header: str) -> None:
    assert bearer(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_misses_the_bearer_token(header: str | None) -> None:
    with pytest.raises(InvalidToken, match="missing"):
        bearer(header)
