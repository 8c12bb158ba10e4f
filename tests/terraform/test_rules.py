"""The rules of Firestore that are released are those of the live feed, which its own tests and Google's emulator evaluate."""

from tests.terraform.deployed import Deployed
from tools.catalog import ROOT


def test_the_released_rules_are_the_live_feed_s(deployed: Deployed) -> None:
    (file,) = deployed.one("firebaserules_ruleset")["source"][0]["files"]
    assert file["content"] == (ROOT / "functions/live_feed/firestore.rules").read_text()
