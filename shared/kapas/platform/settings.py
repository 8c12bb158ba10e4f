"""Settings of a function: one frozen model, read from the environment, every fault told at once."""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

GOOGLE_KMS = "https://cloudkms.googleapis.com"

_environment: ContextVar[Mapping[str, str] | None] = ContextVar("kapas.platform.settings", default=None)


class SettingsError(Exception):
    """The environment does not fit the settings model; the message names every variable and its fault, and no value."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.logged = {"detail": message}


class Settings(BaseModel):
    """What every function is told. The environment variable of a field is its name in capitals."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    function: str
    """The function's name in the catalog."""
    project: str
    region: str = "asia-south1"
    metadata_url: str = "http://metadata.google.internal"
    """Where this function gets tokens of its own service account."""


class DatabaseSettings(Settings):
    """A function that reads or writes PostgreSQL."""

    database_url: str
    """`postgresql://user@host:port/name?sslmode=verify-full&sslrootcert=path`, see `kapas.platform.db.connect`."""
    database_iam: bool = False
    """Whether to log in with an access token of the function's own service account."""
    database_ca: str = ""
    """The certificates that the database's own must be signed by, as PEM text; empty for the file in `DATABASE_URL`, or
    the system's."""
    database_pool: int
    """Connections this instance may hold: the catalog's `database.pool`."""


class CallerSettings(Settings):
    """A function called by Pub/Sub, Cloud Tasks, Cloud Scheduler or another function, with a Google OIDC token."""

    service_audience: str
    """The audience its callers' tokens carry: the function's own address."""
    service_jwks_url: str = "https://www.googleapis.com/oauth2/v3/certs"
    allowed_callers: str
    """The service accounts that may call, separated by commas."""


class HandlerSettings(CallerSettings):
    """A function that handles tasks of Cloud Tasks."""

    task_attempts: int
    """How often a task is tried: its queue's `max_attempts` in the catalog."""


class RelaySettings(Settings):
    """A function that publishes events, through the outbox."""

    relay_url: str = ""
    """Where to wake the outbox relay after a commit; empty leaves it to the minute sweep."""


class ApiSettings(DatabaseSettings, RelaySettings):
    """A function that serves clients over HTTPS."""

    token_issuer: str
    token_audience: str
    token_jwks_url: str


class TaskSettings(Settings):
    """A function that enqueues into Cloud Tasks."""

    tasks_endpoint: str = ""
    """`host:port` of a stand-in for Cloud Tasks; empty for Google's."""
    tasks_caller: str
    """The service account that Cloud Tasks calls with."""
    task_urls: str
    """The address of each function that handles tasks, as `name=url` separated by commas."""


class KeySettings(Settings):
    """A function that encrypts or decrypts personal data."""

    kms_key: str
    """The full name of the KMS key that wraps epoch keys."""
    kms_url: str = GOOGLE_KMS
    kms_endpoint: str = ""
    """`host:port` of a stand-in for KMS over gRPC, for functions that use Google's client; empty for Google's."""


class SigningSettings(Settings):
    """A function that signs receipts."""

    receipt_key: str
    """The full name of the version of the KMS key that signs them; to rotate the key, name its next version."""
    kms_url: str = GOOGLE_KMS


class FileSettings(Settings):
    """A function that keeps files in Cloud Storage. The names of its buckets are in settings of their own."""

    file_signer: str
    """The service account that signs URLs: the function's own, by the IAM Credentials API."""
    storage_url: str = "https://storage.googleapis.com"
    iam_url: str = "https://iamcredentials.googleapis.com"


class UploadSettings(FileSettings):
    """A function that takes files from partners."""

    upload_bucket: str


class ArchiveSettings(FileSettings):
    """A function that writes or deletes the archives of exports."""

    export_bucket: str


S = TypeVar("S", bound=Settings)


def load(model: type[S]) -> S:
    """The settings of `model` from the environment.

    Raises:
        SettingsError: with one line for every variable that is missing or wrong. Values are not repeated: some are secret.
    """
    return cast(S, load_all((model,))[0])


def load_all(models: Sequence[type[Settings]]) -> tuple[Settings, ...]:
    """The settings of several models. Raises `SettingsError` with the faults of all."""
    environment = _environment.get() or os.environ
    loaded: list[Settings] = []
    faults: dict[str, str] = {}
    for model in models:
        values = {name: environment[name.upper()] for name in model.model_fields if name.upper() in environment}
        try:
            loaded.append(model.model_validate(values))
        except ValidationError as error:
            faults |= {str(e["loc"][0]).upper(): e["msg"] for e in error.errors(include_input=False)}
    if faults:
        listed = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
        raise SettingsError(f"The environment cannot be read: {listed}")
    return tuple(loaded)


@contextmanager
def use(environment: Mapping[str, str]) -> Generator[None]:
    """Read settings from `environment` within this context: several functions live in one process in the local cloud."""
    token = _environment.set(environment)
    try:
        yield
    finally:
        _environment.reset(token)
