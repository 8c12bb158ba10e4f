"""Every function starts with what it is told on Google Cloud. Last of the tests, for it imports all of them."""

from werkzeug.test import Client

from kapas.platform import settings
from local_cloud.functions import load
from tests.terraform.deployed import Deployed, with_code
from tools.catalog import ROOT


def test_every_function_starts_with_what_it_is_told_and_refuses_strangers(deployed: Deployed) -> None:
    for name in with_code(deployed):
        function = deployed.catalog.functions[name]
        _, app = load(ROOT / "functions", function)
        secrets = {secret.replace("-", "_").upper(): "a secret" for secret in function.secrets}
        with settings.use({**deployed.environments[name], **secrets}):
            # The first route by GET, as the uptime check asks it; the others as what calls them does.
            method = "GET" if function.trigger.kind == "http" else "POST"
            answer = Client(app).open(next(iter(function.trigger.routes), "/"), method=method)
        assert (name, answer.status_code, answer.mimetype) == (name, 401, "application/problem+json")
