"""Google's own emulators, from a gcloud installation on this machine. They need `java` and no network."""

import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import grpc
import pytest
from google.api_core import exceptions

Emulator = Literal["pubsub", "firestore"]


@dataclass(frozen=True)
class _Program:
    component: str
    """As `gcloud components` calls it; also its folder."""
    jar: str
    arguments: tuple[str, ...]
    """Of java, with `{jar}` for the jar's path; the address follows."""


_PROGRAMS: dict[Emulator, _Program] = {
    "pubsub": _Program("pubsub-emulator", "lib/*.jar", ("-jar", "{jar}")),
    "firestore": _Program(
        "cloud-firestore-emulator",
        "cloud-firestore-emulator.jar",
        ("-Duser.language=en", "-cp", "{jar}", "com.google.cloud.datastore.emulator.firestore.CloudFirestore", "start"),
    ),
}
_DIFFERENCES = (AssertionError, exceptions.MethodNotImplemented, exceptions.DeadlineExceeded)
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


@contextmanager
def start_emulator(name: Emulator) -> Generator[str]:
    """Run an emulator on a free port of the loopback; yields `host:port` once it answers.

    Where java or the emulator is missing the test fails, with one line that says what to install.
    """
    program = _PROGRAMS[name]
    java, jar = _java(), _jar(program)
    arguments = [argument.format(jar=jar) for argument in program.arguments]
    with tempfile.TemporaryFile() as log:
        port = _free_port()
        # A session of its own, so that the whole group can be ended by its id.
        process = subprocess.Popen(
            [java, *arguments, "--host=127.0.0.1", f"--port={port}"],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_ready(process, f"127.0.0.1:{port}", log.fileno())
            yield f"127.0.0.1:{port}"
        finally:
            _stop(process)


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        pytest.fail("Google's emulators need java: install a Java runtime, 17 or later", pytrace=False)
    return java


def _jar(program: _Program) -> Path:
    for root in _sdk_roots():
        found = sorted(root.glob(f"platform/{program.component}/{program.jar}"))
        if found:
            return found[-1]
    pytest.fail(
        f"Google's {program.component} is missing: run `gcloud components install {program.component}` "
        "(or set CLOUDSDK_ROOT to a gcloud installation that has it)",
        pytrace=False,
    )


def _sdk_roots() -> list[Path]:
    roots: list[Path] = []
    if root := os.environ.get("CLOUDSDK_ROOT"):
        roots.append(Path(root))
    if gcloud := shutil.which("gcloud"):
        roots.append(Path(gcloud).resolve().parent.parent)
    roots.append(Path("/usr/lib/google-cloud-sdk"))
    return roots


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with grpc.insecure_channel(address) as channel:
        ready = grpc.channel_ready_future(channel)
        while time.monotonic() < deadline and process.poll() is None:
            try:
                ready.result(timeout=0.5)
            except grpc.FutureTimeoutError:
                continue
            return
        ready.cancel()
    said = os.pread(log, 4000, 0).decode(errors="replace")
    pytest.fail(f"the emulator at {address} did not start:\n{said}", pytrace=False)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def differing(known_differences: Mapping[str, str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a case so that on the backend `google` it must fail if it is in `known_differences`.

    A case takes a `backend` with a `name`. A failed assertion, a method that is not there and a request that is never
    answered count as the difference; any other error stays one.
    """

    def decorate(case: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(case)
        def run(backend: Any, **arguments: Any) -> None:
            if backend.name != "google" or case.__name__ not in known_differences:
                case(backend=backend, **arguments)
                return
            try:
                case(backend=backend, **arguments)
            except (*_DIFFERENCES, pytest.fail.Exception):
                return
            pytest.fail(f"Google's emulator no longer differs: drop {case.__name__} from the known differences")

        return run

    return decorate
