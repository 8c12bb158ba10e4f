"""Conditions in SQL that exports, erasures and sweeps share: two readings of one rule would delete what the other keeps."""

from collections.abc import Iterable, Sequence

from kapas.privacy.data_map import RetentionRule


def governed(rule: RetentionRule, before: Iterable[RetentionRule], alias: str = "t") -> str:
    """The condition that a row, called `alias`, falls under `rule` and under none of those before it."""
    return " AND ".join([*(f"NOT {_takes(other, alias)}" for other in before), _takes(rule, alias)])


def is_one_of(alias: str, name: str, values: Sequence[str | None]) -> str:
    """The condition that a column has one of these values; None is for a row that has none."""
    column, literals = f"{alias}.{name}", [value for value in values if value is not None]
    conditions = [f"{column} IS NULL"] if None in values else []
    if literals:
        conditions.append(f"coalesce({column} IN ({', '.join(map(_literal, literals))}), false)")
    return f"({' OR '.join(conditions)})"


def _takes(rule: RetentionRule, alias: str) -> str:
    return is_one_of(alias, rule.column, rule.values) if rule.column else "true"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
