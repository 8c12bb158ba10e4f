"""What an archive leaves out of a table that it has: the checks that the platform's staff alone may see."""

import io
import json
import zipfile
from pathlib import Path
from uuid import UUID

import pytest

from functions.data_export import erasing, preparing, shards
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field
from kapas.values import clock, ids
from tests.integration.data_export.system import System
from tools.verify_archive import faults

LISTED = "Somebody Listed"
FOUND = {
    "gst_registry": ("clear", [], {"legal_name": "Example Ginning"}),
    "bank_account": ("review", ["account_name_differs"], {"registered_name": "Example Ginners"}),
    "screening": ("mismatch", ["listed_name"], {"hits": [{"name": LISTED, "score": 0.97}]}),
}


def checked(system: System, partner_id: UUID, submissions: int) -> None:
    """So many submissions, in each of which the screening found somebody, and what a person decided on each."""
    for submission in range(1, submissions + 1):
        for kind, (result, explanation, evidence) in FOUND.items():
            check_id = ids.uuid7()
            field = Field("partner_checks", "evidence", check_id)
            with system.database.session(partner_id) as db:
                sealed = system.keyring.encrypt(SqlKeyStore(db), partner_id, field, json.dumps(evidence))
            system.run(
                """INSERT INTO partner_checks (id, partner_id, submission, kind, attempts, result, explanation, provider,
                     evidence, created_at, completed_at)
                   VALUES (:id, :of, :submission, :kind, 1, :result, :explanation, 'provider', :sealed, :at, :at)""",
                id=check_id,
                of=partner_id,
                submission=submission,
                kind=kind,
                result=result,
                explanation=explanation,
                sealed=sealed,
                at=clock.now(),
            )
        system.run(
            """INSERT INTO partner_decisions (id, partner_id, action, reason_code, accepted_checks, clarifications, risk,
                 decided_by, decided_at)
               VALUES (:id, :of, 'activate', 'another_of_that_name', '{screening}', '[]',
                 '{"factors": [{"name": "possible_screening_hit"}]}', 'operations', :at)""",
            id=ids.uuid7(),
            of=partner_id,
            at=clock.now(),
        )


def test_what_the_screening_found_is_neither_exported_nor_counted(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a table has several shards: their bounds are keys of rows that are exported."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)
    monkeypatch.setattr(shards, "FETCH", 2)
    owner = system.register()
    assert owner.partner_id
    checked(system, owner.partner_id, 5)
    export = system.request_export(owner)
    system.queue.enqueue(preparing.task(export.id, "plan"))
    system.work()
    assert system.export(owner, export.id).status == "ready"
    planned = system.run(
        "SELECT planned, expected FROM export_shards WHERE export_id = :id AND table_name = 'partner_checks' ORDER BY number",
        id=export.id,
    )
    assert planned == [[4, 4], [4, 4], [2, 2]]
    path = tmp_path / "archive.zip"
    path.write_bytes(data := system.archives.objects[preparing.archive_path(export.id)])
    assert list(faults(path, system.signer.public_key())) == []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        checks = [json.loads(line) for line in archive.read("data/partner_checks.jsonl").splitlines()]
        text = "".join(archive.read(name).decode(errors="replace") for name in archive.namelist())
    assert sorted(check["kind"] for check in checks) == ["bank_account"] * 5 + ["gst_registry"] * 5
    assert all(json.loads(check["evidence"]) == FOUND[check["kind"]][2] for check in checks)
    for found in (LISTED, "listed_name", "possible_screening_hit", "another_of_that_name"):
        assert found not in text


def test_what_an_archive_leaves_out_is_erased_with_the_rest(system: System) -> None:
    owner = system.register()
    assert owner.partner_id
    checked(system, owner.partner_id, 1)
    erasure = system.request_erasure(owner)
    system.deliver(erasing.task(erasure.id))
    assert system.erasure(owner, erasure.id).status == "completed"
    assert system.run("SELECT FROM partner_checks WHERE partner_id = :id", id=owner.partner_id) == []
