"""The API reference as one page to read: HTML and CSS, nothing to load, no script."""

import re
from collections.abc import Iterator
from html import escape
from typing import Any

Json = dict[str, Any]

_METHODS = ("get", "post", "put", "patch", "delete")
_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}
_LARGEST_EXACT = 2**53 - 1
"""The bound of money, which is no news to a reader."""


def reference(openapi: Json) -> str:
    """The page of an OpenAPI 3.1 document, as `tools.docs.openapi` makes it: endpoints by capability, then events."""
    page = _Page(openapi)
    title = escape(openapi["info"]["title"])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} API</title>
<style>{_STYLE}</style>
</head>
<body>
<nav aria-label="Contents">{page.contents()}</nav>
<main>
<header>
<h1>{title} API</h1>
<p class="quiet">Version {escape(openapi["info"]["version"])} · <a href="/openapi.json">openapi.json</a></p>
{_prose(openapi["info"]["description"])}
</header>
{page.endpoints()}
{page.events()}
{page.failures()}
</main>
</body>
</html>
"""


class _Page:
    """What the parts of the page are made of."""

    def __init__(self, openapi: Json) -> None:
        self._openapi = openapi
        self._operations: list[tuple[str, str, Json]] = [
            (method, path, item[method])
            for path, item in openapi["paths"].items()
            for method in _METHODS
            if method in item
        ]

    def contents(self) -> str:
        parts = ['<p class="brand"><a href="#">Kapas API</a></p>']
        for tag in self._openapi["tags"]:
            links = [
                f'<li><a href="#{o["operationId"]}">{_method(method)}<span>{escape(o["summary"])}</span></a></li>'
                for method, _, o in self._of(tag)
            ]
            parts.append(f"<h2>{escape(tag['name'])}</h2><ul>{''.join(links)}</ul>")
        events = [
            f'<li><a href="#{escape(name)}"><span>{escape(name)}</span></a></li>' for name in self._openapi["webhooks"]
        ]
        parts.append(f'<h2>Events</h2><ul class="events">{"".join(events)}</ul>')
        parts.append('<h2>Failures</h2><ul><li><a href="#problem">Problem details</a></li></ul>')
        return "".join(parts)

    def endpoints(self) -> str:
        return "".join(
            f"<section><h2>{escape(tag['name'])}</h2>{_prose(tag['description'])}"
            + "".join(self._operation(*operation) for operation in self._of(tag))
            + "</section>"
            for tag in self._openapi["tags"]
        )

    def events(self) -> str:
        parts = [self._event(name, item["post"]) for name, item in self._openapi["webhooks"].items()]
        return (
            f"<section><h2>Events</h2><p>What a webhook endpoint is sent, each as a POST.</p>{''.join(parts)}</section>"
        )

    def failures(self) -> str:
        problem = self._openapi["components"]["schemas"]["Problem"]
        fields = f"<table>{''.join(self._rows(problem, '', ()))}</table>"
        codes = "".join(
            f"<tr><th>{name}</th><td>{_prose(answer['description'])}</td></tr>"
            for name, answer in self._openapi["components"]["responses"].items()
        )
        about = _prose(problem["description"])
        return f'<section id="problem"><h2>Failures</h2>{about}{fields}<h4>Types</h4><table>{codes}</table></section>'

    def _of(self, tag: Json) -> Iterator[tuple[str, str, Json]]:
        return (operation for operation in self._operations if tag["name"] in operation[2]["tags"])

    def _operation(self, method: str, path: str, operation: Json) -> str:
        described = [f"{operation['summary']}.", operation.get("description", "")]
        parts = [
            f'<article id="{operation["operationId"]}">',
            f"<h3>{_method(method)} <code>{_path(path)}</code></h3>",
            _prose(" ".join(filter(None, described))),
            self._parameters(operation),
        ]
        if "requestBody" in operation:
            parts.append(f"<h4>Body</h4>{self._content(operation['requestBody'])}")
        answers = {status: self._resolved(answer) for status, answer in operation["responses"].items()}
        parts += [self._answer(status, answer) for status, answer in answers.items() if status < "400"]
        failures = "".join(
            f"<tr><th>{status}</th><td>{_prose(answer['description'])}</td></tr>"
            for status, answer in answers.items()
            if status >= "400"
        )
        codes = " ".join(status for status in answers if status >= "400")
        parts.append(f"<details><summary>Failures <span>{codes}</span></summary><table>{failures}</table></details>")
        return "".join([*parts, "</article>"])

    def _event(self, name: str, delivery: Json) -> str:
        return (
            f'<article id="{escape(name)}"><h3><code>{escape(name)}</code></h3>{_prose(delivery["summary"])}'
            f"{self._parameters(delivery)}<h4>Body</h4>{self._content(delivery['requestBody'])}</article>"
        )

    def _parameters(self, operation: Json) -> str:
        rows: list[str] = []
        for given in operation["parameters"]:
            parameter = self._resolved(given)
            schema = parameter["schema"] | {"description": parameter.get("description", "")}
            about = self._about(schema, parameter.get("required", False))
            place = f'<span class="quiet">{parameter["in"]}</span>'
            rows.append(f"<tr><th><code>{escape(parameter['name'])}</code>{place}</th>{about}</tr>")
        return f"<h4>Parameters</h4><table>{''.join(rows)}</table>"

    def _answer(self, status: str, answer: Json) -> str:
        head = f"<h4>{status} {escape(answer['description'])}</h4>"
        names = " ".join(f"<code>{escape(name)}</code>" for name in answer["headers"])
        return f'{head}<p class="quiet">Headers: {names}</p>{self._content(answer)}'

    def _content(self, holder: Json) -> str:
        """The fields of a body, if there is one."""
        tables = [
            f"<table>{''.join(self._nested(media['schema'], '', ()))}</table>"
            for media in holder.get("content", {}).values()
        ]
        return "".join(tables)

    def _rows(self, schema: Json, prefix: str, within: tuple[str, ...]) -> Iterator[str]:
        """A row for each field of an object, and below it the rows of what it holds. `within` are the schemas around it."""
        whole = self._resolved(schema)
        for name, field in whole.get("properties", {}).items():
            label = f'<span class="quiet">{escape(prefix)}</span>{escape(name)}'
            about = self._about(field, name in whole.get("required", []))
            yield f"<tr><th><code>{label}</code></th>{about}</tr>"
            yield from self._nested(field, f"{prefix}{name}", within)

    def _nested(self, schema: Json, name: str, within: tuple[str, ...]) -> Iterator[str]:
        reference = schema.get("$ref", "")
        if reference in within:
            return
        inside = (*within, reference) if reference else within
        whole = self._resolved(schema)
        if "items" in whole:
            yield from self._nested(whole["items"], f"{name}[]", inside)
        for option in [*whole.get("anyOf", []), *whole.get("oneOf", [])]:
            if "oneOf" in whole:
                chosen = self._resolved(option)
                kind = next(p["const"] for p in chosen["properties"].values() if "const" in p)
                text = f"<b>{escape(str(kind))}</b>: {escape(chosen.get('description', ''))}"
                yield f'<tr class="option"><td colspan="2">{text}</td></tr>'
            yield from self._nested(option, name, inside)
        yield from self._rows(whole, f"{name}." if name else "", inside)

    def _about(self, schema: Json, required: bool) -> str:
        """The cell that says what a field holds."""
        whole = self._resolved(schema)
        own = schema.get("description") or ("" if "properties" in whole else whole.get("description", ""))
        kind = self._type(whole)
        if "default" in whole:
            kind += f", {escape(str(whole['default']))} if left out"
        elif not required:
            kind += ", optional"
        return f'<td><span class="type">{kind}</span> {_inline(own)}</td>'

    def _type(self, schema: Json) -> str:
        whole = self._resolved(schema)
        if "const" in whole:
            return f"always <code>{escape(str(whole['const']))}</code>"
        if "enum" in whole:
            return " | ".join(f"<code>{escape(str(value))}</code>" for value in whole["enum"])
        options = [*whole.get("anyOf", []), *whole.get("oneOf", [])]
        if options:
            return " or ".join(dict.fromkeys(self._type(option) for option in options))
        name: str = whole.get("type", "anything")
        if name == "array":
            return f"array of {self._type(whole.get('items', {}))}"
        if name == "object":
            return escape(whole.get("title", name))
        limits = [
            words.format(whole[keyword])
            for keyword, words in _BOUNDS.items()
            if keyword in whole and abs(whole[keyword]) != _LARGEST_EXACT
        ]
        pattern = [f"<code>{escape(whole['pattern'])}</code>"] if "pattern" in whole else []
        return ", ".join([whole.get("format", name), *map(escape, limits), *pattern])

    def _resolved(self, value: Json) -> Json:
        """`value` with what its `$ref` refers to, if it has one."""
        if "$ref" not in value:
            return value
        found: Any = self._openapi
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return self._resolved(found) | {name: text for name, text in value.items() if name != "$ref"}


def _method(method: str) -> str:
    return f'<b class="method {method}">{method.upper()}</b>'


def _path(path: str) -> str:
    return re.sub(r"{(\w+)}", r"<i>{\1}</i>", escape(path))


def _prose(text: str) -> str:
    """Paragraphs and lists, as the descriptions write them in Markdown."""
    blocks: list[str] = []
    for block in text.strip().split("\n\n"):
        if block.startswith("- "):
            items = "".join(f"<li>{_inline(' '.join(item.split()))}</li>" for item in block[2:].split("\n- "))
            blocks.append(f"<ul>{items}</ul>")
        else:
            blocks.append(f"<p>{_inline(' '.join(block.split()))}</p>")
    return "".join(blocks)


def _inline(text: str) -> str:
    return _BOLD.sub(r"<b>\1</b>", _CODE.sub(r"<code>\1</code>", escape(text)))


_STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --quiet: #667085; --line: #e3e6eb; --ground: #fff; --side: #f6f7f9;
  --get: #0b6bcb; --post: #137a4b; --patch: #9a5b00; --delete: #b3261e; --accent: #0b6bcb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ec; --quiet: #98a2b3; --line: #2b323c; --ground: #14181d; --side: #1a1f26;
    --get: #6cb2ff; --post: #5fd39a; --patch: #f0b35c; --delete: #ff8a80; --accent: #6cb2ff; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; display: grid; grid-template-columns: 19rem minmax(0, 1fr); color: var(--ink); background: var(--ground);
  font: 15px/1.55 system-ui, sans-serif; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.5rem 1rem; background: var(--side);
  border-right: 1px solid var(--line); font-size: 13px; line-height: 1.35; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li a { display: flex; gap: .6rem; align-items: baseline; padding: .3rem .4rem; border-radius: 4px; color: inherit; }
nav li a:hover { background: var(--line); text-decoration: none; }
nav .events a { font-family: ui-monospace, monospace; font-size: 12px; }
nav h2 { font-size: 12px; margin: 1.4rem .4rem .3rem; color: var(--quiet); border: 0; padding: 0; }
.brand { margin: 0 .4rem; font-weight: 650; font-size: 15px; }
.brand a { color: inherit; }
main { padding: 2rem clamp(1rem, 4vw, 3.5rem) 6rem; max-width: 66rem; }
h1 { font-size: 1.9rem; margin: 0; }
h2 { font-size: 1.35rem; margin: 3rem 0 .5rem; padding-bottom: .4rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .3rem; display: flex; gap: .6rem; align-items: baseline; flex-wrap: wrap; }
h4 { font-size: .85rem; margin: 1.2rem 0 .3rem; color: var(--quiet); font-weight: 600; }
p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
article { margin: 1.4rem 0; padding: 1.2rem 1.3rem; border: 1px solid var(--line); border-radius: 8px; }
article:target { border-color: var(--accent); }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
h3 code { font-size: 14px; }
h3 i { color: var(--quiet); }
.method { font: 700 11px/1 ui-monospace, monospace; letter-spacing: .02em; }
nav .method { flex: 0 0 3.2rem; }
.get { color: var(--get); } .post { color: var(--post); }
.put, .patch { color: var(--patch); } .delete { color: var(--delete); }
table { width: 100%; border-collapse: collapse; }
th, td { font-size: 14px; text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0;
  border-top: 1px solid var(--line); }
th { font-weight: 500; width: 36%; }
th .quiet { display: inline; margin-left: .5rem; font-size: 12px; }
th code .quiet { margin: 0; font-size: inherit; }
td ul, td p { margin: 0; padding: 0; list-style: none; }
.option td { padding-top: .8rem; }
.quiet, .type { color: var(--quiet); }
.type { font-size: 13px; margin-right: .3rem; }
details { margin-top: 1.2rem; }
summary { cursor: pointer; font-size: .85rem; font-weight: 600; color: var(--quiet); }
summary span { font-weight: 400; font-family: ui-monospace, monospace; margin-left: .5rem; }
@media (max-width: 50rem) {
  body { display: block; }
  nav { position: static; height: auto; border-right: 0; border-bottom: 1px solid var(--line); }
  th { width: 45%; }
}
"""
