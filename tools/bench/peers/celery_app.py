"""The peer of the webhook figure: a Celery task for each message, Redis, and one pooled httpx client.

`celery -A tools.bench.peers.celery_app worker`. It signs by Standard Webhooks with the very function that ours signs with,
and raises unless the answer is 2xx, as one does who leaves retries to Celery. It does less than ours: no database, no
record of the attempt, no lease, no breaker, no look at the address, no decryption of the secret, which comes with the
task. Tasks are acknowledged before they run, Celery's default and the faster way. The environment gives `PEER_BROKER`.
"""

import os
from datetime import UTC, datetime

import httpx
from celery import Celery

from functions.webhook_delivery import signatures

QUEUE = "webhooks"
PREFETCH = 64
"""Messages taken ahead: what Celery's default of 4 costs for tasks as short as these."""

app = Celery("peer", broker=os.environ["PEER_BROKER"])
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    worker_prefetch_multiplier=PREFETCH,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)
client = httpx.Client(timeout=httpx.Timeout(15.0, connect=5.0), trust_env=False)


@app.task(name="deliver")
def deliver(message_id: str, url: str, secret: str, body: str) -> None:
    content = body.encode()
    signed = signatures.headers([secret], message_id, datetime.now(UTC), content)
    client.post(url, content=content, headers={"Content-Type": "application/json", **signed}).raise_for_status()
