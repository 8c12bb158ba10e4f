"""The local cloud as a process: ports, `kill -9`, restarts, several at once."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from google.cloud import firestore
from pg8000.native import Connection

from local_cloud import confine
from local_cloud.client import Client, running
from local_cloud.cloud import LocalCloud
from local_cloud.environment import DATABASE
from local_cloud.postgres import Postgres
from local_cloud.provision import prepare_database
from tests.journeys.deals import contracted
from tests.journeys.partners import active_partner
from tests.times import PATIENCE, eventually
from tools.catalog import catalog


def test_it_starts_again_with_its_data_after_kill_9(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--folder", str(tmp_path / "data"))
    with running(tmp_path / "first.log", *arguments) as (client, process):
        seller, buyer = active_partner(client), active_partner(client)
        trade = seller.owner.get(f"/v1/trades/{contracted(seller, buyer)['id']}").body
        _assert_document(client, trade["id"])
        before = _children(process.pid)
        assert before
        process.kill()
        process.wait(PATIENCE)
    _wait_until_gone(before)

    with running(tmp_path / "second.log", *arguments) as (client, process):
        again = client.as_user("owner", seller.id, "owner")
        assert again.get(f"/v1/trades/{trade['id']}").body == trade
        # Decrypted with a key that the key service must have kept.
        assert again.get(f"/v1/partners/{seller.id}").body["legal_name"] == seller.body["legal_name"]
        assert client.get("/_local/documents").body[f"trades/{trade['id']}"]["status"] == "contracted"
        assert contracted(seller_again(client, seller), seller_again(client, buyer))["status"] == "contracted"
        children = _children(process.pid)
    _wait_until_gone([*children, process.pid])


def seller_again(client: Client, partner: object) -> object:
    """The partner with a client of this run."""
    from dataclasses import replace

    return replace(partner, owner=client.as_user("owner", partner.id, "owner"))


def test_what_was_committed_before_the_kill_is_published_after_it(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--folder", str(tmp_path / "data"))
    with running(tmp_path / "first.log", *arguments) as (client, process):
        seller, buyer = active_partner(client), active_partner(client)
        client.post("/_local/faults", {"edge": "push", "kind": "drop", "times": 10_000})
        trade = contracted(seller, buyer)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    with running(tmp_path / "second.log", *arguments) as (client, _):
        client.post("/_local/clock", {"advance": "PT5M"})
        _assert_document(client, trade["id"])


def test_a_taken_port_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-m", "local_cloud", "--temporary", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.strip() == f"port {port} is taken: choose another, make run PORT=8081"


def test_two_run_side_by_side_and_neither_sees_the_other(tmp_path: Path) -> None:
    with (
        running(tmp_path / "one.log", "--port", "0", "--temporary") as (one, _),
        running(tmp_path / "two.log", "--port", "0", "--temporary") as (two, _),
    ):
        contracted(active_partner(one), active_partner(one))
        assert two.as_user("operations", None, "ops").get("/v1/trades").body["data"] == []


def test_a_folder_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--folder", str(tmp_path / "data"))
    with (
        running(tmp_path / "one.log", *arguments),
        pytest.raises(RuntimeError, match="did not start") as refused,
        running(tmp_path / "two.log", *arguments),
    ):
        pass
    assert "Traceback" not in str(refused.value)


ABANDONING = """
import os, sys
from pathlib import Path
from local_cloud import client

def killed(process, *_):
    print(process.pid, flush=True)
    os._exit(1)

client._ready = killed
with client.running(Path(sys.argv[1]), "--port", "0", "--temporary"):
    pass
"""


def test_whoever_starts_it_and_is_killed_before_it_is_ready_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ABANDONING, str(tmp_path / "log")]
    started = subprocess.run(command, capture_output=True, text=True, check=False)
    pid = int(started.stdout)
    try:
        _wait_until_gone([pid])  # it starts to the end first
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def test_data_of_other_migrations_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Postgres(folder / "postgres", durable=True) as server:
        prepare_database(catalog(), server.port)
        with Connection("postgres", host="127.0.0.1", port=server.port, database=DATABASE) as connection:
            connection.run("UPDATE schema_migrations SET sha256 = 'of another branch' WHERE version = 1")
    command = [sys.executable, "-m", "local_cloud", "--port", "0", "--folder", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert "changed since it was applied" in line
    assert str(folder) in line


def test_one_that_keeps_nothing_leaves_no_copy_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root in a container it is run by `nobody`, who reaches neither the folder nor the installed server."""
    last = confine.modes()[-1:]
    monkeypatch.setattr(confine, "modes", lambda: last)
    with LocalCloud() as cloud:
        pointer = cloud.postgres.folder / "outside"
        homes = [Path(pointer.read_text())] if pointer.exists() else []
        assert bool(homes) == (confine.modes() == ("nobody",))
        assert all(home.is_dir() for home in homes)
    assert not [home for home in homes if home.exists()]


def _children(pid: int) -> list[int]:
    """Every process below `pid`."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found, frontier = list[int](), [pid]
    while frontier:
        frontier = [child for child, parent in pairs if parent in frontier]
        found += frontier
    return found


def _wait_until_gone(pids: list[int]) -> None:
    for pid in pids:
        eventually(lambda pid=pid: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), f"the end of process {pid}")


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _assert_document(client: Client, trade_id: str) -> None:
    """Through Google's own client, as an app would."""
    client.settle()
    os.environ["FIRESTORE_EMULATOR_HOST"] = client.get("/_local/endpoints").body["FIRESTORE_EMULATOR_HOST"]
    document = firestore.Client(project="kapas-local").document(f"trades/{trade_id}")
    assert document.get().get("status") == "contracted"
