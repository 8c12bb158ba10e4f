"""Tokens of the local cloud, verified as a receiver would: by the published keys."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from local_cloud.oidc import GOOGLE, Family, Issuer
from local_cloud.state import State

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PLATFORM = "https://id.kapas.example.com"
AUDIENCE = "https://kapas.example.com"


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(State(), lambda: NOW)


def verified(issuer: Issuer, family: Family, token: str) -> dict[str, Any]:
    keys = jwt.PyJWKSet.from_dict(issuer.jwks(family))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    # Times are asserted on: the issuer's clock stands at NOW, PyJWT's does not.
    options: Any = {"verify_exp": False, "verify_iat": False}
    return jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, options=options)


def user_token(issuer: Issuer, **fields: Any) -> str:
    return issuer.user_token("u-1", "p-1", "owner", "basic", issuer=PLATFORM, audience=AUDIENCE, **fields)


def test_a_service_accounts_token_has_googles_claims(issuer: Issuer) -> None:
    claims = verified(issuer, "google", issuer.token("tasks@example.com", AUDIENCE))
    assert claims["azp"] == claims["sub"]
    assert claims["sub"].isdecimal()
    assert len(claims["sub"]) == 21
    assert {name: claims[name] for name in ("iss", "aud", "email", "email_verified")} == {
        "iss": GOOGLE,
        "aud": AUDIENCE,
        "email": "tasks@example.com",
        "email_verified": True,
    }
    assert (claims["iat"], claims["exp"]) == (int(NOW.timestamp()), int(NOW.timestamp()) + 3600)


def test_a_users_token_has_the_platforms_claims(issuer: Issuer) -> None:
    claims = verified(issuer, "platform", user_token(issuer, lifetime=timedelta(minutes=5)))
    assert claims == {
        "iss": PLATFORM,
        "aud": AUDIENCE,
        "sub": "u-1",
        "partner_id": "p-1",
        "role": "owner",
        "tier": "basic",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 300,
    }
    staff = issuer.user_token("u-2", None, "ops", "basic", issuer=PLATFORM, audience=AUDIENCE)
    assert "partner_id" not in verified(issuer, "platform", staff)


def test_the_families_do_not_share_keys(issuer: Issuer) -> None:
    with pytest.raises(KeyError):
        verified(issuer, "google", user_token(issuer))


def test_keys_roll_over_and_survive_a_restart(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    issuer = Issuer(state, lambda: NOW)
    before = user_token(issuer)
    new = issuer.rotate("platform")
    after = user_token(issuer)
    assert jwt.get_unverified_header(after)["kid"] == new != jwt.get_unverified_header(before)["kid"]
    state.close()

    again = Issuer(State(tmp_path / "state.db"), lambda: NOW)
    assert again.jwks("platform") == issuer.jwks("platform")
    assert again.jwks("google") == issuer.jwks("google")
    assert verified(again, "platform", before) == verified(again, "platform", after)
    assert jwt.get_unverified_header(user_token(again))["kid"] == new


def test_published_keys_hold_nothing_private(issuer: Issuer) -> None:
    (key,) = issuer.jwks("platform")["keys"]
    assert set(key) == {"kty", "kid", "use", "alg", "n", "e", "key_ops"}
