"""The security rules of the live documents, decided by Google's own evaluator: that of its Firestore emulator."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from tools.catalog import ROOT

from .google_emulators import start_emulator

pytestmark = pytest.mark.emulator

PROJECT = "kapas-rules"
SELLER, BUYER, STRANGER = "seller-1", "buyer-1", "stranger-1"
DOCUMENTS = {
    "trades/open": {"open": True, "partner_ids": [SELLER], "status": "OFFERED"},
    "trades/matched": {"open": False, "partner_ids": [SELLER, BUYER], "status": "MATCHED"},
    "partners/seller": {"open": False, "partner_ids": [SELLER], "status": "active"},
    "audit/entry": {"open": True, "partner_ids": [SELLER, BUYER, STRANGER]},
}


class Rest:
    """Firestore's REST interface, as a client with an identity token uses it."""

    def __init__(self, address: str) -> None:
        self._http = urllib3.PoolManager(retries=False, timeout=60.0)
        self._base = f"http://{address}"
        self._root = f"{self._base}/v1/projects/{PROJECT}/databases/(default)/documents"

    def call(self, method: str, url: str, token: str | None, body: Any = None) -> int:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        return self._http.request(
            method, url, body=json.dumps(body) if body is not None else None, headers=headers
        ).status

    def prepare(self) -> None:
        files = [{"name": "firestore.rules", "content": (ROOT / "functions/live_feed/firestore.rules").read_text()}]
        url = f"{self._base}/emulator/v1/projects/{PROJECT}:securityRules"
        assert self.call("PUT", url, "owner", {"rules": {"files": files}}) == 200
        for path, document in DOCUMENTS.items():
            assert self.call("PATCH", f"{self._root}/{path}", "owner", {"fields": fields(document)}) == 200

    def read(self, path: str, token: str | None) -> bool:
        return self._allowed(self.call("GET", f"{self._root}/{path}", token))

    def write(self, path: str, token: str | None) -> bool:
        return self._allowed(self.call("PATCH", f"{self._root}/{path}", token, {"fields": fields({"open": True})}))

    def query(self, collection: str, token: str | None, field: str, op: str, value: Any) -> bool:
        where = {"fieldFilter": {"field": {"fieldPath": field}, "op": op, "value": value}}
        query = {"structuredQuery": {"from": [{"collectionId": collection}], "where": where}}
        return self._allowed(self.call("POST", f"{self._root}:runQuery", token, query))

    @staticmethod
    def _allowed(status: int) -> bool:
        assert status in (200, 403), status
        return status == 200


def fields(document: dict[str, Any]) -> dict[str, Any]:
    def value(plain: Any) -> dict[str, Any]:
        if isinstance(plain, bool):
            return {"booleanValue": plain}
        if isinstance(plain, list):
            return {"arrayValue": {"values": [value(item) for item in plain]}}
        return {"stringValue": plain}

    return {name: value(plain) for name, plain in document.items()}


def token(partner_id: Any) -> str:
    """An identity token as the emulator takes it: unsigned."""
    claims = {
        "sub": "user-1",
        "user_id": "user-1",
        "partner_id": partner_id,
        "aud": PROJECT,
        "iss": "https://example.com",
    }
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


@pytest.fixture(scope="module")
def rest() -> Iterator[Rest]:
    with start_emulator("firestore") as address:
        made = Rest(address)
        made.prepare()
        yield made


@pytest.mark.parametrize(
    ("path", "readers"),
    [
        ("trades/open", {SELLER, BUYER, STRANGER}),
        ("trades/matched", {SELLER, BUYER}),
        ("partners/seller", {SELLER}),
        ("audit/entry", set[str]()),
        ("trades/missing", set[str]()),
    ],
)
def test_who_reads_a_document(rest: Rest, path: str, readers: set[str]) -> None:
    assert {partner for partner in (SELLER, BUYER, STRANGER) if rest.read(path, token(partner))} == readers
    for nobody in (None, token(None), token(7), token([SELLER])):
        assert not rest.read(path, nobody)


@pytest.mark.parametrize("path", [*DOCUMENTS, "trades/new"])
def test_no_client_writes(rest: Rest, path: str) -> None:
    for who in (None, token(SELLER), token(BUYER)):
        assert not rest.write(path, who)


def test_a_client_listens_to_its_own_and_to_what_is_open(rest: Rest) -> None:
    own = {"stringValue": BUYER}
    assert rest.query("trades", token(BUYER), "partner_ids", "ARRAY_CONTAINS", own)
    assert rest.query("trades", token(BUYER), "open", "EQUAL", {"booleanValue": True})
    assert not rest.query("trades", token(STRANGER), "partner_ids", "ARRAY_CONTAINS", own)
    assert not rest.query("trades", token(BUYER), "open", "EQUAL", {"booleanValue": False})
    assert not rest.query("trades", None, "open", "EQUAL", {"booleanValue": True})
    assert not rest.query("audit", token(BUYER), "partner_ids", "ARRAY_CONTAINS", own)
