"""The dialogue with the tracer: what the pipeline's body has asked for, and what it was told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec.structs import replace

from headrace.plan.resolve import Unmappable, follow
from headrace.run.events import Asked, Noted, Pointed
from headrace.run.machine.commands import Answer, Awaited
from headrace.run.machine.task import Task
from headrace.spec.intent import Advance, Intent, PointKind


class Dialogue:
    """What a run's body was told, so that it is told the same when it is traced again; and the value that it waits for.

    `notes` are the times (Unix seconds) and `pointed` the cursors and versions that this trace was told, by the number
    of the question. `_before` are the answers to earlier traces about the cursors in `_advanced`, which tasks of this
    run have advanced: by the cursor's name, in the order in which they were asked for.

    One value at most is asked for at a time: `question` until it is answered, `_answered` from then on, in case that
    the answer has to wait for transfers, those in `awaited`.
    """

    def __init__(self) -> None:
        self.notes: dict[int, float] = {}
        self.pointed: dict[int, Pointed] = {}
        self._advanced: set[str] = set()
        self._before: dict[str, list[Pointed]] = {}
        self.question: Asked | None = None
        self._answered: Asked | None = None
        self.awaited: set[str] = set()

    @property
    def asked_for(self) -> str | None:
        """The name of the task whose value the body waits for, or None."""
        return None if self.question is None else self.question.out.task

    def told(self, question: int, about: PointKind, name: str) -> Pointed | None:
        """Return what the body was told when it asked this before, by this trace, or None.

        Of a cursor that a task of this run has advanced, an earlier trace counts too: new code goes on with the rows
        that were read, and not from behind them.
        """
        if (found := self.pointed.get(question)) is not None:
            return found
        before = self._before.get(name, ()) if about == "cursor" else ()
        asked = len(self._asked_of(name)) if before else 0
        return replace(before[asked], question=question) if asked < len(before) else None

    def hear(self, event: Asked | Noted | Pointed) -> None:
        """Absorb what the body has asked, or was told."""
        match event:
            case Asked():
                self.question = event
            case Noted(question=question, now=now):
                self.notes[question] = now
            case Pointed(question=question):
                self.pointed[question] = event

    def advanced(self, intents: Iterable[Intent]) -> None:
        """Note which cursors a task of this run has advanced."""
        self._advanced.update(each.name for each in intents if isinstance(each, Advance))

    def forget_question(self) -> None:
        """The tracer starts anew, and will ask anew."""
        self.question = self._answered = None
        self.awaited.clear()

    def renew(self) -> None:
        """Other code is traced: of what was told, only the cursors that this run has advanced count on."""
        for name in self._advanced:
            asked = self._asked_of(name)
            self._before[name] = [*asked, *self._before.get(name, ())[len(asked) :]]
        self.notes.clear()
        self.pointed.clear()
        self.forget_question()

    def answer(self, tasks: Mapping[str, Task]) -> Answer | None:
        """Answer the open question, once its task has ended and no transfer is awaited."""
        asked = self.question
        if asked is None or self.awaited or not (task := tasks[asked.out.task]).ended:
            return None
        self.question, self._answered = None, asked
        if task.out is None or not task.good:
            return Answer(asked.question, error=f"`{task.name}` {task.phase}: {task.reason}")
        try:
            return Answer(asked.question, follow(task.out, asked.out.path))
        except Unmappable as problem:
            return Answer(asked.question, error=f"`{task.name}`: {problem}")

    def wait(self, event: Awaited, transfers: Collection[Task]) -> Answer | None:
        """Delay the answer that was just given until its transfers are done; return another one if a transfer
        failed."""
        asked = self._answered
        if asked is None or asked.question != event.question:
            return None
        failed = next((each for each in transfers if each.ended and not each.good), None)
        if failed is not None:
            return self._leave_unanswered(asked, failed)
        self.question = asked
        self.awaited = {each.name for each in transfers if not each.ended}
        return None

    def arrived(self, transfer: Task) -> Answer | None:
        """A transfer has ended: say so to the tracer where it is awaited and brought nothing."""
        if self.question is None or transfer.name not in self.awaited:
            return None
        self.awaited.remove(transfer.name)
        return None if transfer.good else self._leave_unanswered(self.question, transfer)

    def _leave_unanswered(self, asked: Asked, transfer: Task) -> Answer:
        """Tell the tracer that what it asked for can't be brought to where it is."""
        self.question = None
        self.awaited.clear()
        error = f"the value of `{asked.out.task}` can't be brought here: `{transfer.name}`: {transfer.reason}"
        return Answer(asked.question, error=error)

    def _asked_of(self, name: str) -> list[Pointed]:
        """Return this trace's answers about a cursor, in the order in which they were asked for."""
        return [each for each in self.pointed.values() if each.about == "cursor" and each.name == name]
