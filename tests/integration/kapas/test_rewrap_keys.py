"""What `make rewrap-keys` makes of the key tables: what was encrypted is read as before, without the key's old version."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pg8000.native import Connection

from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Tampered
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring
from kapas.values import ids
from local_cloud.postgres import Postgres
from tests.integration.conftest import Login
from tests.times import Time, moving_time
from tests.unit.kapas.fake_keys import Kms
from tools import rewrap_keys

START = datetime(2026, 10, 24, 6, 30, tzinfo=UTC)
Run = Callable[..., int]


class Killed(BaseException):
    """The tool is gone in this moment."""


@pytest.fixture
def time() -> Iterator[Time]:
    with moving_time(START) as time:
        yield time


class Platform:
    """Partners of two months, each with one encrypted field, and a blind index."""

    def __init__(self, database: Database, time: Time) -> None:
        self.kms = Kms()
        self._database = database
        self._sealed: dict[UUID, bytes] = {}
        for day in (time.now, datetime(2026, 11, 24, tzinfo=UTC)):
            time.now = day
            for _ in range(5):
                self._seal(ids.uuid7())
        self._index = self._blind_index()

    def _seal(self, partner_id: UUID) -> None:
        with self._database.session(PLATFORM) as db, db.transaction():
            cipher = Keyring(self.kms).create_subject(SqlKeyStore(db), partner_id)
        self._sealed[partner_id] = cipher.encrypt(self._field(partner_id), str(partner_id))

    @staticmethod
    def _field(partner_id: UUID) -> Field:
        return Field("partners", "legal_name", partner_id)

    def _blind_index(self) -> bytes:
        with self._database.session(PLATFORM) as db:
            return Keyring(self.kms).blind_index(SqlKeyStore(db), "pan", "AAAFE1234K")

    def read(self) -> None:
        """Read everything as an instance does that has just started."""
        keyring = Keyring(self.kms)
        with self._database.session(PLATFORM) as db:
            for partner_id, sealed in self._sealed.items():
                opened = keyring.decrypt(SqlKeyStore(db), partner_id, self._field(partner_id), sealed)
                assert opened.decode() == str(partner_id)
        assert self._blind_index() == self._index

    def disable_first_version(self) -> None:
        self.kms.versions[0] = AESGCM(b"another".ljust(32))


@pytest.fixture
def platform(admin: Connection, login: Login, time: Time) -> Iterator[Platform]:
    admin.run("TRUNCATE epoch_keys, subject_keys")
    database = Database(login("postgres"), 1)
    yield Platform(database, time)
    database.close()


@pytest.fixture
def run(platform: Platform, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The tool, as it is called."""
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres?sslmode=disable"
    monkeypatch.setattr(rewrap_keys, "KmsClient", lambda *_: platform.kms)
    return lambda *arguments: rewrap_keys.main(arguments, {"DATABASE_URL": url, "KMS_KEY": "personal-data"})


def epochs(admin: Connection) -> dict[str, int]:
    """How many partners' keys each epoch key wraps."""
    return {row[0]: row[1] for row in admin.run("SELECT epoch, count(*) FROM subject_keys GROUP BY 1 ORDER BY 1")}


def test_an_old_version_is_not_needed_any_more(
    platform: Platform, admin: Connection, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.kms.rotate()
    assert [run(), run()] == [0, 0]
    assert capsys.readouterr().out == "3 epoch keys are wrapped anew\n" * 2
    platform.disable_first_version()
    platform.read()
    assert epochs(admin) == {"2026-10": 5, "2026-11": 5}


def test_without_it_everything_is_unreadable(platform: Platform) -> None:
    platform.kms.rotate()
    platform.disable_first_version()
    with pytest.raises(Tampered):
        platform.read()


def test_partners_keys_are_moved_from_an_epoch(
    platform: Platform, admin: Connection, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrap_keys, "BATCH", 2)
    assert [run("--epoch", "2026-10"), run("--epoch", "2026-10")] == [0, 0]
    told = [line for line in capsys.readouterr().out.splitlines() if "moved" in line]
    assert told == ["5 partners' keys are moved from 2026-10", "0 partners' keys are moved from 2026-10"]
    assert epochs(admin) == {"2026-11": 10}
    admin.run("DELETE FROM epoch_keys WHERE name = '2026-10'")
    platform.read()
    assert run("--epoch", "2026-11") == 2
    assert "current epoch" in capsys.readouterr().err


def test_killed_anywhere_it_goes_on(
    platform: Platform, admin: Connection, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrap_keys, "BATCH", 2)
    platform.kms.rotate()
    for method, at in (("replace_epoch_key", 2), ("replace_subject_key", 2), ("replace_subject_key", 1)):
        replace, calls = getattr(SqlKeyStore, method), 0

        def killing(*arguments: object, after: int = at, of: Callable[..., bool] = replace) -> bool:
            nonlocal calls
            calls += 1
            done = of(*arguments)
            if calls == after:
                raise Killed
            return done

        with monkeypatch.context() as patched:
            patched.setattr(SqlKeyStore, method, killing)
            with pytest.raises(Killed):
                run("--epoch", "2026-10")
        platform.read()
        assert epochs(admin)["2026-10"] == 5  # a batch is moved as a whole
    assert run("--epoch", "2026-10") == 0
    assert epochs(admin) == {"2026-11": 10}
    platform.disable_first_version()
    platform.read()
