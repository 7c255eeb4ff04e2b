"""What the tasks of a run have given, for whatever asks for it again."""

from __future__ import annotations

from headrace.run.machine.task import Task
from headrace.spec.artifact import Ref, blobs, generations


class Outputs:
    """Outputs that a run holds, beside those in its tasks.

    `kept` are outputs by name and key of tasks that have succeeded in this run, but may be asked for anew; `made` are
    all its outputs by key. `foreign` are the digests of what other runs made, to be checked at first read; `damaged`
    are the generations in the store that turned out to be so.
    """

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Ref] = {}
        self.made: dict[str, Ref] = {}
        self.foreign: set[str] = set()
        self.damaged: set[str] = set()

    def reused(self, key: str, out: Ref, *, of_other_run: bool) -> None:
        """Note what a task was given instead of running."""
        if of_other_run:
            self.foreign.update(ref.digest for ref in blobs(out))
        self.made.setdefault(key, out)

    def is_damaged(self, task: Task) -> bool:
        """Whether a task's output can't be read, as some attempt has found."""
        return bool(self.damaged) and task.out is not None and not self.damaged.isdisjoint(generations(task.out))

    def keep(self, task: Task) -> None:
        """Keep what a task has given, if it can be read: under the same name and key it never runs again."""
        if task.good and task.key and task.out is not None and not self.is_damaged(task):
            self.kept[task.name, task.key] = task.out

    def forget_damaged(self, task: Task) -> None:
        """Give nobody what a task has given, if it can't be read."""
        if task.key and self.is_damaged(task):
            self.made.pop(task.key, None)
            for at in [at for at, out in self.kept.items() if at[0] == task.name and out == task.out]:
                del self.kept[at]
