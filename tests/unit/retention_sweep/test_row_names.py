"""A hold names a row in whatever spelling; what cannot be a key of its table names nothing."""

import pytest

from functions.retention_sweep.places import tables
from functions.retention_sweep.row_names import canonical
from kapas.privacy.data_map import data_map

ID = "01a283cf-8600-7b1c-a4d2-6f0e8c9a1b20"


@pytest.mark.parametrize(
    ("table", "row_id", "name"),
    [
        ("trades", ID, ID),
        ("trades", ID.upper(), ID),
        ("trades", ID.replace("-", ""), ID),
        ("trades", "case-7", None),
        ("trades", f"{ID}/1", None),
        ("trades", ID[:-1], None),
        ("grading_budgets", f"{ID.upper()}/2036-10-15", f"{ID}/2036-10-15"),
        ("grading_budgets", f"{ID}/20361015", f"{ID}/2036-10-15"),
        ("grading_budgets", f"{ID}/2036-02-30", None),
        ("grading_budgets", ID, None),
        ("image_readings", "AB/m1/photograph/1", "AB/m1/photograph/1"),
        ("image_readings", "AB/m1", None),
        ("idempotency_keys", "\\xAB01", "\\xab01"),
        ("idempotency_keys", "ab01", "\\xab01"),
        ("idempotency_keys", "\\xab0", None),
    ],
)
def test_a_key_is_named_as_postgresql_writes_it(table: str, row_id: str, name: str | None) -> None:
    assert canonical(data_map().tables[table], row_id) == name


def test_every_row_that_is_swept_can_be_named() -> None:
    of_type = {"uuid": ID, "date": "2036-10-15", "bytea": "\\x00", "text": "a"}
    for table in map(data_map().tables.__getitem__, tables()):
        name = "/".join(of_type[kind] for kind in table.key.values())
        assert canonical(table, name) == name
