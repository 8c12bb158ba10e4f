"""Every grading ended as its image and its consents say, was told of, and counted once to its day."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.simulation.clients.grading_requests import FREE
from tests.simulation.files import UNREADABLE
from tests.simulation.kernel import YESTERDAY

if TYPE_CHECKING:
    from tests.simulation.world import World

_LAST = {
    "awaiting_image": "grading.requested.v1",
    "provisional": "grading.requested.v1",
    "completed": "grading.completed.v1",
    "refused": "grading.refused.v1",
}


def broken(world: "World") -> Iterator[str]:
    run = world.server.admin.run
    event_types: dict[Any, list[str]] = {}
    for subject, event_type in run(
        "SELECT subject, type FROM outbox WHERE topic = 'quality-events' ORDER BY 1, sequence"
    ):
        event_types.setdefault(subject, []).append(event_type)
    for grading_id, partner_id, version, status, image, refusal in run(
        """SELECT id, partner_id, version, status, image, refusal FROM gradings WHERE created_at >= :start
           ORDER BY id""",
        start=YESTERDAY,
    ):
        events = event_types.get(grading_id, [])
        if len(events) != version or events[-1] != _LAST.get(status):
            yield f"a grading that is {status} at {version} was told of as {events}"
        if image is not None and status in ("completed", "refused"):
            yield from _of_image(world, partner_id, grading_id, None if refusal is None else refusal["code"])
    yield from _counted(world, run)


def _of_image(world: "World", partner_id: Any, grading_id: Any, code: str | None) -> Iterator[str]:
    data = world.uploads.bucket.stored.get(f"gradings/{partner_id}/{grading_id}")
    expected = None if data is None or not data.startswith(UNREADABLE) else "card_not_found"
    if code == "consent_missing":
        ended = world.server.admin.run(
            """SELECT FROM consent_entries WHERE subject_id = :of AND purpose = 'ai_processing' AND state <> 'granted'
               UNION ALL SELECT FROM restrictions WHERE subject_id = :of LIMIT 1""",
            of=partner_id,
        )
        if not ended:
            yield "an image was refused for a consent that was never ended"
    elif code != expected:
        yield f"an image was refused as {code} and should be as {expected}"


def _counted(world: "World", run: Any) -> Iterator[str]:
    """Each grading is in the ledger of usage once, and the day's counter is what the ledger says."""
    uncounted = run(
        """SELECT g.id FROM gradings g WHERE g.created_at >= :start
           AND NOT EXISTS (SELECT FROM grading_usage u WHERE u.grading_id = g.id) ORDER BY 1""",
        start=YESTERDAY,
    )
    if uncounted:
        yield f"{len(uncounted)} gradings are not counted"
    for partner_id, used, counted, free in run(
        """SELECT partner_id, (SELECT sum(used)::bigint FROM grading_budgets b WHERE b.partner_id = u.partner_id),
             count(*), count(*) FILTER (WHERE tier = 'free')
           FROM grading_usage u WHERE used_at >= :start GROUP BY partner_id ORDER BY 1""",
        start=YESTERDAY,
    ):
        if partner_id not in world.erased and used != counted:
            yield f"the day's counter says {used}, and {counted} were graded"
        if free > FREE:
            yield f"{free} were graded for free"
