"""Which faults happen where, decided by hash and never by the order of draws, so that one can be left out by itself.

A fault is decided by the seed, the invocation, how many points that invocation has passed, and the kind. Leaving one out
(`suppressed`) leaves the decisions about all others as they were: that is what makes shrinking possible.
"""

import random
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

HEAL = timedelta(hours=3)
"""After this time no fault is started any more: then everything must drain."""
PERSISTENCE = 3
"""How many tries of one piece of work may be struck. Pub/Sub gives a message up after ten; that is no fault of ours."""

KINDS = {
    "crash": "the instance dies, with everything that runs in it",
    "connection_drop": "the connection to PostgreSQL breaks before a statement",
    "commit_lost": "the connection breaks during a commit, which was not applied",
    "commit_unanswered": "the connection breaks during a commit, which was applied",
    "freeze": "the invocation stands still for 20 to 120 seconds",
    "restart": "PostgreSQL restarts: every connection breaks, and new ones are refused for some seconds",
    "duplicate": "a request is delivered twice",
    "drop": "a request is never delivered",
    "delay": "a request is late by up to a minute, and others overtake it",
    "answer_lost": "a request is served and its answer never arrives",
    "unavailable": "a service answers that it is unavailable",
    "effect_unanswered": "a service did what it was asked, and answers that it is unavailable",
    "partial": "Pub/Sub takes a part of a batch",
    "outage": "a service is down for up to a minute",
    "receiver_down": "a partner's endpoint does not answer",
    "receiver_slow": "a partner's endpoint takes the message and answers too late",
    "receiver_hostile": "a partner's endpoint answers what no honest one does",
    "skew": "the clock of an instance is wrong by up to three seconds",
}
SERVICES = ("bus", "tasks", "documents", "keys", "providers", "storage")

_RATES = (0.0, 0.0, 0.02, 0.05, 0.1)
_FREQUENT = 0.25
_AIMED = 0.3
"""The share of seeds whose faults are aimed. What works through many points hardly comes to the last of them where faults
are strewn, and then on a try that is spared; there few points, drawn by name, are struck when they are first passed."""
_AIM = 0.03
"""The share of points at which an aimed fault of a kind happens."""
_SLOW = (0.0, 0.0, 0.05, 0.2)
"""The share of statements that take some time, in which others run. It is no fault."""
_OUTAGES = (timedelta(0),) * 5 + (timedelta(hours=100), timedelta(minutes=40), timedelta(hours=75))
"""How long receivers are down: longer than the whole schedule of a webhook, briefly, or until its last attempt."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one run: the `point`-th point of `invocation`."""

    kind: str
    invocation: str
    point: int


class Faults:
    """The faults of one run. `fired` are those that happened, `passed` and `struck` count by failpoint."""

    def __init__(self, seed: int, suppressed: Collection[Fault] = (), frequent: Collection[str] = ()) -> None:
        """Without those `suppressed`; the kinds that are `frequent` happen in every seed, and often."""
        self._seed = seed
        self.healed = False
        self._suppressed = frozenset(suppressed)
        draw = random.Random(f"{seed}/faults")
        self.rates = {kind: draw.choice(_RATES) for kind in KINDS} | dict.fromkeys(frequent, _FREQUENT)
        self.receiver_outage = draw.choice(_OUTAGES)
        self.outages = {name: self._outage(draw) for name in SERVICES if draw.random() < 0.4}
        self.slow = draw.choice(_SLOW)
        self._aimed = draw.random() < _AIMED and not frequent
        if self._aimed:
            self.outages = {}
        self.fired: list[Fault] = []
        self.passed: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()

    @classmethod
    def none(cls) -> "Faults":
        """A run without faults."""
        faults = cls(0)
        faults.healed, faults.outages, faults.receiver_outage = True, {}, timedelta(0)
        return faults

    def draw(self, *of: object) -> float:
        """A number in [0, 1) that depends on the seed and `of`, and on nothing else."""
        return zlib.crc32("/".join(map(str, (self._seed, *of))).encode()) / 2**32

    def spares(self, tries: int) -> bool:
        """Whether nothing happens to such a try of a piece of work. Aimed faults need no bound: each happens once."""
        return tries > PERSISTENCE and not self._aimed

    def strikes(self, kind: str, invocation: str, point: int, failpoint: str, *, weight: float = 1.0) -> bool:
        """Whether a fault of this kind happens here."""
        if self.healed:
            return False
        if self._aimed:
            struck = self.passed[failpoint] == 1 and self.draw(failpoint, kind) < _AIM
        else:
            rate = self.rates[kind] * weight
            struck = rate > 0 and self.draw(invocation, point, kind) < rate
        return struck and self.record(Fault(kind, invocation, point), failpoint)

    def record(self, fault: Fault, failpoint: str) -> bool:
        """Count a fault as happened; False if it is one to leave out."""
        if fault in self._suppressed:
            return False
        self.fired.append(fault)
        self.struck[failpoint] += 1
        return True

    def note(self, kind: str, invocation: str, point: int, failpoint: str) -> None:
        """Count what a longer outage did here."""
        self.fired.append(Fault(kind, invocation, point))
        self.struck[failpoint] += 1

    @staticmethod
    def _outage(draw: random.Random) -> tuple[timedelta, timedelta]:
        start = timedelta(seconds=draw.uniform(0, 90))
        return start, start + timedelta(seconds=draw.uniform(5, 60))
