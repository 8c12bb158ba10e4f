"""Processes under measure: functions as functions-framework serves them on Google Cloud, their peers, and stand-ins."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.bench import load
from tools.catalog import ROOT

START_BOUND = 30.0
"""Seconds a process may take until it answers."""
_STOP_BOUND = 5.0
_POLL = 0.002


class NotStarted(RuntimeError):
    """A process ended, or did not answer in time."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def function_command(source: Path, target: str) -> list[str]:
    """The command that serves a function: the framework's own gunicorn, as the buildpack starts it."""
    return [sys.executable, "-m", "functions_framework", "--source", str(source), "--target", target]


def function_environment(port: int, threads: int, variables: Mapping[str, str]) -> dict[str, str]:
    """Of a function in an instance with one CPU: one worker, THREADS = concurrency, and files in memory.

    On Cloud Run every file is in memory ("File system access", Container runtime contract). It matters: gunicorn's worker
    touches a temporary file at every turn of its loop.
    """
    environment = {"HOST": "127.0.0.1", "PORT": str(port), "THREADS": str(threads), "WORKERS": "1", **variables}
    memory = Path("/dev/shm")  # noqa: S108 - gunicorn makes its file there with mkstemp
    return {**environment, "TMPDIR": str(memory)} if memory.is_dir() else environment


@contextmanager
def running(
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    stdin: bytes = b"",
    output: int | None = subprocess.DEVNULL,
    cpu: int | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """A process with `variables` added to this one's environment, and without its PYTHONPATH; stopped at the end.

    With `cpu` it has that one CPU, counted from 0 and round again, with all of its threads and children: so much an instance
    has (terraform/modules/function). Free to move, threads that share an interpreter are passed from one CPU to another.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "shared"), **variables}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=output)
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process.pid, {cpus[cpu % len(cpus)]})
    try:
        if process.stdin:
            process.stdin.write(stdin)
            process.stdin.close()
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_BOUND)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def first_answer(process: subprocess.Popen[bytes], port: int, request: bytes, status: int | None = 200) -> None:
    """Return when `request` is answered with `status` (None: with any): connect until the port is open, then wait.

    Raises `NotStarted` if the process ends or `START_BOUND` passes, `LoadError` for another status.
    """
    deadline = time.monotonic() + START_BOUND
    while True:
        try:
            outcome = load.drive(port, [request], 1)
            break
        except ConnectionError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{process.args!r} does not answer") from None
            time.sleep(_POLL)
    if status is not None:
        outcome.require(status)


def accepting(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when `process` accepts connections, of whatever protocol. Raises `NotStarted`."""
    deadline = time.monotonic() + START_BOUND
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{process.args!r} does not accept connections") from None
            time.sleep(_POLL)


@contextmanager
def stand_in(answers: Mapping[str, object]) -> Generator[str]:
    """The address of a process that answers GETs below these paths (JSON, or text as it is), and 204 to POSTs."""
    port = free_port()
    texts = {path: answer if isinstance(answer, str) else json.dumps(answer) for path, answer in answers.items()}
    command = [sys.executable, "-m", "tools.bench.stand_in", str(port)]
    with running(command, {}, stdin=json.dumps(texts).encode()) as process:
        first_answer(process, port, load.request("POST", "/"), status=204)
        yield f"http://127.0.0.1:{port}"
