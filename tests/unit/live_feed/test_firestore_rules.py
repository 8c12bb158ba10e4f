"""The security rules of the live documents, as text: what they open, and that they open nothing else.

What they decide is tested by Google's own evaluator, in `local_cloud/conformance/test_firestore_rules.py`.
"""

import re

from functions.live_feed import projections
from tools.catalog import ROOT

RULES = (ROOT / "functions/live_feed/firestore.rules").read_text()
CODE = re.sub(r"//[^\n]*", "", RULES)


def test_every_collection_that_is_projected_has_a_rule_and_no_other() -> None:
    projected = {"partners" if name.startswith("partner.") else "trades" for name in projections.FOLDS}
    matched = re.findall(r"match /(\w+)/\{\w+\} \{", CODE)
    assert sorted(matched) == sorted(projected)


def test_clients_read_and_never_write() -> None:
    allowed = {word.strip() for words in re.findall(r"allow ([\w, ]+):", CODE) for word in words.split(",")}
    assert allowed == {"get", "list"}


def test_nothing_is_open_to_everybody() -> None:
    assert not re.findall(r":\s*if true|=\*\*", CODE)
    conditions = re.findall(r"allow [\w, ]+:\s*(if)?", CODE)
    assert conditions
    assert all(conditions)


def test_each_document_says_who_may_read_it() -> None:
    for field in ("partner_ids", "open"):
        assert f"resource.data.{field}" in CODE
