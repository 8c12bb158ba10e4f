"""The notices that consent is asked with: data files by version and language, which never change once published.

`notices/published.json` has the date from which each version is shown and the hash of each of its files: one for each of its
languages, and `terms.json`, the part of a notice that records repeat: who, where, for how long (ISO/IEC TS 27560).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kapas.privacy.signing import digest
from kapas.values.clock import IST

from .schemas import LANGUAGES, ConsentNotice, Language, NoticeContent, Purpose

FOLDER = Path(__file__).with_name("notices")


class ChangedNotice(Exception):
    """A published file is missing, or is not what was published: what people agreed to could not be proved any more."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the notice in its languages, with its terms."""

    effective_from: datetime
    notices: Mapping[Language, ConsentNotice]
    terms: Mapping[str, Any]

    def asks_for(self, purpose: Purpose) -> bool:
        """Whether it is a purpose of this version."""
        return purpose in self.terms["purposes"]

    def record_terms(self, purpose: Purpose) -> dict[str, Any]:
        """What a record of `purpose` repeats of the terms."""
        of_purpose = self.terms["purposes"][purpose]
        return {
            "pii_information": of_purpose["pii_information"],
            "controllers": self.terms["controllers"],
            "storage_locations": of_purpose["storage_locations"],
            "retention": of_purpose["retention"],
            "jurisdiction": self.terms["jurisdiction"],
            "recipients": of_purpose["recipients"],
            "withdrawal_method": self.terms["withdrawal_method"],
        }

    def validity(self, purpose: Purpose) -> timedelta:
        """For how long a grant holds."""
        return timedelta(days=self.terms["purposes"][purpose]["validity_days"])


@dataclass(frozen=True, slots=True)
class Notices:
    """Every published version, by name, oldest first."""

    versions: Mapping[str, Version]

    def current(self, at: datetime) -> str | None:
        """The name of the version that is shown at a moment; None before the first."""
        shown = [name for name, version in self.versions.items() if version.effective_from <= at]
        return shown[-1] if shown else None

    def find(self, name: str, at: datetime) -> Version | None:
        """A version that is, or has been, shown at a moment."""
        version = self.versions.get(name)
        return version if version is not None and version.effective_from <= at else None


def load(folder: Path = FOLDER) -> Notices:
    """Read what is published. Raises `ChangedNotice` if a file does not have the hash it was published with."""
    published: dict[str, Any] = json.loads((folder / "published.json").read_text())
    versions = {name: _version(folder / name, entry) for name, entry in published.items()}
    return Notices(dict(sorted(versions.items(), key=lambda item: item[1].effective_from)))


def _version(folder: Path, published: dict[str, Any]) -> Version:
    effective_from = datetime.fromisoformat(published["effective_from"]).replace(tzinfo=IST)
    hashes: dict[str, str] = published["sha256"]
    notices: dict[Language, ConsentNotice] = {
        language: ConsentNotice(
            version=folder.name,
            language=language,
            sha256=hashes[language],
            effective_from=effective_from,
            content=NoticeContent.model_validate(_read(folder, language, hashes)),
        )
        for language in LANGUAGES
        if language in hashes
    }
    return Version(effective_from, notices, _read(folder, "terms", hashes))


def _read(folder: Path, name: str, published: dict[str, str]) -> dict[str, Any]:
    path = folder / f"{name}.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if digest(content).hex() != published[name]:
        raise ChangedNotice(
            f"{folder.name}/{path.name} is not what was published: put it back, and publish a new version"
        )
    return content
