"""The outputs and checkpoints of a run's tasks, kept for later use in the same run."""

from __future__ import annotations

from msgspec import Struct

from headrace.run.events import Checkpointed
from headrace.run.machine.task import Task
from headrace.spec.artifact import Ref, blobs, generations


class Checkpoints(Struct, frozen=True):
    """The last checkpoint that a task kept under one key, and the one before it, or None if there was none.

    `number` counts the checkpoints of the attempt that kept the last one. It is 0 if that is not known, as in old runs.
    """

    last: Ref
    before: Ref | None
    attempt: int
    number: int


class Outputs:
    """The outputs that a run holds, in addition to those in its tasks.

    `kept` are outputs of tasks that succeeded in this run, by name and key: if such a task is reset or traced again, it
    gets this output. `made` are all outputs of the run by key. `makers` are the other runs that made some of these
    outputs, by key. `foreign` are the digests of blobs that other runs made,
    to be checked when first read. `damaged` are the generations in the store that turned out to be damaged.
    `_checkpoints` has the last checkpoints by the name and key of their task: an attempt begins at the last one of its
    key, even if the run got new code meanwhile.
    """

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Ref] = {}
        self.made: dict[str, Ref] = {}
        self.makers: dict[str, str] = {}
        self.foreign: set[str] = set()
        self.damaged: set[str] = set()
        self._checkpoints: dict[tuple[str, str], Checkpoints] = {}

    def reused(self, key: str, out: Ref, run: str) -> None:
        """Note the output that a task reuses instead of running, and the run that made it; an empty `run` means this
        run."""
        if run:
            self.makers[key] = run
            self.foreign.update(ref.digest for ref in blobs(out))
        self.made.setdefault(key, out)

    def succeeded(self, key: str, out: Ref, *, reusable: bool) -> None:
        """Note the output that a task of this run made."""
        self.makers.pop(key, None)
        if reusable:
            self.made.setdefault(key, out)

    def checkpoints(self, task: str, key: str | None) -> Checkpoints | None:
        """Return the last checkpoints that a task kept under a key, or None if it kept none. A checkpoint that an
        attempt could not read is left out, so the next attempt doesn't fail in the same way."""
        found = self._checkpoints.get((task, key or ""))
        if found is None or not self._is_damaged(found.last):
            return found
        if found.before is None or self._is_damaged(found.before):
            return None
        return Checkpoints(found.before, None, found.attempt, 0)

    def keep_checkpoint(self, task: Task, event: Checkpointed) -> None:
        """Note a checkpoint of a task's running attempt. The next attempt under the same key begins there."""
        if not self.knows(task, event):
            before = self.checkpoints(task.name, task.key)
            kept = Checkpoints(event.out, None if before is None else before.last, event.attempt, event.number)
            self._checkpoints[task.name, task.key or ""] = kept

    def knows(self, task: Task, event: Checkpointed) -> bool:
        """Return whether this checkpoint was noted before.
        A checkpoint that was stored but not acknowledged is reported again."""
        last = self._checkpoints.get((task.name, task.key or ""))
        return last is not None and event.number > 0 and (event.attempt, event.number) <= (last.attempt, last.number)

    def is_damaged(self, task: Task) -> bool:
        """Return whether some attempt found that a task's output can't be read."""
        return task.out is not None and self._is_damaged(task.out)

    def keep(self, task: Task) -> None:
        """Keep a task's output if it can be read: a later task of the same name and key gets it and doesn't run."""
        if task.good and task.key and task.out is not None and not self.is_damaged(task):
            self.kept[task.name, task.key] = task.out

    def forget_damaged(self, task: Task) -> None:
        """Remove a task's output if it can't be read, so that no task reuses it."""
        if task.key and self.is_damaged(task):
            self.made.pop(task.key, None)
            self.makers.pop(task.key, None)
            for at in [at for at, out in self.kept.items() if at[0] == task.name and out == task.out]:
                del self.kept[at]

    def _is_damaged(self, out: Ref) -> bool:
        return bool(self.damaged) and not self.damaged.isdisjoint(generations(out))
