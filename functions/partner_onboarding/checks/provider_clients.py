"""The providers over HTTP.

Every request carries the check's id as its `Idempotency-Key`: a repeated penny drop is not paid twice. What is asked
about goes in the body, so that no identifier is in a URL.
"""

import json
from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

import urllib3
from pydantic import BaseModel, ValidationError

from kapas.errors import Unavailable
from kapas.values import clock

from .providers import BankRecord, GstRecord, Providers, ProviderSettings, ScreeningRecord, check_list

MAX_ANSWER = 256 * 1024
"""Bytes of an answer that are read."""


def connect(settings: ProviderSettings) -> Providers:
    """The providers over HTTP, with one pool of connections."""
    pool = urllib3.PoolManager(maxsize=8, retries=False)
    calls = [
        _Caller(pool, url, settings)
        for url in (settings.gst_registry_url, settings.bank_verification_url, settings.screening_url)
    ]
    return Providers(HttpGstRegistry(calls[0]), HttpBankVerification(calls[1]), HttpScreening(calls[2]))


R = TypeVar("R", bound=BaseModel)


class _Caller:
    """POSTs JSON to one provider."""

    def __init__(self, pool: urllib3.PoolManager, url: str, settings: ProviderSettings) -> None:
        self._pool = pool
        self._url = url
        self._timeout = settings.provider_timeout
        self._headers = {"Content-Type": "application/json"}
        if settings.provider_key:
            self._headers["Authorization"] = f"Bearer {settings.provider_key}"

    def post(self, path: str, body: dict[str, Any], check_id: UUID, model: type[R]) -> R:
        headers = {**self._headers, "Idempotency-Key": str(check_id)}
        timeout = urllib3.Timeout(total=self._timeout)
        try:
            response = self._pool.request(
                "POST", self._url + path, body=json.dumps(body).encode(), headers=headers, timeout=timeout,
                redirect=False, preload_content=False,
            )  # fmt: skip
            try:
                status, data = response.status, response.read(MAX_ANSWER)
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as failure:
            raise Unavailable("The provider does not answer") from failure
        if status != 200:
            raise Unavailable(f"The provider answers {status}")
        try:
            return model.model_validate_json(data)
        except ValidationError:
            raise Unavailable("The provider's answer cannot be read") from None


class HttpGstRegistry:
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    def lookup(self, gstin: str, name: str, check_id: UUID) -> GstRecord:
        return self._caller.post("/lookups", {"gstin": gstin, "name": name}, check_id, GstRecord)


class HttpBankVerification:
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    def penny_drop(self, ifsc: str, number: str, name: str, check_id: UUID) -> BankRecord:
        return self._caller.post("/penny-drops", {"ifsc": ifsc, "number": number, "name": name}, check_id, BankRecord)


class HttpScreening:
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    def search(self, names: Sequence[str], check_id: UUID) -> ScreeningRecord:
        found = self._caller.post("/searches", {"names": list(names)}, check_id, ScreeningRecord)
        check_list(found, clock.now())
        return found
