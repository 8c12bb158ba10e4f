"""What was erased is gone and stays gone; what stays is stated, with its law and its day, and certified."""

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from pg8000.native import identifier

from functions.data_export import selection
from kapas.privacy.data_map import Table, data_map
from tests.simulation.ports import Signer

if TYPE_CHECKING:
    from tests.simulation.world import World


def broken(world: "World") -> Iterator[str]:
    for partner_id, partner in world.erased.items():
        row = world.server.admin.run(
            "SELECT status, statement, certificate FROM erasures WHERE partner_id = :of", of=partner_id
        )
        status, statement, certificate = row[0]
        if status != "completed":
            yield f"an erasure is {status}"
            continue
        if not _certified(certificate, statement):
            yield "a certificate is not of its statement"
        yield from _unreadable(world, partner_id)
        yield from _rows(world, partner_id, statement)
        yield from _files(world, partner_id)
        yield from _in_clear(world, partner.personal)


def _certified(certificate: str, statement: Any) -> bool:
    header, payload, signature = certificate.split(".")
    raw = _decode(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        Signer.key.public_key().verify(der, f"{header}.{payload}".encode(), ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return json.loads(_decode(payload))["statement"] == statement


def _decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _unreadable(world: "World", partner_id: Any) -> Iterator[str]:
    """The partner's key is gone: nothing that was sealed with it can be opened."""
    if world.server.admin.run("SELECT FROM subject_keys WHERE subject_id = :of", of=partner_id):
        yield "the key of an erased partner is there"


def _rows(world: "World", partner_id: Any, statement: Any) -> Iterator[str]:
    """Rows that go are gone but for those that are stated; what is overwritten is."""
    mapped, run = data_map(), world.server.admin.run
    stated: dict[str, int] = {}
    for entry in statement["retained"]:
        stated[entry["store"]] = stated.get(entry["store"], 0) + (entry["count"] or 0)
    for table in mapped.of_partners():
        about = selection.about_subject(mapped, table)
        if table.erase == "delete":
            left = run(f"SELECT count(*) FROM {table.name} t WHERE {about}", subject=partner_id)[0][0]
            if left != stated.get(f"table {table.name}", 0):
                yield f"{left} of {table.name} are left, and {stated.get(f'table {table.name}', 0)} are stated"
        for column in table.columns.values():
            if column.erase == "redact" and _kept_as_it_was(run, table, column, about, partner_id):
                yield f"{table.name}.{column.name} is as it was"
    unlinked = run(
        """SELECT FROM partners WHERE id = :of AND pan_index IS DISTINCT FROM sha256(convert_to(id::text, 'UTF8'))""",
        of=partner_id,
    )
    if unlinked:
        yield "an erased partner is found by its number"


def _kept_as_it_was(run: Any, table: Table, column: Any, about: str, partner_id: Any) -> bool:
    for (value,) in run(f"SELECT t.{column.name} FROM {table.name} t WHERE {about}", subject=partner_id):
        if value is not None and value != (column.to.encode() if isinstance(value, bytes) else column.to):
            return True
    return False


def _files(world: "World", partner_id: Any) -> Iterator[str]:
    """No statute that is in force on the day keeps one, also where its row stays."""
    left = [path for path in world.uploads.bucket.stored if str(partner_id) in path]
    if left:
        yield f"{len(left)} files of an erased partner are there"


def _in_clear(world: "World", personal: tuple[str, ...]) -> Iterator[str]:
    """Nothing that identifies it is in any table, document or file."""
    run = world.server.admin.run
    tables = run(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"
    )
    for (table,) in tables:
        found = run(
            f"SELECT FROM {identifier(table)} t WHERE t::text LIKE ANY (CAST(:patterns AS text[])) LIMIT 1",
            patterns=[f"%{value}%" for value in personal],
        )
        if found:
            yield f"{table} says who an erased partner was"
    documents = json.dumps([document for _, document in world.documents.stored.values()])
    if any(value in documents for value in personal):
        yield "a document says who an erased partner was"
