"""Mistakes in consents, exports, erasures and the retention sweep."""

from collections.abc import Iterator
from typing import Any

import kapas.privacy.keys
from tests.simulation.fleet import Functions
from tests.simulation.mutants import Patch, instead, mutant


@mutant(60, stories=("consents",))
def ledger_head_without_lock(functions: Functions) -> Iterator[Patch]:
    """Two decisions read one head: the later one is refused, where it should have waited its turn."""
    store = functions.module("consent-updates").service.store

    def look(db: Any, new: Any) -> Any:
        row = db.one(store._HEAD, subject_id=new.subject_id)
        if row is None:
            db.run(store._OPEN, subject_id=new.subject_id, id=new.ledger_id, head_hash=new.hash, at=new.updated_at)
            row = db.one(store._HEAD, subject_id=new.subject_id)
        return new if row is None else store._head(row)

    yield store, "lock", look


@mutant(60, stories=("consents",))
def only_withdrawals_stop_processors(functions: Functions) -> Iterator[Patch]:
    """A no to what was granted tells no processor."""
    lifecycle = functions.module("consent-updates").service.lifecycle
    yield lifecycle, "ends_processing", lambda decision, last: last == "granted" and decision == "withdrawn"


@mutant(60, "freeze", stories=("exports", "erasures"))
def archive_appears_after_its_erasure(functions: Functions) -> Iterator[Patch]:
    """That a partner is being erased is not asked again when its archive is done."""
    store = functions.module("export-work").preparing.store
    change = ("AND NOT EXISTS (SELECT FROM restrictions r WHERE r.subject_id = exports.partner_id)", "")
    yield store, "_READY", instead(store._READY, change)


@mutant(20, stories=("exports",))
def shard_forgets_its_last_rows(functions: Functions) -> Iterator[Patch]:
    """A shard ends before its upper bound."""
    selection = functions.module("export-work").preparing.shards.shard_store.selection
    beyond = selection.beyond
    yield selection, "beyond", lambda table, name, comparison: beyond(table, name, comparison.replace("<=", "<"))


@mutant(60, stories=("erasures",))
def erased_under_a_hold(functions: Functions) -> Iterator[Patch]:
    """An erasure does not ask for legal holds."""
    yield functions.module("erasure-work").erasing.holds, "is_held", lambda db, subject: False


@mutant(20, stories=("erasures",))
def key_is_not_destroyed(functions: Functions) -> Iterator[Patch]:
    """The instance forgets the partner's key, and the database keeps it."""
    yield kapas.privacy.keys.Keyring, "shred", lambda keyring, _, subject_id: keyring.forget(subject_id)


@mutant(40, stories=("sweeps",))
def delete_without_hold_check(functions: Functions) -> Iterator[Patch]:
    """A sweep deletes what a legal hold keeps."""
    yield functions.module("retention-batch").sweeping.due_store, "_held", lambda _: "false"


@mutant(20, stories=("sweeps",))
def sweep_leaves_files(functions: Functions) -> Iterator[Patch]:
    """Rows go and their files stay, with nothing that leads to them."""
    yield functions.module("retention-batch").sweeping, "_remove_outside", lambda *_: 0
