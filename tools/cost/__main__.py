"""`python -m tools.cost`: write docs/operations/cost.md. With `--check`, fail where the month became dearer than accepted."""

import sys

from tools.catalog import ROOT, catalog
from tools.cost import acknowledged, model, prices
from tools.cost.document import document, seed_inr

OUTPUT = ROOT / "docs/operations/cost.md"


def main(arguments: list[str]) -> int:
    """The exit code: 1 where the page is out of date, or the figure not acceptable."""
    inputs = catalog(), prices.read(), model.production()
    text, seed = document(*inputs), seed_inr(*inputs)
    if "--check" not in arguments:
        OUTPUT.write_text(text)
        print(f"{OUTPUT.relative_to(ROOT)}: INR {seed:,} a month")
        return 0
    if objection := acknowledged.objection(seed, model.LIMIT_INR, acknowledged.accepted()):
        print(f"{objection}: add a line to tools/cost/acknowledged.txt, with the reason", file=sys.stderr)
        return 1
    if not OUTPUT.exists() or OUTPUT.read_text() != text:
        print(f"{OUTPUT.relative_to(ROOT)} is out of date: run make cost", file=sys.stderr)
        return 1
    print(f"INR {seed:,} a month")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
