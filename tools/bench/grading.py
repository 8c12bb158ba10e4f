"""Figure i: grading a photograph, against decoding it and running the same graph on it.

Both in this process, image by image in turns, one thread each. The peer finds no frame, calibrates no colour and checks
nothing: it is what the rest costs.
"""

import time
from collections.abc import Callable

from functions.grading_requests.image import vision
from tools.bench import quiet
from tools.bench.peers.litert import Bare
from tools.bench.report import Figure
from tools.bench.statistics import Sample, ratios
from tools.synthetic_camera import photograph

IMAGES = 10
"""A side and round: the same bytes each time, for nothing of a reading is kept."""
PEER = "Pillow decode + LiteRT, same graph"


def measure(rounds: int = 5) -> list[Figure]:
    """Images a second over the peer's. Reported: nothing is demanded of it."""
    data = photograph().data
    sides: tuple[Callable[[bytes], object], ...] = (vision.read, Bare().run)
    seconds: tuple[list[float], ...] = ([], [])
    for side in sides:
        side(data)
    usage = quiet.Usage()
    with quiet.watch(usage):
        for _ in range(rounds):
            spent = [0.0, 0.0]
            for _ in range(IMAGES):
                for n, side in enumerate(sides):
                    started = time.perf_counter()
                    side(data)
                    spent[n] += time.perf_counter() - started
            for n in (0, 1):
                seconds[n].append(spent[n])
    ours, peer = (Sample(tuple(IMAGES / spent for spent in one)) for one in seconds)
    return [
        Figure(
            name="i grading",
            what="photograph to figures, throughput",
            unit="x",
            measured=ratios(ours, peer),
            bound=None,
            peer=PEER,
            absolute={
                "ours, ms/image": Sample(tuple(spent / IMAGES * 1000 for spent in seconds[0])),
                "peer, ms/image": Sample(tuple(spent / IMAGES * 1000 for spent in seconds[1])),
            },
            notes=(f"a synthetic photograph of {len(data) // 1024} kB",),
            others=usage.cores,
        )
    ]
