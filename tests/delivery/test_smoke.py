"""The smoke test against the local cloud, something else, and nothing; the SBOM; an audit with and without advisories."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import urllib3

from local_cloud.client import Client
from tests.contract.test_requirements import locked
from tools.bundle import capabilities
from tools.catalog import ROOT, catalog
from tools.deliver import audit, sbom, smoke

AT_ONCE = urllib3.PoolManager(retries=False, timeout=60.0)


def test_the_system_answers(client: Client) -> None:
    assert smoke.failures(client.url) == []
    assert smoke.main([client.url]) == 0


def test_every_route_is_asked() -> None:
    asked = {check.path for check in smoke.checks()}
    assert asked == {route for function in catalog().functions.values() for route in function.trigger.routes}


@pytest.fixture
def stranger() -> Iterator[str]:
    """A server that answers everything with 200."""

    class Fine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Fine)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_something_else_fails_each_check(stranger: str) -> None:
    assert len(smoke.failures(stranger, AT_ONCE)) == len(list(smoke.checks()))
    assert smoke.main([stranger]) == 1


def test_nothing_fails_each_check() -> None:
    assert all("no answer" in failure for failure in smoke.failures("http://127.0.0.1:9", AT_ONCE))


def test_an_environment_is_asked_by_its_domain() -> None:
    assert smoke.base_url("prod") == "https://api.kapas.example.com"
    assert smoke.base_url("https://api.example.com/") == "https://api.example.com"
    with pytest.raises(SystemExit):
        smoke.base_url("nowhere")


def test_an_sbom_lists_what_is_locked_and_is_the_same_each_time() -> None:
    capability = capabilities()[0]
    path = ROOT / "functions" / capability / "requirements.txt"
    document = json.loads(sbom.sbom(path))
    components = document["components"]
    assert {(c["name"], c["version"]) for c in components} == {
        (name, version) for name, (version, _) in locked(path).items()
    }
    assert all(c["purl"].startswith("pkg:pypi/") for c in components)
    assert "serialNumber" not in document
    assert "timestamp" not in document["metadata"]


def test_an_audit_that_reaches_nobody_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}
    with pytest.raises(audit.NotAudited):
        audit.vulnerabilities([ROOT / "functions/audit_trail/requirements.txt"], {**os.environ, **nowhere})
    monkeypatch.setattr(audit, "TOOL", "false")
    assert audit.main() == 2
    assert "not audited" in capsys.readouterr().err


def test_a_known_vulnerability_is_told(tmp_path: "os.PathLike[str]", monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"name": "example", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
    tool = os.path.join(tmp_path, "pip-audit")
    with open(tool, "w") as script:
        script.write(f"#!/bin/sh\necho '{json.dumps({'dependencies': [known]})}'\nexit 1\n")
    os.chmod(tool, 0o755)
    monkeypatch.setattr(audit, "TOOL", tool)
    assert audit.vulnerabilities([]) == ["example 1.0: PYSEC-1, fixed in 1.1"]
    assert audit.main() == 1
