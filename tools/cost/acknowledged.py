"""The figure that was last accepted: the last line of `acknowledged.txt`, as `DATE INR reason`."""

from pathlib import Path

FILE = Path(__file__).with_name("acknowledged.txt")
TOLERANCE = 0.05
"""How far the seed load may rise above what was accepted."""


def accepted(path: Path = FILE) -> int:
    """Rupees a month. Raises ValueError if the file has no such line."""
    lines = [line.split(maxsplit=2) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    if not lines or len(lines[-1]) < 3:
        raise ValueError(f"{path.name}: the last line is not `DATE INR reason`")
    return int(lines[-1][1])


def objection(seed: int, limit: int, agreed: int) -> str | None:
    """Why a seed load of `seed` rupees is not acceptable, or None. What is above the limit passes only if accepted."""
    if seed > agreed * (1 + TOLERANCE):
        rise = 100 * (seed / agreed - 1)
        return f"the seed load rises by {rise:.1f}%, from INR {agreed:,} to INR {seed:,}"
    if seed > max(limit, agreed):
        return f"the seed load comes to INR {seed:,}, over the limit of INR {limit:,}"
    return None
