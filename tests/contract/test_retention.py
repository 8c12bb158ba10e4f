"""What is told to be deleted by itself is swept, or its entry in the data map says why not."""

from functions.consent_updates import notices
from functions.retention_sweep.places import places
from kapas.privacy.data_map import FileOf, Prefix, data_map
from kapas.privacy.retention import policies

MAP = data_map()
NOT_SWEPT = MAP.never_swept()


def promised() -> set[tuple[str, str]]:
    """Each place of the data map, and each policy by which what is in it goes by itself."""
    found = {(f"table {table.name}", rule.policy) for table in MAP.tables.values() for rule in MAP.retention(table)}
    found |= {(f"collection {collection.name}", collection.retention) for collection in MAP.collections.values()}
    found |= {(f"bucket {prefix.bucket}/{prefix.prefix}", prefix.retention) for prefix in MAP.prefixes}
    return {(name, policy) for name, policy in found if policies()[policy].active and policies()[policy].auto_delete}


def swept() -> set[tuple[str, str]]:
    """The same of what a sweep deletes: places, and what goes with their rows."""
    found: set[tuple[str, str]] = set()
    for place in places():
        names = [place.name, *(f"table {child}" for child in place.children)]
        names += [f"collection {name}" for name in place.documents] + ([_prefix(place.file)] if place.file else [])
        found |= {(name, place.policy.name) for name in names if place.deletes}
    return found


def _prefix(file: FileOf) -> str:
    return f"bucket {file.bucket}/{file.path.partition('{')[0]}"


def test_what_goes_by_itself_is_swept_or_listed_with_a_reason() -> None:
    lacking = sorted(promised() - swept())
    assert {name for name, _ in lacking} == NOT_SWEPT.keys(), f"neither swept nor listed, or both: {lacking}"
    assert all(len(reason.split()) > 5 for reason in NOT_SWEPT.values())


def test_nothing_is_listed_twice_or_is_not_there() -> None:
    assert not NOT_SWEPT.keys() & {name for name, _ in swept() & promised()}
    assert NOT_SWEPT.keys() <= {name for name, _ in promised()}


HELD = {"sample_photographs": "bucket uploads/gradings/"}
"""What a notice calls personal data -> where it lies, if only for that purpose. What else notices name is of the registration
and of trades, which other laws keep."""


def test_what_is_processed_by_consent_goes_when_the_notice_says() -> None:
    """The signed receipts of consents repeat the period."""
    published = notices.load().versions
    newest = published[list(published)[-1]]
    checked: set[str] = set()
    for purpose in newest.terms["purposes"]:
        told = newest.record_terms(purpose)
        for item in HELD.keys() & set(told["pii_information"]):
            [prefix] = [one for one in MAP.prefixes if f"bucket {one.bucket}/{one.prefix}" == HELD[item]]
            rules = [rule.policy for rule in MAP.retention(MAP.tables[prefix.rows_of])]
            assert f"P{policies()[prefix.retention].keep.years}Y" == told["retention"], item
            # The file goes with its row, or before it where the row stays for longer.
            assert all(rule == prefix.retention or _before_its_row(prefix) for rule in rules), item
            checked.add(item)
    assert checked == HELD.keys()


def _before_its_row(prefix: Prefix) -> bool:
    name = f"bucket {prefix.bucket}/{prefix.prefix}"
    return any(place.name == name and place.rows_stay and place.policy.name == prefix.retention for place in places())
