"""Whether a changed JSON Schema still fits those who read by the old one.

Compatible is what adds: an optional field, a value of an enumeration, a wider range. Breaking is what takes away or turns
into something else. Such a change is published as a new type, so that readers can move when they are ready.
"""

import json
from typing import Any

from tools.docs.json_schema import Schema

_ABOUT = frozenset({"title", "description", "default", "examples", "$schema", "$id", "$defs", "$ref"})
"""Keywords that say nothing of the values."""
_LOWER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems"})
_UPPER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems"})
_BY_PARTS = frozenset({"properties", "required", "enum", "items", "anyOf", "oneOf"})


def breaks(old: Schema, new: Schema) -> list[str]:
    """What in `new` breaks readers of `old`, a line each; empty if nothing does. Both are whole documents."""
    return _breaks(old, new, (old, new), "")


def next_version(event_type: str) -> str:
    """The type to publish a breaking change as: `trade.offered.v2` after `trade.offered.v1`."""
    name, _, version = event_type.rpartition(".v")
    return f"{name}.v{int(version) + 1}"


def _breaks(old: Schema, new: Schema, roots: tuple[Schema, Schema], at: str) -> list[str]:
    old, new = _resolved(old, roots[0]), _resolved(new, roots[1])
    found = [f"{at or '/'} {fault}" for fault in _changed_keywords(old, new)]
    found += _changed_fields(old, new, roots, at)
    for keyword in ("anyOf", "oneOf"):
        found += _changed_options(old.get(keyword, []), new.get(keyword, []), roots, at)
    if "items" in old and "items" in new:
        found += _breaks(old["items"], new["items"], roots, f"{at}/items")
    return found


def _resolved(schema: Schema, root: Schema) -> Schema:
    """`schema` with what its `$ref` refers to, if it has one."""
    if "$ref" not in schema:
        return schema
    return _resolved(root["$defs"][schema["$ref"].rpartition("/")[2]], root) | schema


def _changed_keywords(old: Schema, new: Schema) -> list[str]:
    found: list[str] = []
    for keyword in sorted((old.keys() | new.keys()) - _ABOUT - _BY_PARTS):
        before, after = old.get(keyword), new.get(keyword)
        if keyword in _LOWER:
            narrowed = after is not None and (before is None or after > before)
        elif keyword in _UPPER:
            narrowed = after is not None and (before is None or after < before)
        else:
            narrowed = before != after
        if narrowed:
            found.append(f"{keyword} was {before!r} and is {after!r}")
    if "enum" in new and "enum" not in old:
        found.append(f"takes no other values than {new['enum']!r} now")
    elif "enum" in new:
        found += [f"no longer has the value {value!r}" for value in old["enum"] if value not in new["enum"]]
    if ("items" in old) != ("items" in new):
        found.append("items were described by one version only")
    return found


def _changed_fields(old: Schema, new: Schema, roots: tuple[Schema, Schema], at: str) -> list[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    found = [f"{at}/{name} was removed" for name in before if name not in after]
    required, was_required = new.get("required", []), old.get("required", [])
    found += [f"{at}/{name} is required now" for name in required if name not in was_required]
    found += [f"{at}/{name} may be missing now" for name in was_required if name in after and name not in required]
    for name in before:
        if name in after:
            found += _breaks(before[name], after[name], roots, f"{at}/{name}")
    return found


def _changed_options(old: list[Schema], new: list[Schema], roots: tuple[Schema, Schema], at: str) -> list[str]:
    """Alternatives are told apart by their type and title."""
    before = {_kind(option, roots[0]): option for option in old}
    after = {_kind(option, roots[1]): option for option in new}
    if before.keys() != after.keys():
        return [
            f"{at or '/'} was one of {', '.join(before) or 'nothing'} and is one of {', '.join(after) or 'nothing'}"
        ]
    return [fault for kind in before for fault in _breaks(before[kind], after[kind], roots, at)]


def _kind(option: Schema, root: Schema) -> str:
    resolved: dict[str, Any] = _resolved(option, root)
    return " ".join(filter(None, (json.dumps(resolved.get("type")).strip('"'), resolved.get("title"))))
