"""The archive: a ZIP as a stream, what its manifest proves, and that whatever is changed is found."""

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.data_export import archive, shards
from functions.data_export.archive import Contents, Incomplete, Part
from kapas.privacy import signing
from kapas.privacy.data_map import DataMap, data_map, parse
from kapas.values.ids import uuid7
from tests.integration.data_export.system import Faults, Signer
from tools import verify_archive

AT = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
SUBJECT = uuid7()
NOTES: dict[str, Any] = {
    "title": "Notes",
    "purpose": "To remember",
    "subject": ["partner_id"],
    "key": {"id": "uuid"},
    "retention": "books_of_account",
    "erase": "retain",
    "files": {"bucket": "uploads", "path": "notes/{id}"},
    "columns": {"id": "identifier", "partner_id": "identifier", "text": "commercial"},
}


def notes_map() -> DataMap:
    entry = {"version": "1", "region": "r", "recipients": [{"name": "<b>", "purpose": "&"}]}
    return parse({**entry, "tables": {"notes": NOTES}, "collections": {}, "buckets": {}})


class Output(io.RawIOBase):
    """An upload: it takes bytes and can do nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def note(text: str, number: int = 1) -> dict[str, Any]:
    return {"id": str(number), "partner_id": str(SUBJECT), "text": text}


def part(records: list[dict[str, Any]], expected: int | None = None) -> bytes:
    count = len(records) if expected is None else expected
    return b"".join(map(shards.encode, [*records, {"expected": count}]))


def build(
    parts: list[bytes],
    signer: Signer,
    files: dict[str, bytes] | None = None,
    hashed: Callable[[bytes], str] = lambda data: hashlib.sha256(data).hexdigest(),
) -> bytes:
    held = {f"part{n}": data for n, data in enumerate(parts)}

    def opener(of: dict[str, bytes]) -> archive.OpenFile:
        @contextmanager
        def opened(path: str) -> Iterator[BinaryIO]:
            if path not in of:
                raise FileNotFoundError(path)
            yield io.BytesIO(of[path])

        return opened

    found = notes_map()
    described = [Part(path, json.loads(data.splitlines()[-1])["expected"], hashed(data)) for path, data in held.items()]
    contents = Contents(
        export_id=uuid7(),
        subject=SUBJECT,
        generated_at=AT,
        tables=[(found.tables["notes"], described)],
        open_part=opener(held),
        open_file=lambda _: opener(files or {}),
    )
    output = Output()
    archive.build(output, found, signer, contents)
    return bytes(output.data)


@pytest.fixture
def signer() -> Signer:
    return Signer(Faults())


@pytest.fixture
def made(signer: Signer, tmp_path: Path) -> Path:
    path = tmp_path / "archive.zip"
    parts = [part([note("one", 1), note("two", 2)]), part([note("three", 3)])]
    path.write_bytes(build(parts, signer, {"notes/1": b"scan", "notes/3": b"scan"}))
    return path


def test_an_archive_is_whole(made: Path, signer: Signer) -> None:
    assert list(verify_archive.faults(made, signer.public_key())) == []
    with zipfile.ZipFile(made) as found:
        assert found.testzip() is None
        assert [json.loads(line)["text"] for line in found.read("data/notes.jsonl").splitlines()] == [
            "one",
            "two",
            "three",
        ]
        manifest = json.loads(found.read("manifest.json"))
        assert [file["member"] for file in manifest["attachments"]] == ["files/notes/1", None, "files/notes/3"]
        assert found.read("files/notes/1") == b"scan"
        assert manifest["tables"][0]["expected"] == manifest["tables"][0]["actual"] == 3


def test_the_page_escapes_what_it_shows_and_loads_nothing(made: Path) -> None:
    with zipfile.ZipFile(made) as found:
        page = found.read("index.html").decode()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "http" not in page
    assert "<script" not in page
    assert 'href="data/notes.csv"' in page


@pytest.mark.parametrize("expected", [0, 2])
def test_a_count_that_does_not_match_is_incomplete(signer: Signer, expected: int) -> None:
    with pytest.raises(Incomplete, match=f"{expected} rows were counted, 1 were written"):
        build([part([note("one")], expected)], signer)


def test_a_part_that_was_changed_is_incomplete(signer: Signer) -> None:
    with pytest.raises(Incomplete, match="changed"):
        build([part([note("one")])], signer, hashed=lambda _: "0" * 64)


@pytest.mark.parametrize("text", ["=1+1", "+91", "-1", "@sum", "\tx", "\rx"])
def test_a_spreadsheet_runs_nothing(signer: Signer, text: str) -> None:
    with zipfile.ZipFile(io.BytesIO(build([part([note(text)])], signer))) as found:
        assert f"'{text}" in found.read("data/notes.csv").decode()
        assert json.loads(found.read("data/notes.jsonl"))["text"] == text


def rewritten(made: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with its members changed, and its own checksums made right again."""
    with zipfile.ZipFile(made) as found:
        members = {name: found.read(name) for name in found.namelist()}
    change(members)
    path = made.with_name("changed.zip")
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
    return path


def _edit_record(members: dict[str, bytes]) -> None:
    members["data/notes.jsonl"] = members["data/notes.jsonl"].replace(b"two", b"owt")


def _remove_file(members: dict[str, bytes]) -> None:
    del members["data/notes.csv"]


def _add_file(members: dict[str, bytes]) -> None:
    members["data/more.jsonl"] = b"{}"


def _edit_manifest(members: dict[str, bytes]) -> None:
    members["manifest.json"] = members["manifest.json"].replace(b'"expected": 3', b'"expected": 2')


def _sign_as_somebody_else(members: dict[str, bytes]) -> None:

    other = Signer(Faults())
    members["public-key.pem"] = other.public_key().encode()
    manifest = json.loads(members["manifest.json"])
    for entry in manifest["files"]:
        entry["sha256"] = hashlib.sha256(members[entry["path"]]).hexdigest()
    members["manifest.json"] = json.dumps(manifest).encode()
    signature = signing.detached(other, members["manifest.json"], archive.SIGNATURE_KIND)
    members["manifest.json.jws"] = signature.encode()


def _without_algorithm(members: dict[str, bytes]) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=")
    members["manifest.json.jws"] = header + b".."


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_edit_record, "data/notes.jsonl was changed"),
        (_remove_file, "data/notes.csv is missing"),
        (_add_file, "data/more.jsonl is not in the manifest"),
        (_edit_manifest, "manifest.json is not what was signed"),
        (_sign_as_somebody_else, "manifest.json is not what was signed"),
        (_without_algorithm, "manifest.json is not what was signed"),
        (lambda members: members.pop("manifest.json.jws"), "there is no manifest.json.jws"),
    ],
)
def test_whatever_is_changed_is_found(
    made: Path, signer: Signer, change: Callable[[dict[str, bytes]], None], fault: str
) -> None:
    assert fault in list(verify_archive.faults(rewritten(made, change), signer.public_key()))


def test_a_broken_download_is_found(made: Path, signer: Signer) -> None:
    made.write_bytes(made.read_bytes()[:-100])
    [fault] = verify_archive.faults(made, signer.public_key())
    assert "cannot be read" in fault


def test_whichever_byte_is_changed_it_is_told_not_raised(made: Path, signer: Signer) -> None:
    """Or the change is in none of the files: a time, an attribute of a header."""
    whole = made.read_bytes()
    members = contents(made)
    told = 0
    for position in range(len(whole)):
        made.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        found = list(verify_archive.faults(made, signer.public_key()))
        assert found or contents(made) == members, position
        told += bool(found)
    assert told > 0.7 * len(whole)


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_the_command_tells_by_its_exit_code(
    made: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = made.with_name("key.pem")
    key.write_text(signer.public_key())
    monkeypatch.setattr("sys.argv", ["verify_archive", str(made), "--key", str(key)])
    assert verify_archive.main() == 0
    assert "whole: 3 records in 1 tables" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["verify_archive", str(made)])
    assert verify_archive.main() == 0
    assert "came with the archive" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["verify_archive", str(rewritten(made, _edit_record)), "--key", str(key)])
    assert verify_archive.main() == 1


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.integers(1, 7))
def test_lines_are_the_same_in_pieces_of_any_size(lines: list[bytes], size: int) -> None:
    whole = b"".join(line + b"\n" for line in lines)

    class Pieces(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            return super().read(size)

    assert list(shards.lines(Pieces(whole))) == [line + b"\n" for line in lines]


def test_every_type_of_a_column_has_a_form() -> None:
    record = {"at": AT, "on": AT.date(), "id": SUBJECT, "value": Decimal("1.10"), "bytes": b"\xff", "none": None}
    assert json.loads(shards.encode(record)) == {
        "at": "2026-11-24T06:30:00.000000Z",
        "on": "2026-11-24",
        "id": str(SUBJECT),
        "value": "1.10",
        "bytes": "/w==",
        "none": None,
    }
    with pytest.raises(TypeError, match="no form"):
        shards.encode({"set": {1}})


def test_the_platforms_own_map_makes_a_page() -> None:
    from functions.data_export import index_page

    manifest: dict[str, Any] = {"subject": "s", "generated_at": "now", "tables": [], "attachments": []}
    page = index_page.render(data_map(), manifest)
    assert "Companies Act 2013, s.128(5)" in page
    assert "It is shown only once, when the endpoint is created" in page
