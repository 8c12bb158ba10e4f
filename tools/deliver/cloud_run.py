"""Cloud Run's revisions and what Cloud Monitoring counted of them, over their REST APIs.

A 2nd gen function is a Cloud Run service of the same name, whose traffic is set there
(cloud.google.com/run/docs/rollouts-rollbacks-traffic-migration).
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlencode

import google.auth
from google.auth.transport.requests import AuthorizedSession

from tools.deliver.canary import Change, Figures

RUN = "https://run.googleapis.com/v2"
MONITORING = "https://monitoring.googleapis.com/v3"
SETTLE_ATTEMPTS = 60


class Calls(Protocol):
    """A call of a REST API with JSON. Raises an error of its own for what is not a 2xx."""

    def __call__(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]: ...


def as_deployer() -> Calls:
    """Calls as whoever runs this: in a build its service account, on a desk who logged in with gcloud."""
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    session = AuthorizedSession(credentials)

    def call(method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = session.request(method, url, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    return call


class CloudRun:
    """The services of one project in one region. `pause` lies between two looks at a change that takes its time."""

    def __init__(
        self, call: Calls, project: str, region: str, pause: Callable[[], None] = lambda: time.sleep(2)
    ) -> None:
        self._call = call
        self._project = project
        self._services = f"{RUN}/projects/{project}/locations/{region}/services"
        self._pause = pause

    def serving(self) -> dict[str, str]:
        """Service -> the revision that takes most of its calls."""
        found: dict[str, str] = {}
        query: dict[str, str] = {}
        while True:
            page = self._call("GET", f"{self._services}?{urlencode(query)}" if query else self._services)
            for service in page.get("services", []):
                most = max(service.get("trafficStatuses", []), key=lambda t: t.get("percent", 0), default=None)
                if most is not None:
                    newest = service["latestReadyRevision"].rpartition("/")[2]
                    found[service["name"].rpartition("/")[2]] = most.get("revision") or newest
            if not page.get("nextPageToken"):
                return found
            query = {"pageToken": page["nextPageToken"]}

    def newest(self, service: str) -> str:
        """The newest revision of a service that is ready."""
        return self._call("GET", f"{self._services}/{service}")["latestReadyRevision"].rpartition("/")[2]

    def split(self, service: str, shares: Mapping[str, int]) -> None:
        """Give revisions these percents, and wait until it is so. Raises TimeoutError."""
        kind = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
        traffic = [{"type": kind, "revision": revision, "percent": share} for revision, share in shares.items()]
        url = f"{self._services}/{service}"
        self._call("PATCH", f"{url}?updateMask=traffic", {"name": url.removeprefix(f"{RUN}/"), "traffic": traffic})
        for _ in range(SETTLE_ATTEMPTS):
            state = self._call("GET", url)
            now = {t.get("revision"): t.get("percent", 0) for t in state.get("trafficStatuses", [])}
            if not state.get("reconciling") and now == dict(shares):
                return
            self._pause()
        raise TimeoutError(f"the traffic of {service} is not {dict(shares)}")

    def figures(
        self, change: Change, since: datetime, now: datetime, *, unavailable_is_failure: bool
    ) -> tuple[Figures, Figures]:
        """What the revision before and the new one answered. A 503 to an event asks for it to come again: no failure."""
        counts = self._series(change.service, since, now, "request_count", "ALIGN_DELTA", "REDUCE_SUM", "response_code")
        slow = self._series(change.service, since, now, "request_latencies", "ALIGN_PERCENTILE_95", "REDUCE_MAX", None)

        def of(revision: str) -> Figures:
            mine = {code: int(value) for (name, code), value in counts.items() if name == revision}
            failed = {
                code: n
                for code, n in mine.items()
                if code.startswith("5") and (unavailable_is_failure or code != "503")
            }
            return Figures(sum(mine.values()), sum(failed.values()), slow.get((revision, ""), 0.0))

        return of(change.before), of(change.new)

    def _series(
        self, service: str, since: datetime, now: datetime, metric: str, aligner: str, reducer: str, label: str | None
    ) -> dict[tuple[str, str], float]:
        """(revision, value of the label or "") -> one number for the stretch of time."""
        groups = ["resource.label.revision_name", *([f"metric.label.{label}"] if label else [])]
        query = [
            ("filter", f'metric.type="run.googleapis.com/{metric}" AND resource.label.service_name="{service}"'),
            ("interval.startTime", _timestamp(since)),
            ("interval.endTime", _timestamp(now)),
            ("aggregation.alignmentPeriod", f"{max(60, int((now - since).total_seconds()))}s"),
            ("aggregation.perSeriesAligner", aligner),
            ("aggregation.crossSeriesReducer", reducer),
            *(("aggregation.groupByFields", group) for group in groups),
        ]
        page = self._call("GET", f"{MONITORING}/projects/{self._project}/timeSeries?{urlencode(query)}")
        return {
            (s["resource"]["labels"]["revision_name"], s["metric"].get("labels", {}).get(label or "", "")): _newest(s)
            for s in page.get("timeSeries", [])
        }


def _newest(series: dict[str, Any]) -> float:
    value = series["points"][0]["value"]
    return float(value.get("doubleValue", value.get("int64Value", 0)))


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
