"""The tools that verify a database reach it as functions do: by address, or by the instance of Cloud SQL."""

from typing import NoReturn

import pytest

from kapas.platform.settings import DatabaseSettings
from tools import database, verify_ledger, verify_trades

URL = "postgresql://database-migrator%40kapas-prod.iam@kapas/kapas?sslmode=verify-full"


class Asked(Exception):
    """What a connection was asked for."""


def asks(settings: DatabaseSettings) -> NoReturn:
    raise Asked(settings.database_url, settings.database_instance)


@pytest.mark.parametrize("tool", [verify_ledger, verify_trades])
def test_the_instance_is_heeded(tool: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "connector", asks)
    environment = {"DATABASE_URL": URL, "DATABASE_INSTANCE": "kapas-prod:asia-south1:kapas"}
    with pytest.raises(Asked, match="kapas-prod:asia-south1:kapas"):
        _run(tool, environment)


@pytest.mark.parametrize("tool", [verify_ledger, verify_trades])
def test_no_address_is_said_in_a_line(tool: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tool, {}) == 2
    assert "cannot verify: The environment cannot be read: DATABASE_URL" in capsys.readouterr().err


def _run(tool: object, environment: dict[str, str]) -> int:
    if tool is verify_ledger:
        return verify_ledger.main([], environment)
    return verify_trades.main(environment)
