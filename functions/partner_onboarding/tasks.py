"""Cloud Tasks: one check of a partner with its provider."""

from kapas.http.function import Function
from kapas.platform.settings import (
    DatabaseSettings,
    HandlerSettings,
    KeySettings,
    RelaySettings,
)

from .checks import providers, verification

function = Function(DatabaseSettings, HandlerSettings, KeySettings, RelaySettings, providers.ProviderSettings)


def connected_providers() -> providers.Providers:
    return function.keep("providers", _connect)


def _connect() -> providers.Providers:
    from .checks.provider_clients import connect  # urllib3, which the function for partners does not need

    return connect(function.settings(providers.ProviderSettings))


@function.on_task(verification.CheckTask)
def partner_check(task: verification.CheckTask) -> bool:
    return verification.check(function.database, function.keyring, connected_providers(), task)
