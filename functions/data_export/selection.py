"""Which rows are about a partner, as SQL made of the data map.

Every predicate takes the partner as the parameter `subject`. Row level security is the second fence: the session shows
this partner's rows only, and of a trade that it bought no step between the seller and another bidder.
"""

from collections.abc import Sequence
from datetime import date, datetime, time

from kapas.privacy.conditions import governed, is_one_of
from kapas.privacy.data_map import DataMap, RetentionRule, Subject, Table
from kapas.values import clock


def about_subject(data_map: DataMap, table: Table, alias: str = "t") -> str:
    """The condition that a row of `table`, called `alias`, is about the partner `:subject`."""
    return "(" + " OR ".join(_leads_to_subject(data_map, path, alias) for path in table.subject) + ")"


def exported(data_map: DataMap, table: Table, alias: str = "t") -> str:
    """The condition that a row of `table`, called `alias`, is about the partner `:subject`, and for it to have."""
    about = about_subject(data_map, table, alias)
    rows = table.withheld
    return f"({about} AND NOT {is_one_of(alias, rows.column, rows.values)})" if rows else about


def ordered_by(table: Table, alias: str = "t") -> str:
    return ", ".join(f"{alias}.{column}" for column in table.key)


def beyond(table: Table, name: str, comparison: str) -> str:
    """The condition that a row's key is `comparison` (`>` or `<=`) the key whose parts are the parameters `name`0, 1 ..."""
    bounds = ", ".join(f":{name}{n}::text::{kind}" for n, kind in enumerate(table.key.values()))
    return f"({ordered_by(table)}) {comparison} ({bounds})"


def bounds(name: str, key: Sequence[str] | None) -> dict[str, str]:
    """The parameters of `beyond`."""
    return {f"{name}{n}": part for n, part in enumerate(key or ())}


def of_rule(table: Table, rule: RetentionRule, alias: str = "t") -> str:
    """The condition that a row of `table`, called `alias`, falls under `rule`, and under none before it."""
    return governed(rule, table.retention[: table.retention.index(rule)], alias)


def midnight(day: date) -> datetime:
    """The beginning of a day in India."""
    return datetime.combine(day, time(), clock.IST)


def _leads_to_subject(data_map: DataMap, path: Subject, alias: str) -> str:
    if path.parent:
        parent = data_map.tables[path.parent]
        inner = f"{alias}{alias[0]}"
        condition = about_subject(data_map, parent, inner)
        return (
            f"EXISTS (SELECT FROM {parent.name} {inner}"
            f" WHERE {inner}.{next(iter(parent.key))} = {alias}.{path.column} AND {condition})"
        )
    if path.array:
        return f"{alias}.{path.column} @> ARRAY[:subject::uuid]"
    return f"{alias}.{path.column} = :subject::uuid"
