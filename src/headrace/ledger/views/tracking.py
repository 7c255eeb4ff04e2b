"""Views of what tasks have logged, and of versions of models, datasets and cursors.

    with TrackingViews(address) as views:
        views.metrics("latest")
        views.series("latest", "fit", "train/loss")
        views.resolve("model", "delays@production").out

For a reused task, the logged values are those of the task that made its output, in another run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from headrace.errors import NotFoundError, near
from headrace.ledger import generations as names
from headrace.ledger import records
from headrace.ledger.database.reader import Reader
from headrace.ledger.records import (
    ALIASES,
    METRICS,
    NOTICES,
    TASK_ROWS,
    VERSIONS,
    NoticeRecord,
    VersionRecord,
)
from headrace.ledger.standing.tables import BY_TABLE
from headrace.ledger.views.attempts import Attempts
from headrace.ledger.views.endpoints import EndpointViews
from headrace.ledger.views.rows import RUN_LINES, SIGNALS, GonePoolView, RunView, SignalView
from headrace.ledger.views.views import run_view
from headrace.run.curves import Curves, LoggedKind, Name, Summary
from headrace.run.events import Approved, Gone, Logged, Rejected, Taken, Traced, stored_event
from headrace.run.machine.approvals import read_decision
from headrace.run.ports import KNOWN_SIGNALS, Signal
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.intent import RegistryKind, wanted

Measure = Literal["last", "least", "greatest"]


class MetricView(Summary, frozen=True, kw_only=True, gc=False):
    """The summary of what a task has logged under a name.

    `run` and `source` are the run and the task that logged the values: for a reused task, the run and task that made
    its output.
    """

    run: str
    source: str


class SeriesView(Struct, frozen=True, kw_only=True):
    """A curve: its `steps`, its `values` (including NaN and infinities), and when each value was logged (`at`, Unix
    seconds), in order."""

    task: str
    name: str
    steps: Sequence[int]
    values: Sequence[float]
    at: Sequence[float]


class ShownView(Struct, frozen=True, kw_only=True):
    """A logged text or figure. `out` is its artifact, with codec `text` or `svg`; a small artifact has its bytes in
    `out` itself."""

    task: str
    name: str
    step: int
    at: float
    out: Ref


class RankedView(Struct, frozen=True, kw_only=True):
    """A run with its value of a metric, and the task that logged it."""

    run: RunView
    task: str
    value: float


class MoveView(Struct, frozen=True, kw_only=True):
    """A move of an alias.

    The alias pointed at version `was` before, and points at `version` since then. `was` is None if the alias was new,
    and `version` is None if the alias was removed. `at` is when it moved (Unix seconds), and `by` is who moved it. If a
    task moved it, `run` and `task` name the task. `why` is the user's reason, if there is one.
    """

    name: str
    alias: str
    was: int | None
    version: int | None
    at: float
    by: str
    run: str | None
    task: str | None
    why: str | None


class VersionView(Struct, frozen=True, kw_only=True):
    """A version of a model or dataset: its artifact, its report, its aliases, and who registered it, when, and with
    which note.

    A task (`run` and `task`) registered it, or a user on the command line (`by`). If a user registered it, `origin`
    says where the artifact came from. `preparation` is the preparation of rows for a model. `forced` has each alias
    that a user pointed at this version although a report didn't pass or couldn't be read, with the user's reason.
    """

    kind: RegistryKind
    name: str
    version: int
    out: Ref
    report: Ref | None
    run: str | None
    task: str | None
    at: float
    by: str
    note: str
    origin: str | None
    aliases: tuple[str, ...]
    preparation: Ref | None
    forced: dict[str, str]


class CursorView(Struct, frozen=True, kw_only=True):
    """A version of a cursor: the artifact of its value, the run and task that set it, and the time. Values that aren't
    known are None.

    `by` is the user who set the cursor outside of runs, or None. `kept` is False if the garbage collector may delete
    the value, or if a part of it was erased together with a person's data; `erased` is True in the second case only.
    """

    name: str
    version: int
    value: Ref
    run: str | None
    task: str | None
    at: float | None
    by: str | None
    kept: bool = True
    erased: bool = False


class TrackingViews(EndpointViews):
    """Reads logged values and registered versions, in addition to all that `EndpointViews` reads."""

    # -- what was logged -----------------------------------------------------------------------------------------

    def metrics(self, run: str | None = None, *, kind: LoggedKind | None = "number") -> list[MetricView]:
        """Return the summaries of what a run's tasks have logged, by task and name: numbers only, or all kinds with
        `kind=None`."""
        line = self._query.run(run)
        return [
            MetricView(
                **{field: getattr(metric, field) for field in Summary.__struct_fields__},
                run=metric.source or line.id,
                source=metric.source_task or metric.task,
            )
            for metric in self._query.read(METRICS, self._sql.METRICS, line.number)
            if kind in (None, metric.kind)
        ]

    def series(self, run: str | None = None, task: str | None = None, name: str | None = None) -> list[SeriesView]:
        """Return the curves of a run, by task and name; `task` and `name` restrict them to one task or name."""
        found = []
        for metric, curves in self._logged("number", run, task, name):
            curve = curves.numbers[Name(metric.source, "number", metric.name)]
            found.append(
                SeriesView(task=metric.task, name=metric.name, steps=curve.steps, values=curve.values, at=curve.at)
            )
        return found

    def texts(
        self, run: str | None = None, task: str | None = None, name: str | None = None, *, of_result: bool = False
    ) -> list[ShownView]:
        """Return the texts that a run's tasks have logged, by task and name, and in the order of logging. With
        `of_result`, the texts of attempts that a task's result doesn't come from are left out."""
        return self._gathered("text", run, task, name, of_result=of_result)

    def figures(self, run: str | None = None, task: str | None = None, name: str | None = None) -> list[ShownView]:
        """Return the figures that a run's tasks have logged, by task and name, and in the order of logging."""
        return self._gathered("figure", run, task, name)

    def logged(self, run: str | None = None, *, after: int = -1) -> list[tuple[int, Logged]]:
        """Return the run's events with logged values, each with its number. Only events with numbers greater than
        `after` are returned. To follow a live run, call this method again with the last number as `after`."""
        rows = self._query.all(self._sql.LOGGED_SINCE, self._query.run(run).number, after)
        return [(seq, stored_event(body)) for seq, body in rows]

    def metric_names(self) -> dict[str, int]:
        """Return the names of all logged numbers, and how many runs logged each."""
        return dict(self._query.all(self._sql.METRIC_NAMES))

    def ranked(
        self,
        name: str,
        *,
        by: Measure = "last",
        descending: bool = True,
        pipeline: str | None = None,
        limit: int = 1000,
    ) -> list[RankedView]:
        """Return the runs that logged a number under `name`, sorted by that number: the greatest first, or the least
        first if `descending` is False. NaN is left out. If several tasks of a run logged the name, the number that
        comes first in this order counts.

        Raises:
            NotFoundError: no run has logged the name; the hint lists similar names.
        """
        rows = self._query.all(self._sql.METRICS_BY_NAME, name)
        if not rows:
            raise NotFoundError(
                f"no run has logged a number `{name}`", hint=near(name, [*self.metric_names()], "the runs have logged")
            )
        place = 2 + ("last", "least", "greatest").index(by)
        best: dict[int, tuple[float, str]] = {}
        for row in rows:
            number, task, value = row[0], row[1], row[place]
            if value is None:
                continue
            had = best.get(number)
            if had is None or (value > had[0] if descending else value < had[0]):
                best[number] = value, task
        found = []
        for number, (value, task) in sorted(best.items(), key=lambda each: each[1][0], reverse=descending):
            line = self._query.read(RUN_LINES, self._sql.RUN_LINE_BY_NUMBER, number)[0]
            view = run_view(line, self._db.leases)
            if pipeline in (None, view.pipeline):
                found.append(RankedView(run=view, task=task, value=value))
            if len(found) == limit:
                break
        return found

    def _gathered(
        self, kind: LoggedKind, run: str | None, task: str | None, name: str | None, *, of_result: bool = False
    ) -> list[ShownView]:
        return [
            ShownView(task=metric.task, name=metric.name, step=item.step, at=item.at, out=item.out)
            for metric, curves in self._logged(kind, run, task, name, of_result=of_result)
            for item in curves.shown[Name(metric.source, kind, metric.name)].items
        ]

    def _logged(
        self, kind: LoggedKind, run: str | None, task: str | None, name: str | None, *, of_result: bool = False
    ) -> Iterator[tuple[MetricView, Curves]]:
        """Yield each metric, with all curves of the task that logged it. The curves are read from the run's events."""
        read, attempts = dict[tuple[str, str, str], Curves](), Attempts(self._query)
        number = self._query.run(run).number
        for metric in self.metrics(run, kind=kind):
            if task not in (None, metric.task) or name not in (None, metric.name):
                continue
            where = metric.task, metric.run, metric.source
            if where not in read:
                read[where] = self._curves(metric, number, attempts, of_result=of_result)
            curves = read[where]
            if Name(metric.source, kind, metric.name) in {**curves.numbers, **curves.shown}:
                yield metric, curves  # otherwise its run was forgotten, or no attempt that counts logged it

    def _curves(self, metric: MetricView, shown: int, attempts: Attempts, *, of_result: bool) -> Curves:
        """Return everything that was logged for a task's output in the run with the number `shown`. `metric` names the
        task, and the run and task that made its output. With `of_result`, attempts from which the output doesn't come
        are left out."""
        curves = Curves()
        for row in self._query.all(self._sql.RUN_BY_ID, metric.run):
            bodies = self._query.all(self._sql.LOGGED_OF, row[0], metric.source)
            events = [event for _, body in bodies if isinstance(event := stored_event(body), Logged)]
            if of_result or len({event.attempt for event in events}) > 1:
                events = self._counted(events, metric, shown, attempts, of_result=of_result)
            for event in events:
                curves.add(event)
        return curves

    def _counted(
        self, events: list[Logged], metric: MetricView, shown: int, attempts: Attempts, *, of_result: bool
    ) -> list[Logged]:
        """Return the events of those attempts that count for the output (see `_curves`)."""
        keys, present = attempts.keys(metric.run, metric.source) if events else ({}, "")
        if len({*keys, *(event.attempt for event in events)}) < 2:
            return events  # otherwise the run may have got new code between two attempts
        rows = self._query.read(TASK_ROWS, self._sql.TASK_ROW, shown, metric.task)
        key = next((row.key for row in rows if row.key in keys.values()), present)
        result = attempts.of_result(metric.run, metric.source, key or "") if of_result else set[int]()
        return [event for event in events if keys.get(event.attempt) == key and (not result or event.attempt in result)]

    def held_signals(self, name: str | None = None) -> list[SignalView]:
        """Return the signals that are still in a run's inbox because no driver of the run knew their kinds, the oldest
        first."""
        found = self._query.read(SIGNALS, self._sql.SIGNALS, self._query.run(name).number)
        return [each for each in found if each.kind not in KNOWN_SIGNALS]

    def gone_pools(self, name: str | None = None) -> list[GonePoolView]:
        """Return the pools that didn't answer, so that a driver of the run couldn't use them. Each pool is returned
        once."""
        events = (stored_event(body) for _, body in self._query.of_kind(name, Gone))
        gone = {each.pool: each for each in events if isinstance(each, Gone)}
        return [GonePoolView(pool=each.pool, why=_without_pool(each), at=each.at) for each in gone.values()]

    def had_several_pools(self, name: str | None = None) -> bool:
        """Return whether a run had several pools to choose from, under any of its drivers."""
        events = (stored_event(body) for _, body in self._query.of_kind(name, Taken))
        return any(each.others for each in events if isinstance(each, Taken))

    def decisions(self, name: str | None = None) -> list[Approved | Rejected]:
        """Return the decisions about a run's tasks that no driver has read yet, the oldest first."""
        signals = self._query.read(_SIGNALS, self._sql.INBOX, self._query.run(name).number)
        decisions = [
            read_decision(each.kind, each.by, each.body, each.at)
            for each in signals
            if each.kind in ("approve", "reject")
        ]
        return [each for each in decisions if each is not None]

    def limits_approvals(self, name: str | None = None) -> bool:
        """Return whether a run has stages with a time limit for their approval."""
        traces = (stored_event(body) for _, body in self._query.of_kind(name, Traced))
        return any(stage.within_s for each in traces if isinstance(each, Traced) for stage in each.stages)

    def notices(self, *, limit: int = 1000) -> list[NoticeRecord]:
        """Return the newest notices to people, the newest first. Notices that are not sent yet are included."""
        return self._query.read(NOTICES, self._sql.NOTICES, limit)

    def notices_of(self, name: str | None = None) -> list[NoticeRecord]:
        """Return the notices about a run, the oldest first."""
        return self._query.read(NOTICES, self._sql.NOTICES_OF, self._query.run(name).id)

    # -- what was registered -------------------------------------------------------------------------------------

    def versions(self, kind: RegistryKind, name: str | None = None) -> list[VersionView]:
        """Return the versions of one model or dataset, the newest first. Without `name`, return those of all models or
        all datasets, sorted by name."""
        statement, *of = (self._sql.VERSIONS, kind) if name is None else (self._sql.VERSIONS_OF, kind, name)
        aliases: dict[tuple[str, int], dict[str, str | None]] = {}
        for each in self._query.read(ALIASES, self._sql.ALIASES, kind):
            aliases.setdefault((each.name, each.version), {})[each.alias] = each.why
        return [
            _version(row, aliases.get((row.name, row.version), {}))
            for row in self._query.read(VERSIONS, statement, *of)
        ]

    def moves(self, kind: RegistryKind, name: str | None = None) -> list[MoveView]:
        """Return the moves of the aliases of one model or dataset, the newest first. Without `name`, return those of
        all models or all datasets."""
        statement, *of = (self._sql.MOVES, kind) if name is None else (self._sql.MOVES_OF, kind, name)
        return self._query.read(_MOVE_VIEWS, statement, *of)

    def resolve(self, kind: RegistryKind, name: str) -> VersionView:
        """Return the version that `NAME` (the newest), `NAME:3` or `NAME@ALIAS` selects.

        Raises:
            UsageError: the name has none of these forms.
            NotFoundError: there is no such version; the hint lists similar names.
        """
        of, version, alias = wanted(kind, name)
        found = self.versions(kind, of)
        if not found:
            names = sorted({each.name for each in self.versions(kind)})
            raise NotFoundError(f"there is no {kind} `{of}`", hint=near(of, names, f"the {kind}s are"))
        for each in found:
            if (version is None or each.version == version) and (alias is None or alias in each.aliases):
                return each
        if version is not None:
            raise NotFoundError(f"{kind} `{of}` has no version {version}", hint=f"its newest is {found[0].version}")
        aliases = sorted(each for one in found for each in one.aliases)
        raise NotFoundError(f"{kind} `{of}` has no alias `{alias}`", hint=near(alias or "", aliases, "its aliases are"))

    def has_erased(self, ref: Ref) -> bool:
        """Return whether bytes of an artifact or of its parts were erased together with a person's data."""
        with self._db.troubles():
            return records.has_erased(ref, records.erased(self._db))

    def cursors(self, name: str | None = None) -> list[CursorView]:
        """Return the latest version of each cursor, or all versions of one cursor, the newest first."""
        newest: dict[str, CursorView] = {}
        of: list[CursorView] = []
        for view in BY_TABLE["cursors"].read(self._db, _CURSOR_VIEWS):
            if name in (None, view.name):
                newest[view.name] = view
                of.append(view)
        with self._db.troubles():
            gone = records.erased(self._db)
            if name is None:  # the garbage collector keeps all of these
                of, kept = list(newest.values())[::-1], [True] * len(newest)
            else:
                kept = names.kept(self._db, (each.value for each in of))
        erased = [records.has_erased(each.value, gone) for each in of]
        found = zip(of, kept, erased, strict=True)
        return [msgspec.structs.replace(each, kept=its and not no, erased=no) for each, its, no in found][::-1]


_SIGNALS = Reader(Signal)
_MOVE_VIEWS = Reader(MoveView)
_CURSOR_VIEWS = Reader(CursorView, value=(decode_ref, "value"))


def _without_pool(gone: Gone) -> str:
    """Return why a run couldn't use a pool. If the reason begins with the pool's name, the name is left out."""
    name = f"pool `{gone.pool}`"
    if gone.why.startswith(f"{name} "):
        return f"it{gone.why.removeprefix(name)}"
    return gone.why.removeprefix(f"{name}: ")


def _version(row: VersionRecord, aliases: Mapping[str, str | None]) -> VersionView:
    return VersionView(
        kind=row.kind,
        name=row.name,
        version=row.version,
        out=decode_ref(row.out),
        report=None if row.report is None else decode_ref(row.report),
        run=row.run,
        task=row.task,
        at=row.at,
        by=row.by,
        note=row.note,
        origin=row.origin,
        aliases=tuple(aliases),
        preparation=None if row.preparation is None else decode_ref(row.preparation),
        forced={alias: why for alias, why in aliases.items() if why is not None},
    )
