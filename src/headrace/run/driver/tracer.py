"""The dialogue with the tracer: what it traces is compared with earlier traces and stored, and its questions are
answered.

The tracer is a process of the backend, like a worker. If it dies, it is started again. It then traces the same graph,
because its questions get the same answers as before: the answers are stored in events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from headrace import errors
from headrace.errors import BackendError, HeadraceError, PlacementError, TraceError, UsageError
from headrace.plan.needs import check_policy
from headrace.plan.pools import check_fit, misspelt
from headrace.run.driver.courier import Courier
from headrace.run.driver.journal import Journal
from headrace.run.driver.sites import Sites
from headrace.run.driver.steps import Steps
from headrace.run.events import Event, Noted, Pointed, Traced, TraceEnded, TraceFailed
from headrace.run.machine.machine import Machine
from headrace.run.ports import TRACER, Clock, Died, Job, Ledger
from headrace.run.wire import Answer, Question, Refused, Trace
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.failure import Failure
from headrace.spec.fleet import Pool
from headrace.spec.intent import PointKind
from headrace.spec.stage import Resources

TRIES = 3

Files = Callable[[str, str], Ref]
"""A function that makes an artifact of a file or folder of the project. It takes `about` and `path`, and returns the
reference of the artifact."""


class Tracer:
    """Runs the tracer. If it dies, another one is started and traces from the start.

    If `late` is True, the run was opened before anything was traced, so an error in the pipeline fails the run. If the
    trace is tentative (`Journal.is_tentative`), an error is raised, and nothing is stored.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        steps: Steps,
        journal: Journal,
        courier: Courier,
        sites: Sites,
        pins: Mapping[str, str],
        spare: Sequence[Pool],
        ledger: Ledger,
        clock: Clock,
        files: Files | None,
        note: Callable[[str], None],
    ) -> None:
        self._machine = machine
        self._steps = steps
        self._journal = journal
        self._courier = courier
        self._sites = sites
        self._pins = pins
        self._spare = spare
        self._ledger = ledger
        self._clock = clock
        self._files = files
        self._note = note
        self.late = False
        self._seen = 0
        self._deaths = 0

    def begin(self) -> None:
        """Start the tracer."""
        opened = self._machine.opened
        assert opened is not None
        self._seen = 0
        self.late |= not self._journal.is_tentative and not self._machine.nodes
        self._sites.first.backend.start([Job(worker=TRACER, resources=Resources(), role="tracer")])
        self._sites.tell(TRACER, [Trace(opened.pipeline, opened.files, opened.params)])

    def heard(self, event: Event, body: bytes) -> None:
        """Handle an event of the tracer. If a task fits in no pool and a part of the trace was already stored, the run
        fails. (A part is stored, for example, when the pipeline's body waits for a value.)

        Raises:
            TraceError: the trace differs from an earlier one.
            PlacementError: a task fits in no pool, and nothing of the trace was stored.
        """
        try:
            self._heard(event, body)
        except PlacementError as error:
            if self._journal.is_tentative:
                raise
            self._fail(error)
        except HeadraceError as error:
            self.refused(error)

    def refused(self, error: HeadraceError) -> None:
        """Handle an error of the tracer: raise it, or fail the run if it was opened before anything was traced.

        Raises:
            HeadraceError: the error itself.
        """
        if not self.late:
            raise error
        self._fail(error)

    def asked(self, question: Question) -> None:
        """Answer a question of the tracer. A question that was asked before gets the same answer again."""
        number = question.question
        if question.about == "now":
            now = self._machine.dialogue.notes.get(number)
            if now is None:
                now = self._clock.now()
                self._steps.absorb(Noted(number, now))
            self._courier.post(TRACER, Answer(number, now=now))
            return
        if question.about in ("cursor", "model", "dataset", "predictions"):
            self._courier.post(TRACER, self._point(number, question.about, question.path))
            return
        try:
            if self._files is None:
                raise UsageError("there is no project folder here", hint="give files by an absolute path")
            ref = self._files(question.about, question.path)
            self._journal.keep((ref,))
            self._courier.post(TRACER, Answer(number, ref=ref))
        except HeadraceError as error:
            self._courier.post(TRACER, Answer(number, error=error.message, hint=error.hint))
        except OSError as error:
            self._courier.post(TRACER, Answer(number, error=f"can't read `{question.path}`: {error.strerror or error}"))

    def died(self, notice: Died) -> None:
        """Start the tracer again after it died, at most `TRIES` - 1 times.

        Raises:
            UsageError, BackendError: the tracer died each time, and nothing of the trace was stored.
        """
        self._courier.bury(TRACER)  # the next tracer has the same number, and must not get this one's messages
        if self._machine.trace_ended or self._machine.closed is not None:
            return
        self._deaths += 1
        if self._deaths >= TRIES:
            problem = f"the process that traces the pipeline died: {notice.why}"
            if self._journal.is_tentative:
                if notice.kind == "lost":
                    raise BackendError(problem, hint="`headrace doctor` checks this machine")
                raise UsageError(problem, hint="check what the pipeline's module does when it is imported")
            self._steps.absorb(TraceFailed(Failure(notice.kind, problem)))
            return
        self._machine.dialogue.forget_question()
        self.begin()

    def _fail(self, error: HeadraceError) -> None:
        self._steps.absorb(TraceFailed(Failure("refused", error.message, hint=error.hint)))

    def _heard(self, event: Event, body: bytes) -> None:
        if self._machine.trace_ended:
            return  # the run was cancelled meanwhile; if it is resumed, it is traced again
        match event:
            case Traced(stages=stages, nodes=nodes, codes=codes):
                known = len(self._machine.nodes)
                fresh = self._machine.unseen(stages, nodes, self._seen)
                self._seen += len(nodes)
                if fresh is not None:
                    check_fit(fresh.stages, [site.pool for site in self._sites.living], self._pins, self._spare)
                    fresh = replace(fresh, codes=codes)
                    self._steps.absorb(fresh, body if known == self._seen - len(nodes) else None)
            case TraceEnded():
                if self._seen < len(self._machine.nodes):
                    missing = self._machine.nodes[self._seen]
                    raise TraceError(
                        f"the pipeline's body no longer calls `{missing.name}` ({missing.line})",
                        hint="a pipeline's body must do the same each time;"
                        " `headrace resume RUN --new-code` starts from the code as it is now",
                    )
                for told in misspelt(self._pins, self._machine.stages.values()):
                    self._note(told)
                if self.late or not self._journal.is_open:
                    check_policy(self._machine.policy, self._machine.nodes, self._machine.stages)
                self._steps.absorb(event, body)
            case TraceFailed(failure=Failure(damaged=damaged) as failure) if damaged:
                self._steps.absorb(TraceFailed(self._steps.explained(failure)))
            case _:
                self._steps.absorb(event, body)

    def _point(self, number: int, about: PointKind, name: str) -> Answer:
        """Return the answer about a cursor, model, dataset or predictions: the run's earlier answer if there is one,
        otherwise the present state in the ledger."""
        answer = self._machine.dialogue.told(number, about, name)
        if answer is None:
            try:
                row = self._ledger.point(about, name)
            except UsageError as error:
                return Answer(number, error=error.message, hint=error.hint)
            version, value = row or (0, None)
            if row is not None and value is None:
                self._note(erased_cursor(name, version))
            answer = Pointed(number, name, version, None if value is None else decode_ref(value), about)
            self._steps.absorb(answer)
        elif number not in self._machine.dialogue.pointed:
            self._steps.absorb(answer)
        elif (answer.about, answer.name) != (about, name):
            before = f"{answer.about} `{answer.name}`"
            problem = f"the pipeline asked for {about} `{name}` where it had asked for {before} before"
            hint = "the pipeline's body must ask for the same values each time it is traced"
            return Answer(number, error=problem, hint=hint)
        return Answer(number, ref=answer.value, version=answer.version)


def erased_cursor(name: str, version: int) -> str:
    """Return a message about a cursor that has no value any more, because a part of the value was erased."""
    return (
        f"cursor `{name}` is read as empty: a table of its version {version} was erased together with a person's"
        " data, so its source is read again from the beginning"
    )


def refusal(refused: Refused) -> HeadraceError:
    """Return the tracer's error as an exception. The exception has the same class as in the tracer if Headrace defines
    that class; otherwise it is a UsageError."""
    kind = getattr(errors, refused.error, UsageError)
    known = isinstance(kind, type) and issubclass(kind, HeadraceError)
    return (kind if known else UsageError)(refused.message, hint=refused.hint)
