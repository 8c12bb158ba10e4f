"""Passed deadlines: a partner that has not submitted what is required in time is notified once."""

from dataclasses import replace

from kapas.errors import VersionConflict
from kapas.messaging import outbox
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database
from kapas.values import clock

from . import service, store
from .event_models import PartnerRequirementsOverdue

LIMIT = 200


def notify(database: Database) -> int:
    """Publish an event for each passed deadline; how many. Run twice or killed between, each has one event."""
    now, notified = clock.now(), 0
    with database.session(PLATFORM) as db:
        for account in store.overdue_unnotified(db, now, LIMIT):
            after = replace(account, version=account.version + 1, updated_at=now)
            data = PartnerRequirementsOverdue.model_validate(
                {
                    "partner_id": account.id,
                    "partner_type": account.type,
                    "status": account.status,
                    "due_at": account.due_at,
                }
            )
            try:
                outbox.commit(db, store.mark_notified(after, service.event(after, data)))
            except VersionConflict:  # changed, submitted or notified meanwhile: the next run finds what is left
                continue
            notified += 1
    if notified:
        log.info("partner_deadlines_passed", partners=notified)
    return notified
