"""One endpoint's share of an instance's slots."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from functions.webhook_delivery.slots import Slots
from kapas.values import ids
from tests.times import PATIENCE

ONE, OTHER = ids.uuid7(), ids.uuid7()


@pytest.mark.parametrize(("threads", "share"), [(16, 4), (19, 4), (4, 1), (1, 1)])
def test_an_endpoint_has_a_quarter_and_at_least_one(threads: int, share: int) -> None:
    slots = Slots(threads)
    with ExitStack() as held:
        assert [held.enter_context(slots.take(ONE)) for _ in range(share + 2)] == [True] * share + [False] * 2
        assert held.enter_context(slots.take(OTHER))
    with slots.take(ONE) as free:
        assert free


def test_a_slot_is_given_back_whatever_happens_within() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.take(ONE):
        raise ZeroDivisionError
    with slots.take(ONE) as free:
        assert free


def test_who_had_none_gives_none_back() -> None:
    slots = Slots(1)
    with slots.take(ONE):
        for _ in range(2):
            with slots.take(ONE) as free:
                assert not free


def test_threads_share_them() -> None:
    slots, together = Slots(16), threading.Barrier(8, timeout=PATIENCE)

    def take(_: int) -> bool:
        with slots.take(ONE) as free:
            together.wait()
            return free

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(8))) == 4
