"""Messages are found by what is known of them, by way of an index."""

from datetime import timedelta
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.webhook_delivery import message_store
from functions.webhook_delivery.schemas import MessageQuery
from kapas.http.identity import Identity
from kapas.platform.db import Session
from tests.integration.webhook_delivery.system import START, System

_HISTORY = """INSERT INTO webhook_messages
    (id, endpoint_id, partner_id, event_id, event_type, payload, status, attempt_count, created_at)
  SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
    CASE WHEN n % 10 = 0 THEN :endpoint_id::uuid ELSE :other::uuid END, :partner_id::uuid, gen_random_uuid(),
    'trade.matched.v1', '{}',
    CASE WHEN n % 1000 = 0 THEN 'exhausted' ELSE 'delivered' END, 1, at
  FROM generate_series(1, 20000) AS n, LATERAL (SELECT :start::timestamptz + n * interval '1 minute') AS t (at)"""


class Watched:
    """A session that explains what is asked."""

    def __init__(self, db: Session) -> None:
        self.db, self.plan = db, ""

    def run(self, sql: str, **parameters: object) -> list[list[object]]:
        self.plan = "\n".join(row[0] for row in self.db.run(f"EXPLAIN {sql}", **parameters))
        return self.db.run(sql, **parameters)


@pytest.mark.parametrize(
    ("query", "found", "index"),
    [
        ({}, 20, "Index"),
        ({"endpoint_id": None}, 20, "Index"),
        ({"endpoint_id": None, "status": "exhausted"}, 20, "webhook_messages_failed"),
        ({"status": "exhausted"}, 20, "webhook_messages_failed"),
        ({"status": "discarded"}, 0, "webhook_messages_failed"),
        ({"status": "delivered"}, 20, "Index"),
        ({"since": START + timedelta(minutes=19_945)}, 6, "Index"),
        ({"until": START + timedelta(minutes=100)}, 9, "Index"),
        (
            {"since": START + timedelta(days=1), "until": START + timedelta(days=2), "status": "exhausted"},
            1,
            "webhook_",
        ),
    ],
)
def test_a_page_is_read_by_an_index(
    system: System, caller: Identity, admin: Connection, query: dict[str, object], found: int, index: str
) -> None:
    endpoint_id: UUID = system.create(caller).id
    other = system.create(caller).id
    admin.run(_HISTORY, endpoint_id=endpoint_id, other=other, partner_id=caller.partner_id, start=START)
    admin.run("ANALYZE webhook_messages")
    with system.database.session(caller.partner_id) as db:
        watched = Watched(db)
        query = {name: value for name, value in {"endpoint_id": endpoint_id, **query}.items() if value is not None}
        assert caller.partner_id is not None
        page = message_store.page(watched, caller.partner_id, MessageQuery.model_validate(query), 20)
    assert len(page) == found
    assert [message.id for message in page] == sorted((message.id for message in page), reverse=True)
    assert index in watched.plan
    assert "Seq Scan on webhook_messages" not in watched.plan
