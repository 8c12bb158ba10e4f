"""The local PostgreSQL: as root and as a user, side by side, after `kill -9`."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from pg8000.native import Connection, DatabaseError

from local_cloud import confine, outside, postgres
from local_cloud.postgres import Postgres, PostgresError
from tests.times import eventually

ROOT = Path(__file__).resolve().parents[3]
MODES = confine.modes()

OWNER = """
import sys, threading
from pathlib import Path
from pg8000.native import Connection
from local_cloud import confine
from local_cloud.postgres import Postgres

folder, *mode = sys.argv[1:]
if mode:
    confine.modes = lambda: mode
server = Postgres(Path(folder), durable=True)
starter = threading.Thread(target=server.start)
starter.start()
starter.join()
connection = Connection("postgres", host="127.0.0.1", port=server.port, database="postgres")
connection.run("CREATE TABLE lots (id int)")
connection.run("INSERT INTO lots VALUES (7)")
print(server.pid, flush=True)
sys.stdin.read()
"""
"""Starts a server from a thread that ends, commits a row, prints the server's process id and waits to be killed."""


def connect(server: Postgres) -> Connection:
    return Connection("postgres", host="127.0.0.1", port=server.port, database="postgres")


def gone(pid: int) -> bool:
    """Whether the process has ended (one that waits to be resumed has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that `nobody` reaches too, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="kapas-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to run a server from here; the last one is what remains where the kernel refuses namespaces."""
    if request.param != "user" and not confine.succeeds(request.param, "/bin/true"):
        assert request.param == "namespace", "nothing but namespaces is optional"
        return MODES[-1]
    monkeypatch.setattr(confine, "modes", lambda: (request.param,))
    return request.param


def test_settings(server: Postgres) -> None:
    names = ["TimeZone", "jit", "max_connections", "server_encoding", "log_parameter_max_length", "listen_addresses"]
    row = connect(server).run("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
    assert row == [["UTC", "off", "100", "UTF8", "0", "127.0.0.1"]]
    [[locale]] = connect(server).run("SELECT datlocale FROM pg_database WHERE datname = 'postgres'")
    assert locale == "C.UTF-8"
    assert server.dsn("kapas", "trade") == f"postgresql://kapas@127.0.0.1:{server.port}/trade?sslmode=disable"


def test_values_stay_out_of_the_log(server: Postgres) -> None:
    connection = connect(server)
    connection.run("CREATE TABLE people (phone text PRIMARY KEY, age int)")
    connection.run("INSERT INTO people VALUES (:phone, 1)", phone="+919812345678")
    with pytest.raises(DatabaseError):
        connection.run("INSERT INTO people VALUES (:phone, 1)", phone="+919812345678")
    with pytest.raises(DatabaseError):
        connection.run("SELECT CAST(:age AS text)::int", age="+919812345678")
    with pytest.raises(DatabaseError):
        connection.run("INSERT INTO people VALUES ('+919812345678', 1)")
    assert "ready to accept connections" in server.log.read_text()
    assert "9812345678" not in server.log.read_text()


def test_ctrl_c_does_not_reach_it(server: Postgres) -> None:
    assert server.pid is not None
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        assert connect(server).run("SELECT 1") == [[1]]
        assert server.pid is not None
    finally:
        server.stop()


def test_keeps_its_data_and_leaves_no_process(folder: Path, mode: str) -> None:
    with Postgres(folder, max_connections=20) as first:
        assert first.pid is not None
        processes = [first.pid, *children(first.pid)]
        connect(first).run("CREATE TABLE bales (id int)")
    assert all(gone(pid) for pid in processes)
    with Postgres(folder, max_connections=20) as second:
        connection = connect(second)
        assert connection.run("SELECT * FROM bales") == []
        assert connection.run("SHOW max_connections") == [["20"]]
        owner = Path(f"/proc/{second.pid}").stat().st_uid
        assert owner == confine.owner(mode) == (folder / "data").stat().st_uid


def test_a_cluster_of_one_mode_starts_in_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster made in one mode starts in another: the kernel's mind, or ours, may change."""
    usable = [mode for mode in MODES if mode == "user" or confine.succeeds(mode, "/bin/true")]
    for mode in (usable[-1], *usable):
        monkeypatch.setattr(confine, "modes", lambda mode=mode: (mode,))
        with Postgres(folder) as server:
            connect(server).run("CREATE TABLE IF NOT EXISTS bales (id int)")


def test_a_folder_that_only_its_owner_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    folder = tmp_path / "checkout"
    monkeypatch.setattr(confine, "modes", lambda: MODES[-1:])
    with Postgres(folder) as server:
        connect(server).run("CREATE TABLE bales (id int)")
    with Postgres(folder) as server:
        assert connect(server).run("SELECT * FROM bales") == []
    pointer = folder / "outside"
    assert pointer.exists() == (MODES[-1] == "nobody")
    if pointer.exists():
        shutil.rmtree(pointer.read_text())


def test_a_home_outside(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    home = outside.home(folder)
    assert home.parent == outside.base()
    assert outside.home(folder) == home
    copy = outside.copy_of(postgres._packages(), home, "18")
    assert confine.succeeds(MODES[-1], copy / postgres._BINARIES / "initdb", "--version")
    shutil.rmtree(folder)
    folder.mkdir()
    another = outside.home(folder)
    assert another != home
    assert not home.exists(), "the home of a deleted folder is cleared away"
    shutil.rmtree(another)


def test_two_side_by_side(server: Postgres, tmp_path: Path) -> None:
    with Postgres(tmp_path) as other:
        assert other.port != server.port
        connect(other).run("CREATE TABLE only_here (id int)")
        assert connect(server).run("SELECT to_regclass('only_here')") == [[None]]


def test_a_second_start_refuses(server: Postgres) -> None:
    with pytest.raises(PostgresError, match=f"^PostgreSQL already runs on {server.folder}: stop the other one first$"):
        Postgres(server.folder).start()
    with pytest.raises(PostgresError, match="already runs"):
        server.start()
    assert connect(server).run("SELECT 1") == [[1]]


def test_a_taken_port(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PostgresError, match="Address already in use"):
        Postgres(tmp_path, port=server.port).start()
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        free = spare.getsockname()[1]
    offers = iter([server.port, free])
    monkeypatch.setattr(postgres, "_free_port", lambda: next(offers))
    with Postgres(tmp_path) as second:
        assert second.port == free


def test_a_cluster_that_was_half_made(tmp_path: Path) -> None:
    partial = tmp_path / "data.partial"
    partial.mkdir()
    (partial / "PG_VERSION").write_text("18\n")
    with Postgres(tmp_path) as server:
        assert connect(server).run("SELECT 1") == [[1]]
    assert not partial.exists()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with Postgres(tmp_path):
        pass
    (tmp_path / "data/PG_VERSION").write_text("12\n")
    with pytest.raises(PostgresError, match=r"did not start: .*database files are incompatible with server") as raised:
        Postgres(tmp_path).start()
    assert "\n" not in str(raised.value)


def test_killed_server_has_every_commit(tmp_path: Path) -> None:
    server = Postgres(tmp_path, durable=True)
    server.start()
    connection = connect(server)
    connection.run("CREATE TABLE lots (id int)")
    for number in range(200):
        connection.run("INSERT INTO lots VALUES (:number)", number=number)
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.pid is None, "the end of the server")
    # Another live process of ours has the process id now, as may be after a reboot.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as another:
        status = tmp_path / "data/postmaster.pid"
        status.write_text(status.read_text().replace(str(pid), str(another.pid), 1))
        with server:
            assert connect(server).run("SELECT count(*) FROM lots") == [[200]]
        another.kill()


def kill_owner_and_start_again(command: list[str], folder: Path) -> None:
    """Kill what `command` (OWNER) started, by -9, and see its server go; it starts again with its data."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    processes = [pid, *children(pid)]
    owner.kill()
    owner.communicate()
    with Postgres(folder, durable=True) as server:
        assert all(gone(process) for process in processes)
        assert connect(server).run("SELECT id FROM lots") == [[7]]


def test_killed_owner(folder: Path, mode: str) -> None:
    kill_owner_and_start_again([sys.executable, "-c", OWNER, str(folder), mode], folder)


def test_as_an_ordinary_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of the server itself is somebody other than root: anybody who can run this Python."""
    who = next(mode for mode in reversed(MODES) if confine.succeeds(mode, sys.executable, "-c", "pass"))
    os.chown(folder, confine.owner(who), -1)
    monkeypatch.setattr(confine, "modes", lambda: (who,))
    kill_owner_and_start_again(confine.command(who, sys.executable, "-c", OWNER, folder), folder)
