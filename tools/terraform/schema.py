"""The real schema of Google's Terraform providers, read from the bindings that are generated from it.

The wheels `cdktn-provider-google` and `cdktn-provider-google-beta` (MPL-2.0) hold JavaScript classes whose generator wrote
down, for each argument, its name, type, whether it is required, optional or computed, and the description with enumerated
values and defaults. What the generator does not carry over is lost: conflicts between arguments, validators beyond
enumerations, and what forces a resource to be made anew.

Runs in the environment of the dependency group `terraform`: python -m tools.terraform.schema KIND OUTPUT TYPE...
"""

import importlib.util
import json
import re
import sys
import tarfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Schema = dict[str, Any]
"""`{"attributes": {name: {"type", "required", "optional", "computed", "enum", "default"}}, "blocks": {name: {...}}}`."""

PACKAGES = {"google": "cdktn_provider_google", "google-beta": "cdktn_provider_google_beta"}

_SOURCE = re.compile(r"package/lib/([\w-]+)/(?:[\w-]+/)*[\w-]+\.(js|d\.ts)")
_CLASS = re.compile(r"^(?:export )?class (\w+) extends cdktn\.(\w+) \{\n(.*?)^\}", re.M | re.S)
_HCL = re.compile(r"^(?:export )?function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}", re.M | re.S)
_ARGUMENT = re.compile(
    r"^ +(\w+): \{\n +value: (.+?),\n +isBlock: (true|false),\n +type: \"(\w+)\",\n +storageClassType: \"(\w+)\",\n +\},",
    re.M | re.S,
)
_MEMBER = re.compile(r"^    // (\w+) - computed: (\w+), optional: (\w+), required: (\w+)$", re.M)
_GETTER = re.compile(r"get(String|Number|Boolean|Any)?(MapList|List|Map)?Attribute\('")
_COMPLEX = re.compile(r"= new (?:cdktn\.)?(\w+)\(this, \"\w+\"(?:, (true|false))?")
_INTERFACE = re.compile(r"^export interface (\w+)(?: extends [\w.]+)? \{\n(.*?)^\}", re.M | re.S)
_DOCUMENTED = re.compile(r"/\*\*\n(.*?)\*/\n +readonly \w+\??: ", re.S)
_DOC_LINK = re.compile(r"#(\w+) \w+#\w+\}")
_ENUM = re.compile(r"Possible values: (\[[^\]]*\])")
_DEFAULT = re.compile(r"Default value: \"([^\"]*)\"")

_SCALARS = {"string": "string", "number": "number", "boolean": "bool", "any": "string"}


@dataclass(frozen=True, slots=True)
class _Argument:
    """What can be written in a configuration: one entry of a `...ToHclTerraform` function."""

    value: str
    is_block: bool
    nesting: str
    storage: str


@dataclass(slots=True)
class _Source:
    """The classes, argument tables and descriptions of one resource's module."""

    classes: dict[str, tuple[str, str]] = field(default_factory=dict)
    arguments: dict[str, dict[str, _Argument]] = field(default_factory=dict)
    descriptions: dict[str, dict[str, str]] = field(default_factory=dict)

    def add_javascript(self, text: str) -> None:
        self.classes |= {m[1]: (m[2], m[3]) for m in _CLASS.finditer(text)}
        self.arguments |= {_capitalised(m[1]): _arguments(m[2]) for m in _HCL.finditer(text)}

    def add_declarations(self, text: str) -> None:
        for interface in _INTERFACE.finditer(text):
            described = self.descriptions.setdefault(interface[1], {})
            for comment in _DOCUMENTED.finditer(interface[2]):
                link = _DOC_LINK.search(comment[1])
                if link:
                    described[link[1]] = " ".join(line.strip(" *") for line in comment[1].splitlines())


def extract(kind: str, wanted: set[str]) -> Schema:
    """The schema of the provider `kind` for the types in `wanted`: `google_x` a resource, `data.google_x` a data source.

    Returns:
        `{"version", "provider", "resources": {type: schema}, "data_sources": {type: schema}}`
    """
    sources = _read(kind, {_folder(kind, name) for name in wanted} | {"provider"})
    schema: Schema = {"version": "", "provider": {}, "resources": {}, "data_sources": {}}
    for source in sources.values():
        for name, (base, body) in source.classes.items():
            table = _arguments(body.partition("synthesizeHclAttributes()")[2])
            if base == "TerraformProvider":
                schema["version"] = re.findall(r"providerVersion: '([\d.]+)'", body)[0]
                schema["provider"] = _provider_block(source, table)
            elif base in ("TerraformResource", "TerraformDataSource"):
                place = "resources" if base == "TerraformResource" else "data_sources"
                type_name = re.findall(r"tfResourceType = \"(\w+)\"", body)[0]
                schema[place][type_name] = _block(source, name, table, f"{name}Config")
    return schema


def _read(kind: str, folders: set[str]) -> dict[str, _Source]:
    spec = importlib.util.find_spec(PACKAGES[kind])
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {PACKAGES[kind]} is not installed: `make terraform-test` installs it")
    (archive,) = Path(spec.submodule_search_locations[0], "_jsii").glob("*.tgz")
    sources: dict[str, _Source] = defaultdict(_Source)
    with tarfile.open(archive) as tar:
        for member in tar:
            name = _SOURCE.fullmatch(member.name)
            content = tar.extractfile(member) if name and name[1] in folders else None
            if name and content:
                text = content.read().decode()
                if name[2] == "js":
                    sources[name[1]].add_javascript(text)
                else:
                    sources[name[1]].add_declarations(text)
    return sources


def _folder(kind: str, type_name: str) -> str:
    """The module of a type. The package of the beta provider keeps `google` in the names of resources, too."""
    data, _, name = type_name.rpartition(".")
    full = name.replace("_", "-")
    if data:
        return f"data-{full}"
    return full if kind == "google-beta" else full.removeprefix("google-")


def _capitalised(name: str) -> str:
    return name[:1].upper() + name[1:]


def _arguments(text: str) -> dict[str, _Argument]:
    return {m[1]: _Argument(m[2], m[3] == "true", m[4], m[5]) for m in _ARGUMENT.finditer(text)}


def _block_name(argument: _Argument) -> str:
    found = re.search(r"(\w+)ToHclTerraform", argument.value)
    assert found, argument.value  # noqa: S101 - a block's value is always made by such a function
    return _capitalised(found[1])


def _provider_block(source: _Source, table: dict[str, _Argument]) -> Schema:
    """The provider's own arguments: it has no class to read more from, and none of them is required."""
    block: Schema = {"attributes": {}, "blocks": {}}
    for name, argument in table.items():
        if argument.is_block:
            inner = _provider_block(source, source.arguments[_block_name(argument)])
            block["blocks"][name] = {"nesting": argument.nesting, "single": True, "required": False, "block": inner}
        else:
            block["attributes"][name] = {"type": _written_type(argument) or "string", "optional": True}
    return block


def _block(source: _Source, class_name: str, table: dict[str, _Argument], interface: str) -> Schema:
    block: Schema = {"attributes": {}, "blocks": {}}
    described = source.descriptions.get(interface, {})
    for name, flags, code in _members(source, class_name):
        argument = table.get(name)
        if argument and argument.is_block:
            inner = _block_name(argument)
            block["blocks"][name] = {
                "nesting": "single" if argument.nesting == "struct" else argument.nesting,
                "single": "apperHcl(" not in argument.value,
                "required": "required" in flags,
                "block": _block(source, f"{inner}OutputReference", source.arguments[inner], inner),
            }
            continue
        attribute: Schema = {"type": (argument and _written_type(argument)) or _read_type(source, code)}
        attribute |= dict.fromkeys(flags, True)
        description = described.get(name, "")
        if enumeration := _ENUM.search(description):
            attribute["enum"] = json.loads(enumeration[1])
        if default := _DEFAULT.search(description):
            attribute["default"] = default[1]
        block["attributes"][name] = attribute
    return block


def _members(source: _Source, class_name: str) -> list[tuple[str, list[str], str]]:
    """Each member of a class: its name, its flags, the code of its accessors."""
    body = source.classes[class_name][1]
    found = list(_MEMBER.finditer(body))
    ends = [*(m.start() for m in found), len(body)][1:]
    return [(m[1], _flags(*m.groups()[1:]), body[m.end() : end]) for m, end in zip(found, ends, strict=True)]


def _flags(computed: str, optional: str, required: str) -> list[str]:
    flags = {"computed": computed, "optional": optional, "required": required}
    return [flag for flag, is_set in flags.items() if is_set == "true"]


def _written_type(argument: _Argument) -> Any:
    """The type of what a configuration writes, as Terraform writes types in JSON; None where only reading it tells."""
    if argument.nesting == "simple":
        return _SCALARS.get(argument.storage)
    if argument.nesting == "map":
        return ["map", _SCALARS.get(argument.storage.removesuffix("Map"), "string")]
    scalar = _SCALARS.get(argument.storage.removesuffix("List"))
    return [argument.nesting, scalar] if scalar else None


def _read_type(source: _Source, code: str) -> Any:
    """The type of what an accessor returns."""
    getter = _GETTER.search(code)
    if getter:
        scalar = _SCALARS[(getter[1] or "string").lower()]
        match getter[2]:
            case None:
                return scalar
            case "Map":
                return ["map", scalar]
            case "List":
                return ["set" if "tolist" in code else "list", scalar]
            case _:
                return ["list", ["map", scalar]]
    complex_type = _COMPLEX.search(code)
    if complex_type:
        kind = "set" if complex_type[2] == "true" else "list"
        base = re.sub(r"(List|Map|OutputReference)$", "", complex_type[1])
        if f"{base}OutputReference" in source.classes:
            members = _members(source, f"{base}OutputReference")
            return [kind, ["object", {name: _read_type(source, inner) for name, _, inner in members}]]
        return ["map", _SCALARS[base.lower()]] if complex_type[1].endswith("Map") else [kind, ["map", "string"]]
    return "string"


def main() -> None:
    kind, output, *wanted = sys.argv[1:]
    schema = extract(kind, set(wanted))
    missing = {
        name for name in wanted if name.rpartition(".")[2] not in schema["data_sources" if "." in name else "resources"]
    }
    if missing:
        raise SystemExit(f"the provider {kind} {schema['version']} has no {', '.join(sorted(missing))}")
    Path(output).write_text(json.dumps(schema))


if __name__ == "__main__":
    main()
