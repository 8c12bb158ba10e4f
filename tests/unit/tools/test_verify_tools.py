"""The tools that verify a database reach it by address, or in an instance of Cloud SQL through Google's connector."""

from typing import Any

import google.cloud.sql.connector as google_connector
import pytest

from tools import verify_ledger, verify_trades

URL = "postgresql://database-migrator%40kapas-prod.iam@kapas/kapas"
INSTANCE = "kapas-prod:asia-south1:kapas"


class Connector:
    """Google's connector, which opens nothing."""

    asked: tuple[Any, ...] = ()
    closed = False

    def __init__(self, **options: Any) -> None:
        assert options == {"ip_type": "private", "enable_iam_auth": True, "refresh_strategy": "lazy"}

    def connect(self, *instance: str, **options: Any) -> None:
        Connector.asked = (*instance, options["user"], options["db"])
        raise RuntimeError("no permission")

    def close(self) -> None:
        Connector.closed = True


@pytest.mark.parametrize("tool", [verify_ledger, verify_trades])
def test_an_instance_is_reached_through_the_connector(
    tool: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(google_connector, "Connector", Connector)
    assert _run(tool, {"DATABASE_URL": URL, "DATABASE_INSTANCE": INSTANCE}) == 2
    assert "no permission" in capsys.readouterr().err
    assert Connector.asked == (INSTANCE, "pg8000", "database-migrator@kapas-prod.iam", "kapas")
    assert Connector.closed


@pytest.mark.parametrize("tool", [verify_ledger, verify_trades])
def test_a_missing_address_is_one_line(tool: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tool, {}) == 2
    assert "cannot verify: The environment cannot be read: DATABASE_URL" in capsys.readouterr().err


def _run(tool: object, environment: dict[str, str]) -> int:
    if tool is verify_ledger:
        return verify_ledger.main([], environment)
    return verify_trades.main(environment)
