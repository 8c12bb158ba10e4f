"""Waking the outbox relay after a commit, so that events leave within milliseconds.

The relay is the one publisher; a request only tells it that there is something. If that fails, the minute sweep finds it.
"""

import http.client
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from kapas.platform import log
from kapas.platform.gcp.metadata import MetadataTokens
from kapas.platform.settings import RelaySettings

SEND_BOUND = 0.05
"""Seconds a request waits for the wake to be sent. After the response the instance's CPU may be taken away."""
PAUSE = 0.01
"""Seconds between the answer to a wake and the next one, while requests keep coming: more would only cost both sides."""
ANSWER_BOUND = 30.0
"""Seconds until a wake is given up; the relay answers when the outbox is empty."""


Watch = Callable[[int], None]
"""Called with 1 when a wake is requested and with -1 when it has been answered or given up."""

_process: list[Watch] = [lambda _: None]


def watch(report: Watch) -> Watch:
    """Report the wakes of every waker made from now on; returns what they were reported to before.

    The local cloud counts them: without this, nobody outside a function knows that it is about to wake the relay.
    """
    before, _process[0] = _process[0], report
    return before


def waker(settings: RelaySettings) -> Callable[[], None]:
    """How this instance wakes the relay; does nothing where no relay is set."""
    if not settings.relay_url:
        return lambda: None
    tokens = MetadataTokens(settings.metadata_url)
    return Waker(settings.relay_url, lambda: tokens.id_token(settings.relay_url))


class Waker:
    """POSTs to the relay over one kept connection, one wake at a time: those asked for meanwhile become one more."""

    def __init__(self, url: str, token: Callable[[], str]) -> None:
        """`token` gives the OIDC token of this function for the relay's address."""
        self._url = urlsplit(url)
        self._token = token
        self._state = threading.Condition()
        self._wanted = False
        self._busy = False
        self._unanswered = False
        self._report = _process[0]
        self._thread: threading.Thread | None = None
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self) -> None:
        """Have the relay look into the outbox; returns when the wake is sent, or one is under way, or it takes too long."""
        with self._state:
            self._wanted = True
            if not self._unanswered:
                self._unanswered = True
                self._report(1)
            if self._thread is None:  # made here and not at import: a thread does not survive gunicorn's fork
                self._thread = threading.Thread(target=self._work, name="relay-waker", daemon=True)
                self._thread.start()
            if self._busy:
                return
            self._state.notify_all()
            self._state.wait_for(lambda: not self._wanted, SEND_BOUND)

    def _work(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._wanted)
                self._busy = True
            try:
                self._wake()
            except Exception as error:  # harmless: the minute sweep publishes what this did not
                log.warning("relay_wake_failed", exception=type(error).__name__)
                self._disconnect()
            with self._state:
                if not self._wanted:
                    self._unanswered = False
                    self._report(-1)
                self._state.wait_for(lambda: False, PAUSE)
                self._busy = False

    def _wake(self) -> None:
        reused = self._connection is not None
        try:
            self._send().read()
        except (http.client.HTTPException, OSError):
            if not reused:
                raise
            self._disconnect()  # the relay closed the kept connection meanwhile
            self._send().read()

    def _send(self) -> http.client.HTTPResponse:
        try:
            headers = {"Authorization": f"Bearer {self._token()}", "Content-Length": "0"}
            connection = self._connect()
            connection.request("POST", self._url.path or "/", headers=headers)
        finally:
            with self._state:
                self._wanted = False
                self._state.notify_all()
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            secure = self._url.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            self._connection = kind(self._url.netloc, timeout=ANSWER_BOUND)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
