"""Every function is told what it asks for: the environment that the catalog gives it fits the settings that it reads."""

from dataclasses import dataclass

import pytest
from werkzeug.test import Client, TestResponse

import kapas.http.function
from kapas.platform import settings
from kapas.platform.settings import (
    ApiSettings,
    ArchiveSettings,
    CallerSettings,
    DatabaseSettings,
    HandlerSettings,
    KeySettings,
    Settings,
    SettingsError,
    SigningSettings,
    TaskSettings,
    UploadSettings,
)
from local_cloud.environment import Addresses, environment
from local_cloud.functions import load
from tools.catalog import ROOT, catalog

CATALOG = catalog()
ADDRESSES = Addresses("http://127.0.0.1:8080", "127.0.0.1:8081", 5432)


@dataclass(frozen=True)
class Started:
    """A function that answered a caller without a token, and the settings it was declared with."""

    name: str
    answer: TestResponse
    models: tuple[type[Settings], ...]


@pytest.fixture(params=CATALOG.functions)
def started(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Started:
    asked: list[tuple[type[Settings], ...]] = []
    read = settings.load_all

    def recording(models: tuple[type[Settings], ...]) -> tuple[Settings, ...]:
        asked.append(models)
        return read(models)

    monkeypatch.setattr(kapas.http.function, "load_all", recording)
    function = CATALOG.functions[request.param]
    _, app = load(ROOT / "functions", function)
    with settings.use(environment(CATALOG, request.param, ADDRESSES)):
        # The first route by GET, as the uptime check asks it; the others as what calls them does.
        method = "GET" if function.trigger.kind == "http" else "POST"
        answer = Client(app).open(next(iter(function.trigger.routes), "/"), method=method)
    return Started(request.param, answer, asked[0])


def test_it_starts_and_refuses_a_caller_without_a_token(started: Started) -> None:
    assert started.answer.status_code == 401
    assert started.answer.mimetype == "application/problem+json"


def test_it_reads_the_settings_of_what_the_catalog_says_it_does(started: Started) -> None:
    function = CATALOG.functions[started.name]
    says = {
        ApiSettings: function.trigger.kind == "http",
        CallerSettings: function.trigger.kind != "http",
        HandlerSettings: function.trigger.kind == "task",
        DatabaseSettings: function.database is not None,
        KeySettings: function.encrypts,
        SigningSettings: function.signs,
        TaskSettings: bool(function.enqueues),
        UploadSettings: "uploads" in function.buckets,
        ArchiveSettings: "exports" in function.buckets,
    }
    assert {kind: any(issubclass(model, kind) for model in started.models) for kind in says} == says
    assert not function.publishes or any("relay_url" in model.model_fields for model in started.models)


def test_it_names_a_variable_that_is_missing(started: Started) -> None:
    variables = environment(CATALOG, started.name, ADDRESSES)
    fields = {name.upper(): field for model in started.models for name, field in model.model_fields.items()}
    required = [name for name, field in fields.items() if field.is_required()]
    assert required
    for name in required:
        without = {key: value for key, value in variables.items() if key != name}
        with settings.use(without), pytest.raises(SettingsError, match=f"{name}: Field required"):
            settings.load_all(started.models)
