"""What leaves a function and how it stays exactly once: events, outbox, inbox, idempotency keys, tasks, the relay's wake."""
