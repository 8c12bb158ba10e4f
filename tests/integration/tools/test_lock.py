"""`make lock`, with made-up distributions in a folder instead of an index: one version for all that is deployed."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tools.lock import lock, missing, pins, write

GROUPS = """
[dependency-groups]
http = ["web>=1,<3"]
dev = [{include-group = "http"}, "checker>=1"]
delivery = ["web>=1"]
bench = [{include-group = "dev"}, "peer>=1"]
terraform = ["web<2"]
trades = [{include-group = "http"}]
"""


def publish(folder: Path, name: str, version: str, requires: str = "") -> None:
    """A wheel with nothing in it."""
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {requires}\n" if requires else ""),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            path, digest = f"{name}-{version}.dist-info/{file}", hashlib.sha256(text.encode()).digest()
            wheel.writestr(path, text)
            record += f"{path},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},{len(text)}\n"
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", f"{record}{name}-{version}.dist-info/RECORD,,\n")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uv finds distributions, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("web", "checker", "peer"):
        publish(folder, name, "1.0", requires="base" if name == "web" else "")
    publish(folder, "base", "1.0")
    return folder


@pytest.fixture
def root(tmp_path: Path, index: Path) -> Path:
    """A repository with one capability, locked."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "pyproject.toml").write_text(GROUPS)
    add(root, "trades")
    write(lock(root))
    return root


def add(root: Path, capability: str) -> None:
    """The folder of a capability."""
    (root / "functions" / capability).mkdir(parents=True)
    (root / "functions" / capability / "main.py").write_text("")


def versions(path: Path) -> Mapping[str, str]:
    """Distribution -> its locked version."""
    return {name: text.partition("==")[2].split()[0] for name, text in pins(path).items()}


def deployed(root: Path, capability: str) -> Mapping[str, str]:
    return versions(root / "functions" / capability / "requirements.txt")


def test_every_group_is_locked_with_hashes_and_without_an_address(root: Path) -> None:
    assert deployed(root, "trades") == {"base": "1.0", "web": "1.0"}
    assert versions(root / "requirements-dev.txt") == {"base": "1.0", "checker": "1.0", "web": "1.0"}
    assert versions(root / "requirements-bench.txt") == {"base": "1.0", "checker": "1.0", "peer": "1.0", "web": "1.0"}
    for path in root.rglob("*requirements*.txt"):
        text = path.read_text()
        assert text.count("--hash=sha256:") == len(versions(path))
        assert "index" not in text
        assert "://" not in text


def test_a_new_capability_gets_the_versions_of_the_others(root: Path, index: Path) -> None:
    for name in ("web", "base"):
        publish(index, name, "2.0")
    (root / "pyproject.toml").write_text(GROUPS + 'gins = [{include-group = "http"}]\n')
    add(root, "gins")
    assert write(lock(root)) == [root / "functions/gins/requirements.txt"]
    assert deployed(root, "gins") == deployed(root, "trades") == {"base": "1.0", "web": "1.0"}


def test_what_is_pinned_stays_unless_upgraded_and_terraform_is_apart(root: Path, index: Path) -> None:
    publish(index, "web", "2.0")
    assert write(lock(root)) == []
    write(lock(root, upgrade=True))
    assert deployed(root, "trades") == {"web": "2.0"}
    assert [versions(root / f"requirements-{group}.txt")["web"] for group in ("dev", "delivery", "bench", "terraform")] == [
        "2.0", "2.0", "2.0", "1.0",
    ]  # fmt: skip


def test_a_file_that_went_its_own_way_comes_back(root: Path, index: Path) -> None:
    publish(index, "base", "2.0")
    path = root / "functions/trades/requirements.txt"
    path.write_text(path.read_text().replace("base==1.0", "base==2.0"))
    assert write(lock(root)) == [path]
    assert deployed(root, "trades")["base"] == "1.0"


def test_a_missing_group_and_one_that_cannot_be_had_are_named(root: Path) -> None:
    add(root, "gins")
    assert missing(root) == ["gins"]
    with pytest.raises(ValueError, match="no dependency group gins: add one of that name"):
        lock(root)
    (root / "pyproject.toml").write_text(GROUPS + 'gins = ["web>=9"]\n')
    with pytest.raises(ValueError, match=r"(?s)could not lock dev, delivery, gins, trades: .*web"):
        lock(root)
    assert not (root / "functions/gins/requirements.txt").exists()
