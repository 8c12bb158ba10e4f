"""An example of each event that partners may be told of, as committed under `tests/examples`; `make docs` copies them."""

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[2] / "data" / "event_examples.json"


def example(event_type: str) -> dict[str, Any]:
    """The data of an event of this type."""
    return json.loads(PATH.read_text("utf-8"))[event_type]
