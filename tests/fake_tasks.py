"""Cloud Tasks, as far as a test of one capability needs it."""

from kapas.errors import Unavailable
from kapas.platform.ports import Task


class Queue:
    """A `kapas.platform.ports.Tasks`: a name is taken once, and stays taken."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.names: set[str] = set()
        self.down = False

    def enqueue(self, task: Task) -> bool:
        if self.down:
            raise Unavailable
        if task.name in self.names:
            return False
        self.names.add(task.name)
        self.tasks.append(task)
        return True

    def take(self) -> Task:
        """The one task that is queued."""
        [task] = self.tasks
        self.tasks = []
        return task
