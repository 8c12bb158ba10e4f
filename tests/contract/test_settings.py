"""Every function is told what it asks for: the environment that the catalog gives it fits the settings that it reads."""

from dataclasses import dataclass
from typing import TypeVar

import pytest
from werkzeug.test import Client, TestResponse

from kapas.platform import settings
from kapas.platform.settings import (
    ApiSettings,
    CallerSettings,
    DatabaseSettings,
    HandlerSettings,
    KeySettings,
    Settings,
    SettingsError,
    TaskSettings,
)
from local_cloud.environment import Addresses, environment
from local_cloud.functions import load
from tools.catalog import ROOT, catalog

S = TypeVar("S", bound=Settings)

CATALOG = catalog()
ADDRESSES = Addresses("http://127.0.0.1:8080", "127.0.0.1:8081", 5432)


@dataclass(frozen=True)
class Told:
    """What a function answered to a caller without a token, and the settings that it had read by then."""

    name: str
    answer: TestResponse
    model: type[Settings]


@pytest.fixture(params=CATALOG.functions)
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Told:
    models: list[type[Settings]] = []
    read = settings.load

    def recording(model: type[S]) -> S:
        models.append(model)
        return read(model)

    monkeypatch.setattr(settings, "load", recording)
    function = CATALOG.functions[request.param]
    _, app = load(ROOT / "functions", function)
    with settings.use(environment(CATALOG, request.param, ADDRESSES)):
        # The first route by GET, as the uptime check asks it; the others as what calls them does.
        method = "GET" if function.trigger.kind == "http" else "POST"
        answer = Client(app).open(next(iter(function.trigger.routes), "/"), method=method)
    return Told(request.param, answer, models[0])


def test_it_starts_and_refuses_a_caller_without_a_token(told: Told) -> None:
    assert told.answer.status_code == 401
    assert told.answer.mimetype == "application/problem+json"


def test_it_reads_the_settings_of_what_the_catalog_says_it_does(told: Told) -> None:
    function = CATALOG.functions[told.name]
    says = {
        ApiSettings: function.trigger.kind == "http",
        CallerSettings: function.trigger.kind != "http",
        HandlerSettings: function.trigger.kind == "task",
        DatabaseSettings: function.database is not None,
        KeySettings: function.encrypts,
        TaskSettings: bool(function.enqueues),
    }
    assert {kind: issubclass(told.model, kind) for kind in says} == says
    assert not function.publishes or "relay_url" in told.model.model_fields


def test_it_names_a_variable_that_is_missing(told: Told) -> None:
    variables = environment(CATALOG, told.name, ADDRESSES)
    required = [name.upper() for name, field in told.model.model_fields.items() if field.is_required()]
    assert required
    for name in required:
        without = {key: value for key, value in variables.items() if key != name}
        with settings.use(without), pytest.raises(SettingsError, match=f"{name}: Field required"):
            settings.load(told.model)
