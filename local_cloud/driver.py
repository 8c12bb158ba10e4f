"""What drives the core: real time in the background, and moving time on demand.

An advance visits every instant at which something falls due, in order, and lets the requests of one instant be answered
before it goes on to the next. So three days of retries play as they would, in moments.
"""

import logging
import threading
import time
from datetime import datetime, timedelta

from local_cloud.core import Advance, Core

TICKS = 20
"""How many ticks of one schedule a long advance plays, about: every minute of eight years would be four million."""
WHOLE = timedelta(hours=3)
"""Up to here an advance plays every tick."""

SETTLE_SECONDS = 60.0
"""Real seconds until requests in flight are given up: far more than any takes, even on a busy machine."""

_LONGEST_WAIT = 1.0


class Driver:
    """Steps the core as real time passes (`start`), and moves its clock (`advance`), with or without the former."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Run what falls due, on a thread, from now on."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="core", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self._stopping = True
        self._core.wake()
        if self._thread:
            self._thread.join()

    def advance(self, delta: timedelta, settle_timeout: float = SETTLE_SECONDS) -> bool:
        """Move the clock to now + `delta`, running everything that falls due on the way at its own instant.

        After each instant this waits, at most `settle_timeout` real seconds, until requests in flight are answered.
        False if the last of them still were not. Beyond `WHOLE`, schedules tick about `TICKS` times each. Not to be called
        under the core's lock. Raises ValueError for a negative `delta`.
        """
        if delta < timedelta(0):
            raise ValueError("time only moves forward: advance by a positive duration")
        with self._turn:
            target = self._core.now() + delta
            self._core.advance = Advance(delta / TICKS if delta > WHOLE else timedelta(0), target)
            try:
                self.settle(settle_timeout)
                while (due := self._core.next_due()) and due <= target:
                    self._move_to(due)
                    self.settle(settle_timeout)
                self._move_to(target)
            finally:
                self._core.advance = None
            return self.settle(settle_timeout)

    def settle(self, timeout: float = SETTLE_SECONDS) -> bool:
        """Run all that is due, and wait at most `timeout` real seconds for what is in flight; whether nothing is left."""
        deadline = time.monotonic() + timeout
        while True:
            while self._core.step():
                pass
            with self._core.changed:
                if self._core.idle:
                    return True
                if self._core.in_flight and not self._core.due:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    self._core.changed.wait(left)

    def _move_to(self, at: datetime) -> None:
        with self._core.lock:
            ahead = at - self._core.now()
            if ahead > timedelta(0):
                self._core.clock.advance(ahead)
            self._core.wake()

    def _run(self) -> None:
        while not self._stopping:
            try:
                with self._turn:
                    ran = self._core.step()
            except Exception:
                logging.exception("a local service failed on what was due")
                continue
            if not ran:
                self._wait()

    def _wait(self) -> None:
        with self._core.changed:
            due = self._core.next_due()
            wait = (due - self._core.now()).total_seconds() if due else _LONGEST_WAIT
            if wait > 0 and not self._stopping:
                self._core.changed.wait(min(wait, _LONGEST_WAIT))
