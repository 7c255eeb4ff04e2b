"""The functions for Python programs and notebooks: run and plan a pipeline, list runs, load artifacts."""

from __future__ import annotations

import inspect
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from headrace.codec.codecs import Codecs
from headrace.define.pipeline import PipelineFunction
from headrace.define.ports import current, resolver
from headrace.errors import Interrupted, LedgerError, NotFoundError, RunCancelled, RunFailed, UsageError, near
from headrace.inspect.endpoints.labels import labelled
from headrace.inspect.endpoints.predictions import predictions as read_predictions
from headrace.inspect.get.get import artifact, find
from headrace.inspect.history import rows_past
from headrace.inspect.run_json import gates_that_refused
from headrace.inspect.views import read
from headrace.inspect.warnings import Warned, all_warnings
from headrace.ledger.views.rows import RunView, TaskView
from headrace.operate import plan as planning
from headrace.operate import session
from headrace.operate.notebook import display
from headrace.operate.notebook.bundle import notebook_files
from headrace.operate.progress.observer import NoObserver, Observer
from headrace.project import project as projects
from headrace.project.project import Project
from headrace.project.state import reading_store, views
from headrace.report.marks import is_live
from headrace.report.measures import count_text
from headrace.spec.plan import Plan
from headrace.spec.policy import Policy
from headrace.work.notebook import NOTEBOOK

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.inspect.gates import Held
    from headrace.operate.progress.live_table import LiveObserver


@contextmanager
def _interruptible() -> Iterator[None]:
    """If the user interrupts the code in this context, raise an `Interrupted`: a notebook shows it without lines of
    Headrace's own code."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


class RunTask(TaskView, frozen=True, kw_only=True, eq=False):
    """A task of a run, for Python programs.

    Its attributes are those of `headrace show --json`: `name`, `stage`, `kind`, `state`, `reason`, `attempts`,
    `seconds`, `load_s`, `save_s`, `usd`, `pool`, `queued_s`, `pool_reason` and `outputs`.
    """

    _project: Project
    _run: str

    @_interruptible()
    def value(self, *, columns: Sequence[str] | None = None, safe: bool = False) -> Any:
        """Load and return the task's output. With `columns`, only these columns of a table are read.

        With `safe`, forms that run code when they are read (pickles, classes of a project) are refused.

        Raises:
            NotFoundError: the task has no output.
            CodecError: `columns` is given, and the output isn't a table or lacks one of these columns. Or `safe` is
                True, and the output is stored in a form that runs code.
        """
        with views(self._project) as found:
            ref = find(found, self._run, self.name)
        return Codecs().load(ref, reading_store(self._project), safe_only=safe, columns=columns)

    def __repr__(self) -> str:
        return f"<task {self.name}: {self.state}>"


class Run:
    """A run, with its `id`, `state` and `tasks`. `run["fit"]` is the task `fit`. `run["split.train"]` is the task
    `split` with only the part `train` of its output as its value."""

    def __init__(self, project: Project, view: RunView) -> None:
        self._project = project
        self.view = view
        self.id = view.run
        self.tasks = [RunTask(_project=project, _run=view.run, **structs.asdict(task)) for task in view.tasks or ()]
        self._shown_in: int | None = None

    @property
    def pipeline(self) -> str:
        """The name of the pipeline."""
        return self.view.pipeline

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that the run was given, as texts, as on the command line. Defaults aren't among them."""
        return self.view.params

    @property
    def created(self) -> float:
        """When the run began, in seconds since 1970."""
        return self.view.created

    @property
    def state(self) -> str:
        """The state of the run: how it ended, or that it hasn't ended."""
        return self.view.state

    @property
    def seconds(self) -> float:
        """How long the run took, in seconds."""
        return self.view.seconds

    @property
    def usd(self) -> float:
        """The cost of the run, in US dollars."""
        return self.view.usd

    @property
    def why(self) -> str:
        """Why the run ended as it did; empty if there is nothing to say."""
        return self.view.why

    @cached_property
    @_interruptible()
    def warnings(self) -> tuple[Warned, ...]:
        """The warnings of the run's tasks. Each has the name of the `task` and the `text`. If the run judged several
        models, `of` is the name of the model that the task judged."""
        with views(self._project) as found:
            return all_warnings(found, self.id)

    @cached_property
    @_interruptible()
    def gates(self) -> tuple[Held, ...]:
        """The gates that said no. Each has its name as `gate`, the `tasks` that were skipped because of it (maybe
        none), and its `rules` that don't hold."""
        with views(self._project) as found:
            return gates_that_refused(self._project, found, self.id)

    def __getitem__(self, name: str) -> RunTask:
        for task in self.tasks:
            if task.name == name:
                return task
            if name.startswith(f"{task.name}."):
                with views(self._project) as found:
                    find(found, self.id, name)
                return structs.replace(task, name=name)
        hint = near(name, [task.name for task in self.tasks], "its tasks are")
        raise NotFoundError(f"run `{self.id}` has no task `{name}`", hint=hint)

    def __iter__(self) -> Iterator[RunTask]:
        return iter(self.tasks)

    def __repr__(self) -> str:
        return f"<run {self.id}: {self.state}, {count_text(len(self.tasks), 'task')}>"

    def __str__(self) -> str:
        return display.run_text(self.view, self.warnings, self.gates)

    def _repr_html_(self) -> str | None:
        if self._shown_in is not None and self._shown_in == display.cell():
            return None  # the same cell shows the run already, in place of its progress
        return self._html()

    def _html(self) -> str:
        return display.run_html(self.view, self.warnings, self.gates)


class Planned(Plan, frozen=True):
    """A plan, for Python programs. `print` and notebooks show it as `headrace plan` does."""

    def __repr__(self) -> str:
        counts = Counter(task.decision.replace("_", " ") for task in self.tasks)
        return f"<plan of {self.pipeline}: {', '.join(f'{count} {decision}' for decision, count in counts.items())}>"

    def __str__(self) -> str:
        return display.plan_text(self)

    def _repr_html_(self) -> str:
        return display.plan_html(self)


class Runs(list[Run]):
    """A list of runs, the newest first. A notebook shows it as a table."""

    def __str__(self) -> str:
        return display.runs_text([run.view for run in self])

    def _repr_html_(self) -> str:
        return display.runs_html([run.view for run in self])


class Launcher:
    """The implementation of a pipeline's `run` and `plan` methods (`define.pipeline.Launcher`)."""

    def run(self, pipeline: PipelineFunction[Any], params: Mapping[str, str]) -> Run:
        """Run a pipeline, wait until it ends, and return the run. A run that waits for an approval is returned too.

        Raises:
            RunFailed: a task failed, or the run was refused.
            RunCancelled: the run was cancelled.
        """
        project, address = _place(pipeline)
        with _watching() as observer:
            ended = session.run(
                project, address, params, Policy(approve_own=project.config.run.approve_own), observer=observer
            )
        try:
            with views(project) as found:
                view = found.show(ended.run)
                past = rows_past(found, ended.run) if view.state == "failed" else ""
        except LedgerError as error:
            error.add_note(f"run {ended.run} {ended.state}; `headrace.runs()` has it once the ledger can be read again")
            raise
        run = Run(project, view)
        if isinstance(observer, display.NotebookObserver):
            observer.become(run._html())
            run._shown_in = display.cell()
        if view.state == "cancelled":
            raise RunCancelled(f"run {view.run} was cancelled: {view.why}", run=run)
        if view.state not in ("succeeded", "waiting"):
            see = f"`headrace show {view.run}` for its tasks, `headrace logs {view.run}` for what they printed"
            hint = f"{see}. {past}" if past else see
            raise RunFailed(f"run {view.run} {view.state}: {view.why}", hint=hint, run=run)
        return run

    def plan(self, pipeline: PipelineFunction[Any], params: Mapping[str, str]) -> Plan:
        """Return the plan of a pipeline's run, without running anything."""
        project, address = _place(pipeline)
        plan = planning.plan(project, address, params, Policy())
        return Planned(**{name: getattr(plan, name) for name in plan.__struct_fields__})


@_interruptible()
def runs(*, limit: int = 100) -> list[Run]:
    """Return up to `limit` runs of the current folder's project, the newest first. The project may also be that of a
    folder above, as for commands."""
    project = projects.load()
    with views(project) as found:
        return Runs(Run(project, found.show(view.run)) for view in found.runs(limit=limit).runs)


@_interruptible()
def load(digest: str, part: str | None = None, *, columns: Sequence[str] | None = None, safe: bool = False) -> Any:
    """Load and return an artifact of the current folder's project. The project may also be that of a folder above, as
    for commands.

    Args:
        digest: the artifact's digest or the beginning of it, or the address of a version: `model:NAME`, `model:NAME:3`
            or `dataset:NAME@ALIAS`. It may also be a run's id; then `part` is needed.
        part: for a version, a part of it, such as the `"preparation"` that was registered with a model. For a run, the
            task, `"fit"`, or a part of its output, `"fit.model"`.
        columns: the columns of a table to read; None means all.
        safe: True to refuse forms that run code when they are read (pickles, classes of a project). Use it for
            artifacts that other people made.

    Raises:
        NotFoundError: there is no such artifact.
        CodecError: `columns` is given, and the artifact isn't a table or lacks one of these columns. Or `safe` is True,
            and the artifact is stored in a form that runs code.
    """
    project = projects.load()
    with views(project) as found:
        ref, _, _ = artifact(found, digest, part)
    return Codecs().load(ref, reading_store(project), safe_only=safe, columns=columns)


@_interruptible()
def predictions(endpoint: str, *, since: date | str | None = None, labels: bool = False) -> pa.Table:
    """Return the predictions of an endpoint of the current folder's project, in the order of their requests.
    Predictions that are still only in this host's log are included.

    The columns are the same as in `ingest.predictions`, which a pipeline uses to read only new predictions.

    Args:
        endpoint: the name of the endpoint.
        since: a date or time, or an ISO 8601 text of it. Predictions that were requested earlier are left out. A time
            without a zone is a local time, as for `headrace predictions --since`.
        labels: True to add what really came of each prediction, as far as it is known: the columns `label`,
            `label_source` and `labelled_at`.

    Raises:
        NotFoundError: the endpoint has no predictions at all.
        UsageError: `since` is no date or time, or the function is called in a pipeline or a stage.
    """
    if current() is not None or resolver.get() is not None:
        raise UsageError(
            "`hr.predictions` was called in a pipeline or a stage, but its result would not be part of the task's key",
            hint=f'call `ingest.predictions("{endpoint}")` in the pipeline\'s body, and pass its result to the stage',
        )
    project = projects.load()
    with read(project) as found:
        table = read_predictions(project, found, endpoint, since=None if since is None else _local(since))
        return labelled(project, found, endpoint, table) if labels else table


def _local(at: date | str) -> datetime:
    try:
        if isinstance(at, str):
            at = datetime.fromisoformat(at)
        return (at if isinstance(at, datetime) else datetime.combine(at, time())).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"`since` is {at!r:.80}, which is not a date or time",
            hint="give a text such as `2026-01-31`, a `date` or a `datetime`",
        ) from error


@contextmanager
def _watching() -> Iterator[Observer]:
    """Yield an observer that shows a run's progress below a notebook cell or on a terminal, else one that shows
    nothing."""
    if display.is_notebook():
        observer: display.NotebookObserver | LiveObserver = display.NotebookObserver()
    elif is_live(sys.stderr):
        from headrace.operate.progress.live_table import LiveObserver  # noqa: PLC0415  rich: 30 ms that a program without one doesn't need

        observer = LiveObserver()
    else:
        yield NoObserver()
        return
    try:
        yield observer
    finally:
        observer.leave()


def _place(pipeline: PipelineFunction[Any]) -> tuple[Project, str]:
    """Return the project of a pipeline object, and the pipeline's address in the project."""
    file = inspect.getsourcefile(pipeline.function)
    if file is None or not os.path.isfile(file):
        return _notebook_place(pipeline)
    target = f"{os.path.relpath(file, Path.cwd())}:{pipeline.name}"
    project = projects.load(target=target)
    return project, project.address(target)


def _notebook_place(pipeline: PipelineFunction[Any]) -> tuple[Project, str]:
    """Return the current folder's project with the notebook's code added, and the pipeline's name."""
    project = projects.load(notebook=True)
    files = (project.root / NOTEBOOK,)
    project = structs.replace(project, files=files, extra=notebook_files(pipeline, project.root), absent="")
    return project, pipeline.name
