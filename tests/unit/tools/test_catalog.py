"""The catalog is the union of one file a capability; a contradiction between them is one line that says what to mend."""

from pathlib import Path

import pytest

from tools.catalog import InvalidCatalog, catalog

COMMON = """
region: asia-south1
database: {max_connections: 20, reserved: 5}
topics: [shared-events]
"""
LOTS = """
topics: [lot-events]
queues:
  lots:
    {max_dispatches_per_second: 1, max_concurrent_dispatches: 1, max_attempts: 3, min_backoff_seconds: 1,
     max_backoff_seconds: 9}
functions:
  lot-task: {entry_point: lot_task, trigger: {queue: lots}, publishes: [lot-events], LIMITS}
"""
NOTES = """
functions:
  notes: {entry_point: notes, trigger: {routes: [/v1/notes]}, enqueues: {lots: lot-task}, LIMITS}
"""
LIMITS = (
    "concurrency: 1, memory_mb: 256, timeout_seconds: 9, min_instances: 0, max_instances: 1, import_budget_modules: 600"
)


def write(folder: Path, common: str = COMMON, **files: str) -> Path:
    (folder / "common.yaml").write_text(common)
    for name, text in files.items():
        (folder / name).mkdir()
        (folder / name / "function.yaml").write_text(text.replace("LIMITS", LIMITS))
    return folder


def test_it_is_the_union_of_the_capabilities_files(tmp_path: Path) -> None:
    found = catalog(write(tmp_path, lots=LOTS, notes=NOTES))
    assert found.topics == ["lot-events", "shared-events"]
    assert {name: function.capability for name, function in found.functions.items()} == {
        "lot-task": "lots",
        "notes": "notes",
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"lots": LOTS, "other": LOTS},
            "other/function.yaml: functions/lots/function.yaml declares the topic lot-events",
        ),
        (
            {"lots": LOTS.replace("lot-events]\n", "shared-events]\n", 1)},
            "functions/common.yaml declares the topic shared-events already",
        ),
        (
            {"lots": LOTS.replace("lot-events]\n", "lot-events, lot-events]\n", 1)},
            "declares the topic lot-events already",
        ),
        ({"lots": LOTS, "notes": NOTES.replace("{lots: lot-task}", "{tons: lot-task}")}, "notes names the queue tons"),
        ({"lots": LOTS, "notes": NOTES.replace("lots: lot-task", "lots: notes")}, "which does not handle the queue"),
        (
            {"lots": LOTS, "notes": NOTES.replace("lots: lot-task", "lots: lot-tax")},
            "for the function lot-tax, which no",
        ),
        ({"lots": LOTS.replace("publishes: [lot-events]", "publishes: [news]")}, "lot-task names the topic news"),
        ({"lots": LOTS.replace("queue: lots", "topics: [news]")}, "lots/function.yaml: the queue lots has no function"),
        (
            {"lots": LOTS.replace("entry_point", "entrypoint")},
            "lots.function.yaml: functions.lot-task.entry_point: Field",
        ),
        ({"lots": LOTS.replace("queue: lots", "queue: lots, schedule: '* * * * *'")}, "exactly one of routes, topics"),
        ({"lots": LOTS + "  lot-task: {}"}, "lots/function.yaml:9: lot-task stands here twice"),
        ({"lots": LOTS.replace("LIMITS", "LIMITS, capability: other")}, "lot-task: leave out capability"),
        ({"lots": "functions: ["}, "lots/function.yaml:1: "),
        ({"lots": "functions: []"}, "lots/function.yaml: functions: Input should be"),
        ({"lots": "functions: {lot-task: }"}, "lots/function.yaml: functions.lot-task: "),
        ({"lots": ""}, "lots/function.yaml holds no mapping"),
    ],
)
def test_a_contradiction_is_one_line_that_names_the_file(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidCatalog, match=message) as refused:
        catalog(write(tmp_path, **files))
    assert str(refused.value).startswith("functions/")
    assert "\n" not in str(refused.value)


def test_the_common_file_is_not_optional(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalog, match=r"^functions/common\.yaml is missing$"):
        catalog(tmp_path)
