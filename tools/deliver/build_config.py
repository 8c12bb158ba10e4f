"""Whether files are build configurations that Cloud Build takes: `python -m tools.deliver.build_config FILE...`.

The schema is that of its API, as its own client has it (`google.cloud.devtools.cloudbuild_v1.Build`), less what only the
service sets. What the schema does not say is from cloud.google.com/build/docs/build-config-file-schema and
.../configuring-builds/substitute-variable-values.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from google.cloud.devtools.cloudbuild_v1 import Build
from google.protobuf import json_format

FIELDS = {
    *("steps", "timeout", "queueTtl", "logsBucket", "options", "substitutions", "tags", "serviceAccount", "secrets"),
    *("availableSecrets", "artifacts", "images", "dependencies"),
}
"""What a configuration may say of a build."""
SET_BY_THE_SERVICE = {"timing", "pullTiming", "status", "exitCode"}
"""What a step may not say."""
BUILT_IN = {
    *("PROJECT_ID", "BUILD_ID", "PROJECT_NUMBER", "LOCATION", "TRIGGER_NAME", "COMMIT_SHA", "REVISION_ID", "SHORT_SHA"),
    *("REPO_NAME", "REPO_FULL_NAME", "BRANCH_NAME", "TAG_NAME", "REF_NAME", "TRIGGER_BUILD_CONFIG_PATH"),
    *("SERVICE_ACCOUNT_EMAIL", "SERVICE_ACCOUNT"),
}
USED = re.compile(r"(?<!\$)\$\{?(_?[A-Z][A-Z0-9_]*)\}?")


def problems(text: str) -> list[str]:
    """What is wrong with a configuration; empty where Cloud Build would take it."""
    document = yaml.safe_load(text)
    try:
        json_format.ParseDict(document, Build.pb(Build()))
    except json_format.ParseError as error:
        return [str(error)]
    return [*_build(document), *_steps(document), *_substitutions(document)]


def _build(document: dict[str, Any]) -> Iterator[str]:
    yield from (f"{name} is not for a configuration to say" for name in sorted(set(document) - FIELDS))
    if not document.get("steps"):
        yield "a build has steps"
    for name in document.get("substitutions", {}):
        if not re.fullmatch(r"_[A-Z0-9_]+", name):
            yield f"{name}: the name of a substitution starts with _ and is in capitals"


def _steps(document: dict[str, Any]) -> Iterator[str]:
    earlier: set[str] = set()
    for number, step in enumerate(document.get("steps", [])):
        name = step.get("id", f"step {number}")
        yield from (f"{name}: {field} is the service's" for field in sorted(set(step) & SET_BY_THE_SERVICE))
        if not step.get("name"):
            yield f"{name} has no image"
        if "script" in step and ("args" in step or "entrypoint" in step):
            yield f"{name}: a script stands instead of args and entrypoint"
        yield from (
            f"{name} waits for {w}, which is not before it" for w in step.get("waitFor", []) if w not in earlier | {"-"}
        )
        if name in earlier:
            yield f"two steps are called {name}"
        earlier.add(name)


def _substitutions(document: dict[str, Any]) -> Iterator[str]:
    """In a script only what its environment has is known, which `automapSubstitutions` fills with every substitution."""
    known = BUILT_IN | set(document.get("substitutions", {}))
    options = document.get("options", {})
    for step in document.get("steps", []):
        own = {entry.partition("=")[0] for entry in [*step.get("env", []), *options.get("env", [])]}
        # Other names in capitals are the script's own variables.
        script = {name for name in USED.findall(step.get("script", "")) if name.startswith("_") or name in known}
        if not (options.get("automapSubstitutions") or step.get("automapSubstitutions")):
            yield from (f"{step.get('id')}: {name} is not in the script's environment" for name in sorted(script - own))
        rest = USED.findall(" ".join([*step.get("args", []), *step.get("env", []), step.get("name", "")]))
        yield from (f"{step.get('id')}: {name} is declared nowhere" for name in sorted({*script, *rest} - known - own))


def main(paths: list[str]) -> int:
    found = [f"{path}: {problem}" for path in paths for problem in problems(Path(path).read_text())]
    print("\n".join(found) or "ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
