"""A stand-in for Google's Terraform providers: the real schema, over Terraform's plugin protocol 6, with a cloud in memory.

It is not the real provider: it checks types, required arguments, enumerations and what `facts` knows, plans as the schema
says, and keeps what is applied. It calls nothing.

Runs in the environment of the dependency group `terraform`: python -m tools.terraform.provider SCHEMAS SOCKETS
prints what TF_REATTACH_PROVIDERS is to be, and serves until its standard input is closed.
"""
# ruff: noqa: ARG002 - the methods' arguments are the protocol's

import json
import os
import re
import sys
import threading
import zlib
from collections.abc import Iterator
from concurrent import futures
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc

from tools.terraform import facts
from tools.terraform.schema import PACKAGES, Schema

UNKNOWN = msgpack.ExtType(0, b"\x00")
"""How Terraform writes a value that is known after the apply only."""

_NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
Value = dict[str, Any]


class Cloud:
    """What has been applied, by type and id; shared by the providers."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._resources: dict[tuple[str, str], Value] = {}

    def create(self, kind: str, value: Value) -> str | None:
        """Keep a new resource; why not, if Google would not."""
        if (kind, value["id"]) in self._resources:
            return f"Error 409: {kind} {value['id']} already exists"
        refused = (
            self._missing_reference(kind, value)
            or self._missing_grant(kind, value)
            or self._missing_secret(kind, value)
            or facts.refused_condition(_dig(value, "condition.expression") or "")
        )
        if refused:
            return refused
        self._resources[kind, value["id"]] = value
        return None

    def clone(self, kind: str, names: Value) -> Value | None:
        """A resource as a clone of the database has it: like the original's, but for the names that are given."""
        alike = [
            value
            for (of, _), value in self._resources.items()
            if of == kind and ("instance" not in names or value["name"] == names["name"])
        ]
        return {**alike[0], **names} if alike else None

    def update(self, kind: str, value: Value) -> None:
        self._resources[kind, value["id"]] = value

    def delete(self, kind: str, value: Value) -> str | None:
        """Forget a resource; why not, if it is protected."""
        for name, protecting in facts.PROTECTED:
            if value.get(name) == protecting:
                return f"{kind} {value['id']} is protected against deletion: {name} is {protecting}"
        self._resources.pop((kind, value["id"]), None)
        return None

    def _missing_reference(self, kind: str, value: Value) -> str | None:
        needed = facts.PREREQUISITES.get(kind)
        if needed and not any(of == needed for of, _ in self._resources):
            return f"Error 400: {kind} {value['id']} needs a {needed}, which is not there"
        for path, target in facts.REFERENCES.get(kind, []):
            name = _dig(value, path)
            if name and not any(
                of == target and name in (other["id"], other.get("name")) for (of, _), other in self._resources.items()
            ):
                return f"Error 404: {kind} {value['id']} names {name}, which is not there"
        member = value.get("member") or ""
        account = re.fullmatch(r"serviceAccount:([\w-]+@[\w-]+\.iam\.gserviceaccount\.com)", member)
        agents = (
            f"@{agent}.iam" for agent in (*facts.SERVICE_AGENTS.values(), "gs-project-accounts", "gcp-sa-logging")
        )
        if account and kind.endswith("_iam_member") and not any(agent in member for agent in agents):
            emails = {other["email"] for (of, _), other in self._resources.items() if of == "google_service_account"}
            if account[1] not in emails:
                return f"Error 400: {kind} {value['id']}: service account {account[1]} does not exist"
        return None

    def _missing_grant(self, kind: str, value: Value) -> str | None:
        path, agents = facts.ENCRYPTED.get(kind, ("", ()))
        key = _dig(value, path) if path else None
        granted = {
            other["member"]
            for (of, _), other in self._resources.items()
            if of == "google_kms_crypto_key_iam_member" and other["crypto_key_id"] == key
        }
        for agent in agents if key else ():
            if not any(f"@{agent}.iam" in member for member in granted):
                return f"Error 403: {kind} {value['id']}: the service agent {agent} may not use the key {key}"
        return None

    def _missing_secret(self, kind: str, value: Value) -> str | None:
        reads, path = facts.SECRETS
        if kind != reads:
            return None
        account, secret_id = _dig(value, path), _dig(value, "service_config.secret_environment_variables.secret")
        granted = {
            other["secret_id"].rpartition("/")[2]
            for (of, _), other in self._resources.items()
            if of == "google_secret_manager_secret_iam_member" and other["member"] == f"serviceAccount:{account}"
        }
        if secret_id and secret_id not in granted:
            return f"Error 400: {kind} {value['id']}: {account} may not read the secret {secret_id}"
        return None


class Provider(rpc.ProviderServicer):
    """One provider. Method names are the protocol's."""

    def __init__(self, schema: Schema, cloud: Cloud) -> None:
        self._schema = schema
        self._cloud = cloud
        self._config: Value = {}
        self._count = count(1)

    def GetMetadata(self, request: Any, context: Any) -> Any:
        names = pb.GetMetadata
        return names.Response(
            server_capabilities=pb.ServerCapabilities(get_provider_schema_optional=True),
            resources=[names.ResourceMetadata(type_name=name) for name in self._schema["resources"]],
            data_sources=[names.DataSourceMetadata(type_name=name) for name in self._schema["data_sources"]],
        )

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        response = pb.GetProviderSchema.Response(
            server_capabilities=pb.ServerCapabilities(get_provider_schema_optional=True)
        )
        response.provider.block.CopyFrom(_block_message(self._schema["provider"]))
        response.provider_meta.block.CopyFrom(pb.Schema.Block())
        for name, block in self._schema["resources"].items():
            response.resource_schemas[name].block.CopyFrom(_block_message(block))
        for name, block in self._schema["data_sources"].items():
            response.data_source_schemas[name].block.CopyFrom(_block_message(block))
        return response

    def GetFunctions(self, request: Any, context: Any) -> Any:
        return pb.GetFunctions.Response()

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        self._config = _decode(request.config) or {}
        return pb.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        kind, value = request.type_name, _decode(request.config)
        faults = [*_faults(self._schema["resources"][kind], value, ()), *_rule_faults(kind, value)]
        return pb.ValidateResourceConfig.Response(diagnostics=[_error(text, path) for text, path in faults])

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateDataResourceConfig.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        return pb.UpgradeResourceState.Response(upgraded_state=_encode(json.loads(request.raw_state.json)))

    def ReadResource(self, request: Any, context: Any) -> Any:
        return pb.ReadResource.Response(new_state=request.current_state, private=request.private)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        kind, prior, proposed = request.type_name, _decode(request.prior_state), _decode(request.proposed_new_state)
        if proposed is None:
            return pb.PlanResourceChange.Response(planned_state=request.proposed_new_state)
        block = self._schema["resources"][kind]
        for name in ("project", "region"):
            if block["attributes"].get(name, {}).get("computed") and proposed.get(name) is None:
                proposed[name] = self._config.get(name)
        replaced = [
            name for name in facts.FORCES_NEW
            if prior is not None and name in block["attributes"] and prior.get(name) != proposed.get(name)
        ]  # fmt: skip
        _plan(block, proposed, is_new=prior is None or bool(replaced))
        for name in facts.KNOWN_WHEN_PLANNED.get(kind, ()):
            if proposed.get(name) == UNKNOWN:
                proposed[name] = self._computed(kind, name, proposed) or UNKNOWN
        return pb.PlanResourceChange.Response(
            planned_state=_encode(proposed), requires_replace=[_path((name,)) for name in replaced]
        )

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        kind, prior, planned = request.type_name, _decode(request.prior_state), _decode(request.planned_state)
        with self._cloud.lock:
            if planned is None:
                refusal = self._cloud.delete(kind, prior)
                state = request.prior_state if refusal else request.planned_state
            else:
                self._settle(kind, self._schema["resources"][kind], planned)
                refusal = self._cloud.create(kind, planned) if prior is None else self._cloud.update(kind, planned)
                state = request.prior_state if refusal else _encode(planned)
        return pb.ApplyResourceChange.Response(new_state=state, diagnostics=[_error(refusal)] if refusal else [])

    def ImportResourceState(self, request: Any, context: Any) -> Any:
        kind = request.type_name
        identity = re.fullmatch(facts.IMPORTED.get(kind, "(?!)"), request.id)
        value = self._cloud.clone(kind, identity.groupdict()) if identity else None
        if value is None:
            return pb.ImportResourceState.Response(diagnostics=[_error(f"there is no {kind} {request.id} to import")])
        computed = ("id", "connection_name", "private_ip_address")
        value |= {name: text for name in computed if (text := self._computed(kind, name, value))}
        imported = pb.ImportResourceState.ImportedResource(type_name=kind, state=_encode(value))
        return pb.ImportResourceState.Response(imported_resources=[imported])

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        kind, value = request.type_name, _decode(request.config)
        for name, attribute in self._schema["data_sources"][kind]["attributes"].items():
            if value.get(name) is None and attribute.get("computed"):
                value[name] = self._computed(f"data.{kind}", name, value) or _filler(attribute["type"], name)
        return pb.ReadDataSource.Response(state=_encode(value))

    def StopProvider(self, request: Any, context: Any) -> Any:
        return pb.StopProvider.Response()

    def _settle(self, kind: str, block: Schema, value: Value, top: bool = True) -> None:
        """Give every value that was unknown until the apply."""
        for name, attribute in block["attributes"].items():
            if value.get(name) == UNKNOWN:
                value[name] = (self._computed(kind, name, value) if top else None) or _filler(attribute["type"], name)
        for name, nested in block["blocks"].items():
            for _, inner in _each(nested, value.get(name)):
                self._settle(kind, nested["block"], inner, top=False)

    def _computed(self, kind: str, name: str, value: Value) -> Any:
        template = facts.COMPUTED.get(kind, {}).get(name) or facts.COMPUTED["*"].get(name)
        known = {key: text for key, text in value.items() if isinstance(text, str)}
        known.setdefault("project", self._config.get("project") or "unknown-project")
        known["number"] = facts.PROJECT_NUMBER
        known["agent"] = facts.SERVICE_AGENTS.get(known.get("service", ""), "unknown-agent")
        known["fields"] = "-".join(
            field["field_path"] for field in value.get("fields") or [] if isinstance(field, dict)
        )
        known.setdefault("name", f"{kind}-{next(self._count)}")  # what has no name is told apart all the same
        known["octet"] = str(zlib.crc32(known["name"].encode()) % 250 + 2)
        try:
            return _filled(template, known) if template else None
        except KeyError:
            return None


def _filled(template: Any, known: dict[str, str]) -> Any:
    """A template with its names replaced: a text, or a list of objects of texts."""
    if isinstance(template, str):
        return template.format(**known)
    return [{name: text.format(**known) for name, text in each.items()} for each in template]


def _plan(block: Schema, value: Value, *, is_new: bool) -> None:
    """Fill in defaults, and mark what only the apply will tell."""
    for name, attribute in block["attributes"].items():
        if value.get(name) is not None:
            continue
        if "default" in attribute and attribute["type"] in ("string", "bool", "number"):
            text = attribute["default"]
            value[name] = text if attribute["type"] == "string" else json.loads(text.lower())
        elif attribute.get("computed") and is_new:
            value[name] = UNKNOWN
    for name, nested in block["blocks"].items():
        for _, inner in _each(nested, value.get(name)):
            _plan(nested["block"], inner, is_new=is_new or nested["nesting"] == "set")


def _faults(block: Schema, value: Value, path: tuple[str | int, ...]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    for name, attribute in block["attributes"].items():
        given = value.get(name)
        if given is None:
            continue
        if attribute.get("computed") and not attribute.get("optional"):
            yield f"{name} is decided by the provider and cannot be set", (*path, name)
        allowed = attribute.get("enum")
        if allowed and isinstance(given, str) and given not in allowed:
            yield f"{name} must be one of {', '.join(allowed)}, not {given}", (*path, name)
    for name, nested in block["blocks"].items():
        for step, inner in _each(nested, value.get(name)):
            # An element of a set has no index that a path could name.
            deeper = (*path, name) if step is None or nested["nesting"] == "set" else (*path, name, step)
            yield from _faults(nested["block"], inner, deeper)


def _rule_faults(kind: str, value: Value) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    for names in facts.EXACTLY_ONE.get(kind, []):
        if sum(bool(value.get(name)) for name in names) != 1:
            yield f"exactly one of {', '.join(names)} must be set", ()
    for names in facts.AT_MOST_ONE.get(kind, []):
        if sum(bool(value.get(name)) for name in names) > 1:
            yield f"only one of {', '.join(names)} can be set", ()
    for name, pattern in facts.PATTERNS.get(kind, {}).items():
        given = value.get(name)
        if isinstance(given, str) and not re.fullmatch(pattern, given):
            yield f"{given} is no valid {name} of a {kind}", (name,)


def _each(nested: Schema, value: Any) -> Iterator[tuple[str | int | None, Value]]:
    """The values of a nested block that are known, each with its place."""
    if value is None or value == UNKNOWN:
        return
    if nested["nesting"] == "single":
        yield None, value
    else:
        yield from value.items() if nested["nesting"] == "map" else enumerate(value)


def _filler(kind: Any, name: str) -> Any:
    """A value for an attribute of which nothing is known but its type."""
    match kind:
        case "string":
            return f"made-up-{name.replace('_', '-')}"
        case "number":
            return 1
        case "bool":
            return False
        case ["map", *_]:
            return {}
        case _:
            return []


def _dig(value: Any, path: str) -> Any:
    """What is at a dotted path; of a list, in its first element."""
    for name in path.split("."):
        value = (value[0] if value else None) if isinstance(value, list) else value
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _block_message(block: Schema) -> Any:
    message = pb.Schema.Block()
    for name, attribute in sorted(block["attributes"].items()):
        message.attributes.append(
            pb.Schema.Attribute(
                name=name,
                type=json.dumps(attribute["type"]).encode(),
                required=attribute.get("required", False),
                optional=attribute.get("optional", False),
                # A default is filled in while planning, which only a computed attribute allows.
                computed=attribute.get("computed", False) or "default" in attribute,
            )
        )
    for name, nested in sorted(block["blocks"].items()):
        counted = nested["nesting"] in ("list", "set")
        message.block_types.append(
            pb.Schema.NestedBlock(
                type_name=name,
                nesting=_NESTING[nested["nesting"]],
                block=_block_message(nested["block"]),
                min_items=int(counted and nested["required"]),
                max_items=int(counted and nested["single"]),
            )
        )
    return message


def _decode(value: Any) -> Any:
    if value.msgpack:
        return msgpack.unpackb(value.msgpack, raw=False, strict_map_key=False)
    return json.loads(value.json) if value.json else None


def _encode(value: Any) -> Any:
    return pb.DynamicValue(msgpack=msgpack.packb(value, use_bin_type=True))


def _path(steps: tuple[str | int, ...]) -> Any:
    path = pb.AttributePath()
    for step in steps:
        path.steps.add(**({"element_key_int": step} if isinstance(step, int) else {"attribute_name": step}))
    return path


def _error(text: str, path: tuple[str | int, ...] = ()) -> Any:
    return pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary=text, attribute=_path(path))


def main() -> None:
    schemas, sockets = Path(sys.argv[1]), Path(sys.argv[2])
    cloud, servers, reattach = Cloud(), [], {}
    for kind in PACKAGES:
        server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=16),
            options=[("grpc.max_send_message_length", 1 << 28), ("grpc.max_receive_message_length", 1 << 28)],
        )
        rpc.add_ProviderServicer_to_server(Provider(json.loads((schemas / f"{kind}.json").read_text()), cloud), server)
        socket = sockets / f"{kind}.sock"
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        servers.append(server)
        reattach[f"registry.terraform.io/hashicorp/{kind}"] = {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": os.getpid(),
            "Test": True,
            "Addr": {"Network": "unix", "String": str(socket)},
        }
    print(json.dumps(reattach), flush=True)
    sys.stdin.read()  # until whoever started it closes its end
    for server in servers:
        server.stop(0)


if __name__ == "__main__":
    main()
