"""Wrap the keys of personal data anew in the database of `DATABASE_URL` (`make rewrap-keys`). No field is encrypted anew.

Each epoch key is wrapped under the current version of the KMS key `KMS_KEY`, so that an older version can be disabled.
`--epoch 2026-11`, which may be repeated, also moves the partners' keys away from that epoch key to the one of this month.

Each key, or batch of keys, is committed by itself: killed anywhere it can be run again, also beside another run.

The role of `DATABASE_URL` must be able to change `epoch_keys` and `subject_keys`, as the migrator is; the account it runs as,
to encrypt and decrypt with `KMS_KEY`.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from kapas.platform.db import PLATFORM, Database
from kapas.platform.gcp.kms_client import KmsClient
from kapas.platform.ports import Tampered
from kapas.platform.settings import DatabaseSettings, KeySettings
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Keyring
from tools.database import FAILURES, opened

BATCH = 500
"""Partners' keys that are moved in one transaction."""


class RewrapSettings(DatabaseSettings, KeySettings):
    """What the tool is told."""


def rewrap_epochs(database: Database, keyring: Keyring) -> int:
    """Wrap every epoch key under the key service's current version; how many there were."""
    with database.session(PLATFORM) as db:
        names = [row[0] for row in db.run("SELECT name FROM epoch_keys ORDER BY name")]
        for name in names:
            # False: another run was faster, under the same version.
            keyring.rewrap_epoch(SqlKeyStore(db), name)
    return len(names)


def move_subjects(database: Database, keyring: Keyring, epoch: str) -> int:
    """Move the partners' keys that the epoch key `epoch` wraps to the one of this month; how many there were.

    Raises `ValueError` for this month's.
    """
    moved, looked_at = 0, BATCH
    while looked_at:
        with database.session(PLATFORM) as db, db.transaction():
            looked_at = keyring.rewrap_subjects(SqlKeyStore(db), epoch, BATCH)
        moved += looked_at
    return moved


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Wrap anew, and print how many; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.rewrap_keys", description=__doc__)
    parser.add_argument("--epoch", action="append", default=[], help="a month from whose key partners' keys are moved")
    epochs = parser.parse_args(arguments).epoch
    try:
        with opened("rewrap-keys", environment, RewrapSettings) as (settings, database):
            keyring = Keyring(KmsClient(settings.kms_key, settings.kms_endpoint))
            print(f"{rewrap_epochs(database, keyring)} epoch keys are wrapped anew")
            for epoch in epochs:
                print(f"{move_subjects(database, keyring, epoch)} partners' keys are moved from {epoch}")
    except (*FAILURES, Tampered) as error:
        print(f"cannot wrap anew: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
