"""The page that a person opens first in an archive: what is in it, what is not and why, and how to check it."""

from collections.abc import Mapping
from html import escape
from typing import Any

from kapas.privacy.data_map import DataMap
from kapas.privacy.retention import policies

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;"
    "border-bottom:1px solid #ccc}td.n{text-align:right}code{font-size:.9em}"
)


def render(data_map: DataMap, manifest: Mapping[str, Any]) -> str:
    """The page for an archive with this manifest. It loads nothing and runs nothing."""
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Your data at Kapas</title>',
            f"<style>{_STYLE}</style></head><body>",
            "<h1>Your data at Kapas</h1>",
            f"<p>All data held about partner <code>{escape(manifest['subject'])}</code>, as of "
            f"{escape(manifest['generated_at'])}. This archive is personal: keep it where only you can read it.</p>",
            "<h2>Contents</h2>",
            _rows(("What", "What for", "Records", "Files"), [_table(table) for table in manifest["tables"]]),
            _attachments(manifest["attachments"]),
            "<h2>Held, but not in this archive</h2>",
            _rows(("What", "Why not"), [*_withheld(data_map)]),
            "<h2>How long it is kept</h2>",
            _rows(("What", "Rule", "Kept for", "Counted from"), [*_retention(data_map)]),
            "<h2>Who receives it</h2>",
            _rows(("Who", "What for"), [f"<td>{escape(r.name)}<td>{escape(r.purpose)}" for r in data_map.recipients]),
            "<h2>How to read and check it</h2>",
            "<p>The files ending in <code>.jsonl</code> have one record a line, in JSON, exactly as stored. Those "
            "ending in <code>.csv</code> are for spreadsheets; there, text that starts like a formula has an apostrophe "
            "before it. Times are in UTC, amounts in paise.</p>"
            "<p><code>manifest.json</code> lists how many records were counted and how many are included, and has the "
            "SHA-256 of each file; <code>manifest.json.jws</code> is the platform's signature over it.</p>",
            "</body></html>\n",
        )
    )


def _rows(headings: tuple[str, ...], rows: list[str]) -> str:
    head = "".join(f"<th>{escape(heading)}" for heading in headings)
    return f"<table><tr>{head}\n" + "\n".join(f"<tr>{row}" for row in rows) + "</table>"


def _table(table: Mapping[str, Any]) -> str:
    links = ", ".join(
        f'<a href="{escape(table[kind])}">{label}</a>' for kind, label in (("jsonl", "JSON"), ("csv", "CSV"))
    )
    return f'<td>{escape(table["title"])}<td>{escape(table["purpose"])}<td class="n">{table["actual"]}<td>{links}'


def _attachments(files: list[Mapping[str, Any]]) -> str:
    if not files:
        return ""
    rows = [
        f'<td><a href="{escape(file["member"])}">{escape(file["path"])}</a>'
        if file["member"]
        else f"<td>{escape(file['path'])} (no longer there)"
        for file in files
    ]
    return "<h2>Your files</h2>" + _rows(("File",), rows)


def _withheld(data_map: DataMap) -> list[str]:
    rows = [
        f"<td>{escape(table.title)}: <code>{escape(column.name)}</code><td>{escape(column.because)}"
        for table in data_map.of_partners()
        for column in table.columns.values()
        if table.exported and column.export == "exclude"
    ]
    rows += [
        f"<td>{escape(table.title)}: <code>{escape(rows.column)}</code> {escape(' or '.join(rows.values))}"
        f"<td>{escape(rows.because)}"
        for table in data_map.of_partners()
        if (rows := table.withheld)
    ]
    rows += [
        f"<td>{escape(table.title)}<td>{escape(next(iter(table.columns.values())).because)}"
        for table in data_map.of_partners()
        if not table.exported
    ]
    others = (*data_map.collections.values(), *(p for p in data_map.prefixes if p.export == "exclude"))
    return rows + [f"<td>{escape(other.title)}<td>{escape(other.because)}" for other in others]


def _retention(data_map: DataMap) -> list[str]:
    rows: list[str] = []
    for table in data_map.of_partners():
        for rule in data_map.retention(table):
            policy = policies()[rule.policy]
            rows.append(
                f"<td>{escape(table.title)}<td>{escape(policy.law)}, {escape(policy.article)}"
                f"<td>{policy.keep}<td>{escape(policy.anchor.replace('_', ' '))}"
            )
    return rows
