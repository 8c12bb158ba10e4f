"""Transactions: optimistic. Each reads one snapshot; a commit fails if what it read has changed since.

This is what the service calls the OPTIMISTIC concurrency mode. A query is remembered too, so that a document which
would have been among its results is a conflict like one that was.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from google.api_core.exceptions import Aborted, InvalidArgument

from local_cloud.core import Core
from local_cloud.firestore.messages import Document, Message
from local_cloud.firestore.query import Plan
from local_cloud.firestore.store import Snapshot, Store

MAX_AGE = timedelta(seconds=270)
MAX_IDLE = timedelta(seconds=60)


@dataclass(slots=True)
class Transaction:
    id: bytes
    read_only: bool
    began: datetime
    used: datetime
    read_at: int | None = None
    """The time of its snapshot: that of its first read, unless a read-only one asked for another."""
    closed: bool = False
    names: set[str] = field(default_factory=set[str])
    plans: list[Plan] = field(default_factory=list[Plan])

    def expired(self, now: datetime) -> bool:
        return now - self.began > MAX_AGE or now - self.used > MAX_IDLE


class Transactions:
    """The transactions that were begun lately. Every method is called under the core's lock."""

    def __init__(self, core: Core, store: Store) -> None:
        self._core = core
        self._store = store
        self._by_id: dict[bytes, Transaction] = {}

    def begin(self, options: Message) -> Transaction:
        """Begin a transaction as `google.firestore.v1.TransactionOptions` says."""
        now = self._core.now()
        self._by_id = {id_: transaction for id_, transaction in self._by_id.items() if not transaction.expired(now)}
        transaction = Transaction(self._core.random.randbytes(16), options.HasField("read_only"), now, now)
        if options.read_only.HasField("read_time"):
            transaction.read_at = self._store.snapshot(options.read_only.read_time.ToMicroseconds()).time
        self._by_id[transaction.id] = transaction
        return transaction

    def use(self, id_: bytes) -> Transaction:
        """The open transaction `id_`. Raises InvalidArgument if it was closed, has expired, or never was."""
        transaction = self._by_id.get(id_)
        if transaction is None or transaction.closed or transaction.expired(self._core.now()):
            raise InvalidArgument("The referenced transaction has expired or is no longer valid.")
        transaction.used = self._core.now()
        return transaction

    def snapshot(self, transaction: Transaction) -> Snapshot:
        """What the transaction reads, for as long as it lives."""
        if transaction.read_at is None:
            transaction.read_at = self._store.read_time()
        if not self._store.reaches(transaction.read_at):
            raise Aborted("The transaction's snapshot is no longer available. Please retry.")
        return self._store.snapshot(transaction.read_at)

    def rollback(self, id_: bytes) -> None:
        """Close the transaction, also one that a failed commit has closed. Raises InvalidArgument if unknown."""
        transaction = self._by_id.get(id_)
        if transaction is None:
            raise InvalidArgument("The referenced transaction has expired or is no longer valid.")
        transaction.closed = True

    def close(self, id_: bytes, *, writes: bool) -> None:
        """Close the transaction at its commit, in which there are `writes` or none.

        Raises Aborted if it writes and something that it read has changed, InvalidArgument if it may only read.
        """
        transaction = self.use(id_)
        transaction.closed = True
        if not writes:
            return
        if transaction.read_only:
            raise InvalidArgument("Cannot modify entities in a read-only transaction.")
        if self._conflicts(transaction):
            raise Aborted("Too much contention on these documents. Please try again.")

    def _conflicts(self, transaction: Transaction) -> bool:
        if not (transaction.names or transaction.plans):
            return False
        then, now = self.snapshot(transaction), self._store.snapshot()
        changed = self._store.changed_since(then.time)
        return any(name in changed and then.get(name) is not now.get(name) for name in transaction.names) or any(
            _differ(plan, then, now) for plan in transaction.plans if any(map(plan.covers, changed))
        )


def _differ(plan: Plan, then: Snapshot, now: Snapshot) -> bool:
    before, after = plan.run(then), plan.run(now)
    return len(before) != len(after) or any(old is not new for old, new in zip(before, after, strict=True))


class Reader:
    """What one read request sees: the present, its `read_time`, or its transaction's snapshot.

    What it reads is noted in the transaction. Made and used under the core's lock.
    """

    def __init__(self, store: Store, transactions: Transactions, request: Message) -> None:
        self.begun = b""
        """The id of the transaction that this request began, else empty."""
        self._transaction: Transaction | None = None
        match request.WhichOneof("consistency_selector"):
            case "transaction":
                self._transaction = transactions.use(request.transaction)
            case "new_transaction":
                self._transaction = transactions.begin(request.new_transaction)
                self.begun = self._transaction.id
            case "read_time":
                self.snapshot = store.snapshot(request.read_time.ToMicroseconds())
            case _:
                self.snapshot = store.snapshot()
        if self._transaction is not None:
            self.snapshot = transactions.snapshot(self._transaction)

    def get(self, name: str) -> Document | None:
        """The document called `name`."""
        if self._transaction is not None:
            self._transaction.names.add(name)
        return self.snapshot.get(name)

    def note(self, plan: Plan) -> None:
        """Remember that the results of `plan` were read."""
        if self._transaction is not None:
            self._transaction.plans.append(plan)

    def run(self, plan: Plan) -> list[Document]:
        """The results of `plan`, in order, not yet projected."""
        self.note(plan)
        return plan.run(self.snapshot)
