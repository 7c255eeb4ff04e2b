"""The tracer runs the body of a pipeline in the bundle, and reports to the driver which stages the body calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from headrace.codec.values import File, Folder
from headrace.define.lazy import Late, late_of
from headrace.define.ports import resolver, tracing
from headrace.define.trace import Trace
from headrace.errors import HeadraceError, ProjectError, TaskFailed, UsageError
from headrace.fingerprint.fingerprint import fingerprint
from headrace.fingerprint.project import Project
from headrace.run.events import Asked, Traced, TraceEnded, TraceFailed
from headrace.run.wire import Answer, Question, Refused, Remark
from headrace.run.wire import Trace as Order
from headrace.spec.artifact import Ref, gather
from headrace.spec.code import Code
from headrace.spec.failure import Failure
from headrace.spec.graph import Node, Out
from headrace.spec.intent import PointKind
from headrace.spec.stage import Stage
from headrace.work.attempt import Desk
from headrace.work.channel import Channel, Gone
from headrace.work.environments.fingerprints import Envoys
from headrace.work.user_code import describe, find_function, find_pipeline, user_traceback


def trace(
    order: Order, channel: Channel, desk: Desk, bundle: Path, roots: tuple[str, ...], project: Project, envoys: Envoys
) -> None:
    """Trace a pipeline and report its graph. If an error is raised before the pipeline has got any task's value, the
    run is refused. If an error is raised later, the run fails."""
    asker = Asker(channel, desk, bundle, project, envoys)
    absent = desk.absent
    token = resolver.set(asker)
    try:
        pipeline = find_pipeline(order.pipeline, order.files, roots, bundle)
        pipeline.trace(Trace(asker), order.params)
        channel.report(TraceEnded())
    except Gone:
        raise
    except BaseException as error:  # noqa: BLE001  the body is user code
        if asker.answered:
            message = describe(error, bundle)
            channel.report(TraceFailed(Failure("user", message, user_traceback(error, bundle), absent.hint(message))))
        else:
            refused = _refusal(error, bundle)
            channel.send(replace(refused, hint=absent.hint(refused.message) or refused.hint))
    else:
        for text in absent.remarks():
            channel.send(Remark(text))
    finally:
        resolver.reset(token)


def _refusal(error: BaseException, bundle: Path) -> Refused:
    if isinstance(error, HeadraceError):
        return Refused(type(error).__name__, describe(error, bundle), error.hint)
    return Refused(
        "UsageError",
        f"the pipeline's body raised {describe(error, bundle)}",
        "a pipeline's body only wires stages: put code that needs data in a stage, or call `.value()`",
        user_traceback(error, bundle),
    )


def _as_written(path: Path) -> str:
    """Return a path as the user wrote it. A relative path has been made absolute, starting from this process's empty
    folder; this is undone."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


class Asker:
    """Gets what a trace needs to know by asking the driver (`define.ports.Resolver`)."""

    def __init__(self, channel: Channel, desk: Desk, bundle: Path, project: Project, envoys: Envoys) -> None:
        self._channel = channel
        self._desk = desk
        self._bundle = bundle
        self._project = project
        self._envoys = envoys
        self._questions = 0
        self._codes: dict[str, Code] = {}
        self._told_codes = 0
        self.answered = False

    def declare(self, stage: Stage, function: Any) -> Stage:
        """Return the stage with the code that its function reaches, after checking that a worker can import it."""
        if "<" in stage.function:
            raise ProjectError(
                f"stage `{stage.name}` is defined inside a function or is a lambda, so no worker can import it",
                hint="define it at the top level of a module",
            )
        imported = find_function(stage.function, self._bundle)
        if imported.function is not function:
            raise ProjectError(
                f"a pipeline calls a stage named `{stage.function}`, but another function now has this name",
                hint="give each stage a name of its own in its module; in a notebook, import a stage again after its"
                " module was loaded again",
            )
        if stage.environment is not None:
            return replace(stage, code=self._envoys.code(stage))
        return replace(stage, code=fingerprint(function, self._project))

    def extend(self, stages: list[Stage], nodes: list[Node]) -> None:
        """Report a further part of the graph."""
        codes = tuple(self._codes.values())[self._told_codes :]
        self._told_codes = len(self._codes)
        self._channel.report(Traced(tuple(stages), tuple(nodes), codes))

    def keep(self, value: object) -> Ref:
        """Save an argument, and return its artifact. A file or folder of the project is saved by the driver, because
        only the driver can surely reach the project's folder."""
        if isinstance(value, File | Folder):
            about: Literal["file", "folder"] = "file" if isinstance(value, File) else "folder"
            path = _as_written(value.path)
            answer = self._ask(lambda number: self._channel.send(Question(number, about, path)))
            assert answer.ref is not None
            return answer.ref
        if isinstance(value, Late) and (late := late_of(value)) is not None:
            return self._keep_late(value, late)
        return self._desk.save_argument(value, self._codes)

    def value(self, out: Out) -> object:
        """Report what has been traced, wait for a task to end, and return its output."""
        current = tracing.get()
        if current is not None:
            current.flush()
        answer = self._ask(lambda number: self._channel.report(Asked(number, out)), TaskFailed)
        assert answer.ref is not None
        self.answered = True
        return self._desk.load(answer.ref, verify=True)

    def now(self) -> float:
        """Return the time from the driver."""
        answer = self._ask(lambda number: self._channel.send(Question(number, "now")))
        assert answer.now is not None
        return answer.now

    def point(self, about: PointKind, name: str) -> tuple[int, Ref | None]:
        """Ask the driver for the version and the artifact of a cursor, or of a named model or dataset, and return
        them."""
        answer = self._ask(lambda number: self._channel.send(Question(number, about, name)))
        return answer.version, answer.ref

    def load(self, ref: Ref) -> object:
        """Load and return an artifact's value."""
        return self._desk.load(ref, verify=True)

    def _keep_late(self, record: Late, late: Mapping[str, Ref | None]) -> Ref:
        """Return the artifact of a record that has late fields (`define.lazy`). Their values are not loaded, since they
        may be large, or in another region; their artifacts in `late` become parts of the record's artifact.

        If the first late field has no artifact, None is saved for it. Any other late field without an artifact is left
        out, so that the keys of tasks don't change when the record's class gets another late field.
        """
        kind: Any = type(record)
        values = [getattr(record, field.name) for field in fields(kind) if field.name not in late]
        saved = self._desk.save(kind(*values, None))
        pairs = dict(zip(saved.names or (), saved.parts or (), strict=True))
        kept = {name: part for name, part in pairs.items() if name not in list(late)[1:]}
        kept |= {name: ref for name, ref in late.items() if ref is not None}
        return gather(tuple(kept.values()), codec=saved.codec, type=saved.type, names=tuple(kept))

    def _ask(self, send: Any, failure: type[HeadraceError] = UsageError) -> Answer:
        number = self._questions
        self._questions += 1
        send(number)
        while True:
            message = self._channel.next()
            if isinstance(message, Answer) and message.question == number:
                break
        if message.error is not None:
            self.answered = self.answered or failure is TaskFailed
            raise failure(message.error, hint=message.hint)
        return message
