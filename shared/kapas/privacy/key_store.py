"""The rows of wrapped keys, in PostgreSQL: what `kapas.privacy.keys.Keyring` reads and writes within a session."""

from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from kapas.errors import Unavailable
from kapas.platform.db import Row, Session
from kapas.privacy.keys import SubjectKey, WrappedKey
from kapas.values import clock

K = TypeVar("K")

_SUBJECT = """SELECT s.subject_id, s.epoch, e.wrapped, s.wrapped
  FROM subject_keys s JOIN epoch_keys e ON e.name = s.epoch"""


class SqlKeyStore:
    """A `kapas.privacy.keys.KeyStore` in the session's transaction, or in one statement each outside of one."""

    def __init__(self, db: Session) -> None:
        self._db = db

    def epoch_key(self, name: str) -> WrappedKey | None:
        row = self._db.one("SELECT name, wrapped FROM epoch_keys WHERE name = :name", name=name)
        return WrappedKey(row[0], bytes(row[1])) if row else None

    def add_epoch_key(self, key: WrappedKey) -> WrappedKey:
        self._db.run(
            "INSERT INTO epoch_keys (name, wrapped, created_at) VALUES (:name, :wrapped, :at) ON CONFLICT DO NOTHING",
            name=key.name,
            wrapped=key.wrapped,
            at=clock.now(),
        )
        return _require(self.epoch_key(key.name))

    def replace_epoch_key(self, old: WrappedKey, new: WrappedKey) -> bool:
        replaced = self._db.run(
            "UPDATE epoch_keys SET wrapped = :new WHERE name = :name AND wrapped = :old RETURNING name",
            name=old.name,
            old=old.wrapped,
            new=new.wrapped,
        )
        return bool(replaced)

    def subject_key(self, subject_id: UUID) -> SubjectKey | None:
        row = self._db.one(f"{_SUBJECT} WHERE s.subject_id = :subject_id", subject_id=subject_id)
        return _subject_key(row) if row else None

    def subject_keys(self, epoch: str, limit: int) -> Sequence[SubjectKey]:
        rows = self._db.run(
            f"{_SUBJECT} WHERE s.epoch = :epoch ORDER BY s.subject_id LIMIT :limit", epoch=epoch, limit=limit
        )
        return [_subject_key(row) for row in rows]

    def add_subject_key(self, key: SubjectKey) -> SubjectKey:
        self._db.run(
            """INSERT INTO subject_keys (subject_id, epoch, wrapped, created_at)
               VALUES (:subject_id, :epoch, :wrapped, :at) ON CONFLICT DO NOTHING""",
            subject_id=key.subject_id,
            epoch=key.epoch.name,
            wrapped=key.wrapped,
            at=clock.now(),
        )
        return _require(self.subject_key(key.subject_id))

    def replace_subject_key(self, old: SubjectKey, new: SubjectKey) -> bool:
        replaced = self._db.run(
            """UPDATE subject_keys SET epoch = :new_epoch, wrapped = :new
               WHERE subject_id = :subject_id AND epoch = :old_epoch AND wrapped = :old RETURNING subject_id""",
            subject_id=old.subject_id,
            old_epoch=old.epoch.name,
            old=old.wrapped,
            new_epoch=new.epoch.name,
            new=new.wrapped,
        )
        return bool(replaced)

    def delete_subject_key(self, subject_id: UUID) -> None:
        self._db.run("DELETE FROM subject_keys WHERE subject_id = :subject_id", subject_id=subject_id)


def _require(key: K | None) -> K:
    """The row after its insert. It is missing only if it was deleted at this moment: sealing under it would lose data."""
    if key is None:
        raise Unavailable("The key was deleted while it was being made")
    return key


def _subject_key(row: Row) -> SubjectKey:
    return SubjectKey(row[0], WrappedKey(row[1], bytes(row[2])), bytes(row[3]))
