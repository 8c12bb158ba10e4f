"""Deadlines that have passed: whoever was asked for something and has not submitted it in time is told once."""

from dataclasses import replace

from kapas.errors import VersionConflict
from kapas.messaging import outbox
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database
from kapas.values import clock

from . import service, store
from .event_models import PartnerRequirementsOverdue

LIMIT = 200


def tell(database: Database) -> int:
    """Say of each deadline that has passed that it has; of how many. Done twice or killed between, each is told of once."""
    now, told = clock.now(), 0
    with database.session(PLATFORM) as db:
        for account in store.untold(db, now, LIMIT):
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
                outbox.commit(db, store.set_told(after, service.event(after, data)))
            except VersionConflict:  # it was changed, submitted or told of meanwhile: the next run sees what is left
                continue
            told += 1
    if told:
        log.info("partner_deadlines_passed", partners=told)
    return told
