"""Who may import what, and that time, randomness and threads come from the places that own them."""

import ast

import pytest

from tests.contract.sources import Source, graph, imports, sources, uses

FUNCTIONS = sources("functions")
KAPAS = sources("shared/kapas")

OWN_CODE = {"functions", "local_cloud", "tools", "tests"}
GOOGLE = {"google", "grpc", "proto", "requests"}
"""Google's clients and what they stand on."""

INJECTED = {
    "time": "the time comes from kapas.values.clock, and nothing waits for it to pass",
    "datetime.datetime.now": "the time comes from kapas.values.clock",
    "datetime.datetime.utcnow": "the time comes from kapas.values.clock",
    "datetime.datetime.today": "the time comes from kapas.values.clock",
    "datetime.date.today": "the time comes from kapas.values.clock",
    "random": "randomness comes from kapas.values.ids",
    "secrets": "randomness comes from kapas.values.ids",
    "os.urandom": "randomness comes from kapas.values.ids",
    "uuid.uuid1": "identifiers come from kapas.values.ids",
    "uuid.uuid4": "identifiers come from kapas.values.ids",
    "threading": "a request is served on its own thread, and the simulation knows no others",
    "concurrent.futures.ThreadPoolExecutor": "a request is served on its own thread",
    "multiprocessing": "an instance is one process",
    "asyncio": "requests are served on threads",
    "os.environ": "what a function is told is read by kapas.platform.settings",
    "os.getenv": "what a function is told is read by kapas.platform.settings",
}
"""What may not be used in functions and in the common package, and why."""

ALLOWED = {
    ("shared/kapas/values/clock.py", "datetime.datetime.now"): "the one place that reads the system's clock",
    ("shared/kapas/values/ids.py", "secrets.token_bytes"): "the one place that draws random bytes",
    ("shared/kapas/http/function.py", "threading.RLock"): "two first requests make one client, not two",
    ("shared/kapas/platform/once.py", "threading.Lock"): "two first requests make one client, not two",
    ("shared/kapas/http/identity.py", "threading.Lock"): "guards the cache of accepted tokens",
    ("shared/kapas/http/jws.py", "threading.Lock"): "one thread fetches a key set, the others wait for it",
    ("shared/kapas/privacy/keys.py", "threading.Lock"): "guards the cache of unwrapped keys",
    ("shared/kapas/platform/gcp/metadata.py", "threading.Lock"): "guards the cache of the function's own tokens",
    (
        "shared/kapas/platform/gcp/pubsub.py",
        "time.monotonic",
    ): "bounds how long the relay's transaction waits for Pub/Sub",
    (
        "shared/kapas/messaging/relay.py",
        "threading.Thread",
    ): "a wake goes out beside the request; harmless if it is lost",
    ("shared/kapas/messaging/relay.py", "threading.Condition"): "coalesces the wakes of one instance",
    ("shared/kapas/platform/settings.py", "os.environ"): "the one place that reads the environment",
    ("functions/webhook_delivery/transport.py", "time.monotonic"): "bounds how long an endpoint may hold a socket",
    ("functions/webhook_delivery/transport.py", "threading.Lock"): "guards the kept connections",
    ("functions/webhook_delivery/wire.py", "time.monotonic"): "the same bound, before each read and write",
}
"""(file, name) -> why it may."""

by_path = pytest.mark.parametrize("source", [*FUNCTIONS, *KAPAS], ids=lambda source: str(source.path))


def forbidden(name: str) -> str | None:
    """Why `name` may not be used, None if it may."""
    return next((why for part, why in INJECTED.items() if name == part or name.startswith(f"{part}.")), None)


@pytest.mark.parametrize("source", FUNCTIONS, ids=lambda source: str(source.path))
def test_a_function_imports_its_own_folder_and_kapas(source: Source) -> None:
    for node, name in imports(source.tree):
        assert not name.startswith(".."), f"{source.at(node)}: {name} is outside the function's folder"
        first = name.partition(".")[0]
        assert first not in OWN_CODE, f"{source.at(node)}: a function imports its own folder, relatively, and kapas"
        assert first not in GOOGLE, f"{source.at(node)}: {name} belongs in kapas.platform.gcp, behind a port"


@pytest.mark.parametrize("source", KAPAS, ids=lambda source: str(source.path))
def test_kapas_imports_no_function_and_google_only_in_kapas_gcp(source: Source) -> None:
    for node, name in imports(source.tree):
        first = name.partition(".")[0]
        assert not name.startswith("."), f"{source.at(node)}: kapas imports its own modules by their full name"
        assert first not in OWN_CODE, f"{source.at(node)}: the common package must not know {name}"
        in_gcp = source.path.parent.name == "gcp"
        assert in_gcp or first not in GOOGLE, f"{source.at(node)}: only kapas.platform.gcp imports {name}"


@by_path
def test_time_randomness_and_threads_come_from_the_places_that_own_them(source: Source) -> None:
    for node, name in uses(source.tree):
        why = forbidden(name)
        allowed = why is None or (str(source.path), name) in ALLOWED
        assert allowed, f"{source.at(node)} uses {name}: {why}"


def test_every_exception_is_still_needed() -> None:
    used = {(str(source.path), name) for source in (*FUNCTIONS, *KAPAS) for _, name in uses(source.tree)}
    assert ALLOWED.keys() <= used, f"no longer used: {ALLOWED.keys() - used}"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import time\ntime.sleep(1)", "time.sleep"),
        ("from time import monotonic as m\nm()", "time.monotonic"),
        ("import datetime as d\nd.datetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("from uuid import uuid4\nuuid4()", "uuid.uuid4"),
        ("from concurrent import futures\nfutures.ThreadPoolExecutor()", "concurrent.futures.ThreadPoolExecutor"),
    ],
)
def test_a_forbidden_name_is_found_however_it_is_imported(text: str, name: str) -> None:
    assert name in {used for _, used in uses(ast.parse(text)) if forbidden(used)}


FLOORS = ("errors", "values", "platform", "messaging", "privacy", "schemas", "http")
"""The parts of kapas from the ground up: each imports from those before it."""


def test_kapas_is_imported_in_one_direction() -> None:
    for module, imported in graph("kapas").items():
        own = module.split(".")[1] if "." in module else ""
        for name in imported:
            floor = name.split(".")[1] if name.count(".") else own
            assert not own or own == floor or FLOORS.index(floor) < FLOORS.index(own), f"{module} imports {name}"


def test_no_module_imports_itself_through_others() -> None:
    imported = graph("kapas", "functions", "local_cloud", "tools")
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in finished:
            for name in sorted(imported[module]):
                visit(name, (*path, module))
            finished.add(module)

    for module in imported:
        visit(module, ())
