"""The way out of the core: HTTP requests on a few threads, over connections that are kept alive."""

import logging
import queue
import threading

import urllib3

from local_cloud.core import Answer, Done, Outgoing


class HttpTransport:
    """A `core.Send`: makes each request once, without redirects or retries, and calls back from one of its threads.

    A request that found no answer (refused, reset, longer than its timeout) is answered with status 0. The threads are
    daemons, so that a receiver which never answers cannot keep the process alive.
    """

    def __init__(self, threads: int = 32) -> None:
        # `retries=False` also means that a redirect is the answer
        self._pool = urllib3.PoolManager(num_pools=threads, maxsize=threads, retries=False)
        self._waiting: queue.SimpleQueue[tuple[Outgoing, Done] | None] = queue.SimpleQueue()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f"send-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def __call__(self, request: Outgoing, done: Done) -> None:
        self._waiting.put((request, done))

    def close(self) -> None:
        """Stop sending. Whatever is still under way gets no answer, as if the process had been killed."""
        self._closed = True
        for _ in self._threads:
            self._waiting.put(None)
        self._pool.clear()

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None and not self._closed:
            request, done = job
            answer = self._fetch(request)
            if self._closed:
                return
            try:
                done(answer)
            except Exception:
                if not self._closed:  # else the services are gone, as if the process had been killed
                    logging.exception("a local service failed on the answer to %s", request.name)

    def _fetch(self, request: Outgoing) -> Answer:
        try:
            response = self._pool.request(
                request.method,
                request.url,
                body=request.body or None,
                headers=dict(request.headers),
                timeout=urllib3.Timeout(total=request.timeout),
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return Answer(0)
        return Answer(response.status, response.data, dict(response.headers))
