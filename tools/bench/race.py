"""Two servers, ours and the peer's, that are sent the same kind of requests in interleaved rounds."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tools.bench import quiet
from tools.bench.load import LoadGenerator, Outcome
from tools.bench.served import Server
from tools.bench.statistics import Sample, percentile, ratios

CREATED = 201


@dataclass(frozen=True, slots=True)
class _Rounds:
    """One side's."""

    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    cpu: list[float] = field(default_factory=list[float])
    """Milliseconds a request, of the server with its workers."""

    @property
    def rates(self) -> Sample:
        """Requests a second."""
        return Sample(tuple(outcome.rate for outcome in self.outcomes))

    def absolute(self, whose: str) -> dict[str, Sample]:
        return {
            f"{whose}, requests/s": self.rates,
            f"{whose}, server CPU ms/request": Sample(tuple(self.cpu)),
            f"{whose}, p99 ms": Sample(tuple(percentile(one.latencies, 99) * 1000 for one in self.outcomes)),
        }


@dataclass(frozen=True, slots=True)
class Race:
    """What came of it."""

    ours: _Rounds
    peer: _Rounds
    others: float
    """Cores that other processes used meanwhile."""

    @property
    def throughput(self) -> Sample:
        """Ours over the peer's, round by round."""
        return ratios(self.ours.rates, self.peer.rates)

    @property
    def absolute(self) -> dict[str, Sample]:
        """Both sides' own values, by a name with their unit."""
        return self.ours.absolute("ours") | self.peer.absolute("peer")


def run(
    generator: LoadGenerator,
    ours: Server,
    peer: Server,
    requests: Callable[[int], list[bytes]],
    *,
    connections: int,
    count: int,
    rounds: int,
) -> Race:
    """`count` requests a side and round, which `requests` makes before the clock starts; each must be answered 201."""
    usage = quiet.Usage()
    found = {ours: _Rounds(), peer: _Rounds()}
    for n in range(rounds):
        # Whoever comes second meets a larger table: they take turns.
        for side in (ours, peer) if n % 2 == 0 else (peer, ours):
            batch = requests(count)
            before = quiet.tree_cpu(side.pid)
            with quiet.watch(usage):
                outcome = generator.run(side.port, batch, connections).require(CREATED)
            found[side].cpu.append((quiet.tree_cpu(side.pid) - before) / count * 1000)
            found[side].outcomes.append(outcome)
    return Race(found[ours], found[peer], usage.cores)
