"""How tests have partners erased, and what they look at afterwards."""

from typing import Any
from uuid import UUID

from functions.data_export import erasing
from functions.data_export.schemas import Erasure, Retained
from kapas.http.identity import Identity
from tests.integration.data_export.system import System


def begin(system: System, caller: Identity) -> Erasure:
    erasure = system.request_erasure(caller)
    system.queue.enqueue(erasing.task(erasure.id))
    return erasure


def erased(system: System, caller: Identity) -> Erasure:
    erasure = begin(system, caller)
    system.work()
    after = system.erasure(caller, erasure.id)
    assert after.status == "completed"
    return after


def kept(erasure: Erasure, store: str) -> list[Retained]:
    assert erasure.statement is not None
    return [entry for entry in erasure.statement.retained if entry.store == store]


def rows(system: System, table: str, partner_id: object) -> list[list[Any]]:
    return system.run(f"SELECT * FROM {table} WHERE partner_id = :id", id=partner_id)


def everything(system: System, partner_id: UUID) -> dict[str, object]:
    """What is left of a partner, apart from what is made anew each time (keys, signatures, times)."""

    def run(sql: str) -> list[list[Any]]:
        return system.run(sql, id=partner_id)

    endpoints = run("SELECT url, secret, status FROM webhook_endpoints WHERE partner_id = :id ORDER BY id")
    tables = ("webhook_messages", "webhook_attempts", "partner_documents")
    return {
        "partner": run("SELECT status, legal_name IS NULL FROM partners WHERE id = :id"),
        "index": run("SELECT pan_index FROM partners WHERE id = :id") == [[partner_id.bytes]],
        "endpoints": endpoints,
        **{table: len(rows(system, table, partner_id)) for table in tables},
        "key": run("SELECT count(*) FROM subject_keys WHERE subject_id = :id"),
        "statutory": run("SELECT column_name FROM statutory_records WHERE partner_id = :id ORDER BY 1"),
        "uploads": [path for path in system.uploads.objects if str(partner_id) in path],
        "document": system.documents.documents[f"partners/{partner_id}"]["status"],
    }
