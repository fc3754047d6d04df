from __future__ import annotations

from tasks.task import Expert


class UntrainedError(RuntimeError):
    """A task's expert is a specialist that is not trained yet."""


def refuse_untrained(task_id: str) -> Expert:
    """Say how the specialist of a task is made; the place of an expert as long as there is none.

    Raises:
        UntrainedError: Always.
    """
    raise UntrainedError(
        f"the expert of task {task_id!r} is a specialist, which is not trained; train it with:\n"
        f"  db1 make specialists {task_id}"
    )
