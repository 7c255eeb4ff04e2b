"""The dialogue with the tracer: the questions of the pipeline's body, and the answers that it got."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec.structs import replace

from headrace.plan.resolve import Unmappable, follow
from headrace.run.events import Asked, Noted, Pointed
from headrace.run.machine.commands import Answer, Awaited
from headrace.run.machine.task import Task
from headrace.spec.intent import Advance, Intent, PointKind


class Dialogue:
    """The answers that the pipeline's body got, and the value that it waits for now. The answers are kept so that
    another trace of the run gets the same ones.

    The answers to the present trace are kept by the number of the question: times (Unix seconds) in `notes`, cursors
    and versions in `pointed`. `_advanced` are the names of cursors that tasks of this run have advanced. `_before` has,
    for each of these cursors, the answers about it that earlier traces got, in the order of the questions.

    The body waits for at most one value at a time. `question` is the open question. Once answered, the question moves
    to `_answered`, because the answer may still have to wait for the transfers in `awaited`.
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
        """Return the answer that the present trace already got to this question, or None.

        If a task of this run has advanced the cursor `name`, answers to an earlier trace count too. So when the run
        gets new code, the new code reads a source from the same place as the old code, and skips no rows.
        """
        if (answer := self.pointed.get(question)) is not None:
            return answer
        before = self._before.get(name, ()) if about == "cursor" else ()
        asked = len(self._asked_of(name)) if before else 0
        return replace(before[asked], question=question) if asked < len(before) else None

    def hear(self, event: Asked | Noted | Pointed) -> None:
        """Handle a question of the body, or an answer to it."""
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
        """Forget the open question: the tracer starts again, and will ask again."""
        self.question = self._answered = None
        self.awaited.clear()

    def renew(self) -> None:
        """Forget the answers, since new code is traced. Only answers about cursors that this run has advanced are
        kept."""
        for name in self._advanced:
            asked = self._asked_of(name)
            self._before[name] = [*asked, *self._before.get(name, ())[len(asked) :]]
        self.notes.clear()
        self.pointed.clear()
        self.forget_question()

    def answer(self, tasks: Mapping[str, Task]) -> Answer | None:
        """Return the answer to the open question, or None. The task that the question is about must have ended, and no
        transfer may be awaited."""
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
        """Delay the last answer until `transfers` are done, and return None. If one of them has failed already, return
        a new answer that has an error."""
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
        """Handle the end of a transfer. If the transfer failed and an answer waited for it, return an error for the
        tracer, otherwise None."""
        if self.question is None or transfer.name not in self.awaited:
            return None
        self.awaited.remove(transfer.name)
        return None if transfer.good else self._leave_unanswered(self.question, transfer)

    def _leave_unanswered(self, asked: Asked, transfer: Task) -> Answer:
        """Return an answer which says that the value can't be copied to the run's region, and close the question."""
        self.question = None
        self.awaited.clear()
        error = f"the value of `{asked.out.task}` can't be brought here: `{transfer.name}`: {transfer.reason}"
        return Answer(asked.question, error=error)

    def _asked_of(self, name: str) -> list[Pointed]:
        """Return the present trace's answers about a cursor, in the order of the questions."""
        return [each for each in self.pointed.values() if each.about == "cursor" and each.name == name]
