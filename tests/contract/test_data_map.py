"""The data map has an entry for everything that is there, and for nothing else; the role `data_export` may what it says."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pg8000.native import Connection

import kapas.privacy.data_map
from functions.data_export.preparing import archive_path
from functions.data_export.shards import path as part_path
from functions.live_feed import projections
from functions.partner_onboarding.checks.providers import ProviderSettings
from kapas.messaging.events import CloudEvent
from kapas.privacy.data_map import InvalidDataMap, data_map, parse, union
from kapas.privacy.retention import policies
from kapas.values.ids import uuid7
from local_cloud.postgres import Postgres
from tools import grants, privacy_docs
from tools.catalog import ROOT, catalog
from tools.migrations import migrate

MAP = data_map()
MAP_FILE = "functions/<capability>/data_map.json"
ROLE = "data_export"
HELD = {"legal_holds": {"subject_id", "table_name", "row_id", "released_at"}}
"""What the role reads besides: an erasure waits while a hold names the partner or a row about it."""

# What the capability works with itself: requests, their shards, and the keys that it decrypts and shreds with.
OWN = {"exports", "export_shards", "erasures", "restrictions", "statutory_records", "epoch_keys", "subject_keys"}
OWN |= {"idempotency_keys"}

_COLUMNS = """SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'
  ORDER BY table_name, ordinal_position"""
_PRIVILEGES = """SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges
  WHERE grantee = :role AND table_schema = 'public' ORDER BY 1, 2, 3"""
_DELETES = """SELECT table_name FROM information_schema.table_privileges
  WHERE grantee = :role AND privilege_type = 'DELETE' ORDER BY 1"""
_POLICIES = """SELECT tablename, cmd FROM pg_policies
  WHERE permissive = 'PERMISSIVE' AND roles && ARRAY[CAST(:role AS name), 'public'] ORDER BY 1, 2"""
_FENCED = """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relrowsecurity ORDER BY 1"""
_UNFENCED = """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
  AND NOT relrowsecurity ORDER BY 1"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A PostgreSQL as every migration leaves it."""
    with (
        Postgres(tmp_path_factory.mktemp("postgres")) as server,
        Connection("postgres", host="127.0.0.1", port=server.port, database="postgres") as connection,
    ):
        migrate(connection, ROOT / "migrations", finish=grants.apply)
        yield connection


def schema(live: Connection) -> dict[str, dict[str, str]]:
    """Table -> column -> type, of the live schema."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in live.run(_COLUMNS):
        found.setdefault(table, {})[column] = kind
    return found


def granted(live: Connection, privilege: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for table, column, kind in live.run(_PRIVILEGES, role=ROLE):
        if kind == privilege:
            found.setdefault(table, set()).add(column)
    return found


def test_every_column_of_every_table_has_an_entry(live: Connection) -> None:
    lacking: list[str] = []
    for table, columns in schema(live).items():
        entry = MAP.tables.get(table)
        missing = [column for column in columns if entry is None or column not in entry.columns]
        if not missing:
            continue
        if entry is None:
            lacking.append(
                f'to "tables": "{table}": {{"title": "...", "purpose": "...", "subject": ["partner_id"],'
                ' "key": {"id": "uuid"}, "anchor": "created_at", "retention": "<a policy>", "erase": "retain", "columns":'
                f" {json.dumps(dict.fromkeys(missing, '<category>'))}}}"
            )
        else:
            lacking += [f'to tables.{table}.columns: "{column}": "<category>"' for column in missing]
    assert not lacking, f"{MAP_FILE} lacks entries; add\n" + "\n".join(lacking)


def test_every_entry_is_of_something_that_is_there(live: Connection) -> None:
    there = schema(live)
    left = [
        f"tables.{table.name}.columns.{column}"
        for table in MAP.tables.values()
        for column in table.columns
        if column not in there.get(table.name, {})
    ]
    assert not left, f"{MAP_FILE} has entries of what no longer exists; remove\n" + "\n".join(left)


def test_keys_have_the_types_of_their_columns(live: Connection) -> None:
    there = schema(live)
    for table in MAP.tables.values():
        assert dict(table.key) == {name: there[table.name][name] for name in table.key}, table.name


def test_keys_are_unique_for_a_partner(live: Connection) -> None:
    """Rows are read in ranges of keys: with a key that two rows share, one of them would be lost between two ranges."""
    for table in MAP.of_partners():
        rows = live.run(
            """SELECT array_agg(a.attname::text) FROM pg_index i
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
               WHERE i.indrelid = CAST(:name AS regclass) AND i.indisunique AND i.indpred IS NULL
               GROUP BY i.indexrelid ORDER BY i.indexrelid""",
            name=table.name,
        )
        of_partner = {path.column for path in table.subject if not path.array and path.parent is None}
        unique = [set(columns) - of_partner <= set(table.key) for (columns,) in rows]
        assert any(unique), f"{table.name}: {', '.join(table.key)} is not unique"


def test_the_role_may_read_what_is_exported_and_nothing_else(live: Connection) -> None:
    found = granted(live, "SELECT")
    for table in MAP.tables.values():
        wanted = set(table.read) | HELD.get(table.name, set())
        if table.name in OWN:
            assert wanted <= found[table.name], table.name
        else:
            assert found.get(table.name, set()) == wanted, table.name


def test_the_role_may_change_what_is_erased_and_nothing_else(live: Connection) -> None:
    updates = granted(live, "UPDATE")
    deletes = {row[0] for row in live.run(_DELETES, role=ROLE)} - OWN
    for table in MAP.tables.values():
        if table.name not in OWN:
            wanted = {column.name for column in table.columns.values() if column.erase in ("redact", "unlink")}
            assert updates.get(table.name, set()) == wanted, table.name
    assert deletes == {table.name for table in MAP.tables.values() if table.erase == "delete"} - OWN


@pytest.mark.parametrize("role", [grants.EXPORT, grants.SWEEP])
def test_a_grant_that_is_no_longer_due_is_revoked(live: Connection, role: str) -> None:
    before = live.run(_PRIVILEGES, role=role)
    live.run(f"GRANT SELECT (evidence), UPDATE (result) ON partner_checks TO {role}")
    live.run(f"GRANT ALL ON trades TO {role}")
    grants.apply(live)
    assert live.run(_PRIVILEGES, role=role) == before


def test_no_migration_grants_what_follows_from_the_data_map(tmp_path: Path) -> None:
    """A second source would outlive a change of the map."""
    with (
        Postgres(tmp_path) as server,
        Connection("postgres", host="127.0.0.1", port=server.port, database="postgres") as bare,
    ):
        migrate(bare, ROOT / "migrations")
        for role in (grants.EXPORT, grants.SWEEP):
            tables = {row[0] for row in bare.run(_PRIVILEGES, role=role)}
            assert tables <= grants.OWN[role], f"migrations grant {role} what tools/grants.py does"


@pytest.mark.parametrize("role", [grants.EXPORT, grants.SWEEP])
def test_row_security_lets_a_role_do_what_it_is_granted(live: Connection, role: str) -> None:
    """Without a policy for it a DELETE deletes no row and raises no error."""
    rows = live.run(_POLICIES, role=role)
    allowed = {(table, command) for table, command in rows}
    fenced = {row[0] for row in live.run(_FENCED)}
    for table, privileges in grants.grants(role).items():
        lacking = {name for name in privileges if not allowed & {(table, name), (table, "ALL")}}
        assert table not in fenced or not lacking, f"{table}: CREATE POLICY ... FOR {min(lacking)} TO {role} ..."


def test_row_security_fences_every_table_that_is_exported(live: Connection) -> None:
    unfenced = {row[0] for row in live.run(_UNFENCED)}
    # Opaque numbers: whom a session may trade with is asked of the other side, too.
    assert not unfenced & {table.name for table in MAP.of_partners() if table.exported} - {"restrictions"}


def test_every_policy_is_defined_and_used_as_it_says() -> None:
    named = {rule.policy for table in MAP.tables.values() for rule in table.retention}
    named |= {collection.retention for collection in MAP.collections.values()}
    named |= {prefix.retention for prefix in MAP.prefixes}
    assert named <= policies().keys(), f"retention.json lacks {named - policies().keys()}"
    assert not [name for name in named if not policies()[name].active]


def test_every_retained_value_says_by_which_rule() -> None:
    for table in MAP.of_partners():
        assert MAP.retention(table), table.name
        assert not MAP.retention(table)[-1].column, f"{table.name}: the last rule takes what no other took"


def test_every_firestore_field_has_an_entry_and_every_entry_a_field() -> None:
    fields: dict[str, set[str]] = {}
    examples = sorted(ROOT.glob("functions/*/examples/*/*.json"))
    events = [CloudEvent.model_validate_json(path.read_text()) for path in examples]
    documents: dict[str, dict[str, object]] = {}
    for event_type in projections.FOLDS:
        for event in (event for event in events if event.type == event_type):
            path = projections.path(event)
            assert path is not None
            collection = path.partition("/")[0]
            documents[collection] = projections.apply(documents.get(collection, {}), event)
            fields.setdefault(collection, set()).update(documents[collection])
    mapped = {name: set(collection.fields) for name, collection in MAP.collections.items()}
    assert mapped == fields, f"collections of {MAP_FILE} are not what functions/live_feed/projections.py writes"


def test_every_bucket_has_its_prefixes() -> None:
    assert {prefix.bucket for prefix in MAP.prefixes} == set(catalog().buckets())
    export_id = uuid7()
    own = {prefix.prefix for prefix in MAP.prefixes if prefix.bucket == "exports"}
    assert own == {archive_path(export_id).partition("/")[0] + "/", part_path(export_id, 0).partition("/")[0] + "/"}
    for table in MAP.tables.values():
        if table.files:
            prefixes = [p for p in MAP.prefixes if p.bucket == table.files.bucket and p.rows_of == table.name]
            assert [p for p in prefixes if table.files.path.startswith(p.prefix)], (
                f"{table.name} has files of no prefix"
            )


def test_a_file_is_not_kept_for_longer_than_its_row() -> None:
    """An erasure deletes files by the policy of their prefix, and after them the rows that may go."""
    for table in MAP.of_partners():
        if table.files:
            policy = policies()[MAP.prefix(table.files).retention]
            for day in (date(2026, 11, 24), date(2027, 3, 31), date(2027, 5, 14), date(2028, 2, 29)):
                ends = [policies()[rule.policy].floor_end(day, date(2029, 1, 1)) for rule in MAP.retention(table)]
                assert policy.floor_end(day, date(2029, 1, 1)) <= min(ends), table.name


def test_every_processor_of_a_consent_is_a_recipient() -> None:
    processors = json.loads((ROOT / "functions/consent_updates/processors.json").read_text())["processors"]
    recipients = {recipient.name: recipient.purpose for recipient in MAP.recipients}
    for processor in processors:
        assert all(purpose in recipients[processor["name"]] for purpose in processor["purposes"]), processor["name"]


def test_every_provider_that_checks_a_partner_is_a_recipient() -> None:
    """Access names every recipient (DPDP Act 2023, section 11)."""
    asked = {name.removesuffix("_url").replace("_", "-") for name in ProviderSettings.__annotations__ if "_url" in name}
    assert len(asked) == 3
    assert asked <= {recipient.name for recipient in MAP.recipients}


@pytest.mark.parametrize(
    ("part", "described"),
    [
        ({"tables": {"t": {}}}, r"tables\.t"),
        ({"collections": {"c": {}}}, r"collections\.c"),
        ({"buckets": {"b": {"p/": {}}}}, r"buckets\.b\.p/"),
    ],
)
def test_two_capabilities_do_not_describe_the_same(part: dict[str, object], described: str) -> None:
    message = f"^bales/data_map.json describes {described}, which lots/data_map.json describes already$"
    with pytest.raises(InvalidDataMap, match=message):
        union({"lots/data_map.json": part, "bales/data_map.json": part})


def test_a_part_has_nothing_that_is_not_read() -> None:
    with pytest.raises(InvalidDataMap, match=r"^lots/data_map\.json has table, which is no part of a data map$"):
        union({"lots/data_map.json": {"table": {}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"tables": {"t": {}, "t": {}}}', r"lots\.json: t stands twice in one object$"),
        ('{"tables": ', r"lots\.json: Expecting value"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lots.json").write_text(text)
    monkeypatch.setattr(kapas.privacy.data_map, "BUNDLED", tmp_path)
    with pytest.raises(InvalidDataMap, match=message):
        data_map.__wrapped__()


def test_the_page_is_current() -> None:
    page = privacy_docs.PAGE.read_text("utf-8")
    assert page == privacy_docs.current(page), "run make docs"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": {"uid": "uuid"}}, "names uid"),
        ({"swept": []}, "has swept, which no table has"),
        ({"anchor": "made_at"}, "names made_at"),
        ({"key": {}}, "needs the key"),
        ({"retention": []}, "either a retention or a table"),
        ({"subject": ["id->partners"]}, "refers to partners"),
        ({"columns": {"id": {"category": "none", "export": "exclude"}}}, "say because of what"),
        ({"withheld": {"column": "kind", "in": ["a"], "because": "B"}}, "names kind"),
        ({"withheld": {"column": "id", "in": ["a"]}}, "leaves rows out of exports: say because of what"),
        ({"columns": {"id": {"category": "none", "sealed": "id"}}}, "erased by shredding"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    table = {"title": "T", "purpose": "P", "subject": ["id"], "key": {"id": "uuid"}, "retention": "books_of_account"}
    table |= {"erase": "retain", "columns": {"id": "identifier"}} | change
    whole = {"version": "1", "region": "r", "recipients": [], "tables": {"t": table}, "collections": {}, "buckets": {}}
    with pytest.raises(InvalidDataMap, match=message):
        parse(whole)
    del table["title"]
    with pytest.raises(InvalidDataMap, match=r"^tables\.t lacks title$"):
        parse(whole)
