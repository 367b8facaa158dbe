"""Facts about tasks."""

from domain.events.base import Event


class TaskDied(Event, frozen=True, kw_only=True):
    """A task used up its attempts or killed its worker three times. Appended by SQL (`append_task_died`).

    The subject is that of the task's own event.
    """

    type = "task.died"
    examples = {1: {"task": 17, "actor": "generations.render", "attempts": 0, "deaths": 3}}
    public = False

    task: int
    actor: str
    attempts: int
    deaths: int
