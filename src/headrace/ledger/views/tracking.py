"""What tasks have logged, and the versions of models and datasets, as people look at them.

    with TrackingViews(address) as views:
        views.metrics("latest")
        views.series("latest", "fit", "train/loss")
        views.resolve("model", "delays@production").out

What a reused task has logged is what the task that made its output has, in another run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from headrace.errors import NotFoundError
from headrace.ledger import generations as names
from headrace.ledger.database import scan
from headrace.ledger.database.reader import Reader
from headrace.ledger.records import ALIASES, METRICS, VERSIONS, VersionRecord
from headrace.ledger.views.query import near
from headrace.ledger.views.rows import RUN_LINES, RunView
from headrace.ledger.views.views import Views
from headrace.run.curves import Curves, LoggedKind, Name, Summary
from headrace.run.events import Logged, decode_event
from headrace.spec.artifact import Ref
from headrace.spec.intent import RegistryKind, wanted

Measure = Literal["last", "least", "greatest"]

_decode_ref = msgspec.msgpack.Decoder(Ref).decode


class MetricView(Summary, frozen=True, kw_only=True, gc=False):
    """What a task has logged under a name, summed up.

    `run` and `source` say where the values are: in another run, and maybe under another task's name, where the task was
    reused.
    """

    run: str
    source: str


class SeriesView(Struct, frozen=True, kw_only=True):
    """A curve: `steps`, `values` (NaN and infinities too) and when each was logged (Unix seconds), in their order."""

    task: str
    name: str
    steps: Sequence[int]
    values: Sequence[float]
    at: Sequence[float]


class ShownView(Struct, frozen=True, kw_only=True):
    """A text or a figure that was logged: its artifact, whose codec is `text` or `svg`; small ones hold their bytes."""

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


class VersionView(Struct, frozen=True, kw_only=True):
    """A version of a model or dataset: its artifact, its report's, who registered it when and why, and its aliases.

    `run` and `task` have registered it, unless `by` did so from the command line: `origin` says where it came from.
    `preparation` is what prepares rows for it. `forced` says why an alias points at it though its report says no.
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
    """A version of a cursor: its value's artifact, and which run's task set it when, as far as that is known; `by` is
    who did, where that was by hand. `kept` says whether the collector leaves the value where it is."""

    name: str
    version: int
    value: Ref
    run: str | None
    task: str | None
    at: float | None
    by: str | None
    kept: bool = True


class TrackingViews(Views):
    """Reads what was logged and registered; all that `Views` reads too."""

    # -- what was logged -----------------------------------------------------------------------------------------

    def metrics(self, run: str | None = None, *, kind: LoggedKind | None = "number") -> list[MetricView]:
        """Return what the tasks of a run have logged, summed up, by task and name; of all kinds with `kind=None`."""
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
        """Return the curves of a run, or those of one of its tasks or under one name, by task and name."""
        found = []
        for metric, curves in self._logged("number", run, task, name):
            curve = curves.numbers[Name(metric.source, "number", metric.name)]
            found.append(
                SeriesView(task=metric.task, name=metric.name, steps=curve.steps, values=curve.values, at=curve.at)
            )
        return found

    def texts(self, run: str | None = None, task: str | None = None, name: str | None = None) -> list[ShownView]:
        """Return the texts that the tasks of a run have logged, by task and name, in their order."""
        return self._gathered("text", run, task, name)

    def figures(self, run: str | None = None, task: str | None = None, name: str | None = None) -> list[ShownView]:
        """Return the figures that the tasks of a run have logged, by task and name, in their order."""
        return self._gathered("figure", run, task, name)

    def logged(self, run: str | None = None, *, after: int = -1) -> list[tuple[int, Logged]]:
        """Return what the tasks of a run itself have logged, each with its number, beyond the one numbered `after`: who
        asks again with the last number follows a run that lives."""
        rows = self._query.all(self._sql.LOGGED_SINCE, self._query.run(run).number, after)
        return [(seq, decode_event(body)) for seq, body in rows]

    def metric_names(self) -> dict[str, int]:
        """Name the numbers that runs have logged, each with how many runs have."""
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
        """Return the runs that have logged a number under a name, the greatest first (or the least); NaN is left out.

        Where several tasks of a run have, the one that would come first counts.

        Raises:
            NotFoundError: no run has; the hint names those that come near.
        """
        rows = self._query.all(self._sql.METRICS_BY_NAME, name)
        if not rows:
            raise NotFoundError(
                f"no run has logged a number `{name}`", hint=near(name, [*self.metric_names()], "they have logged")
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
            view = self._view(self._query.read(RUN_LINES, self._sql.RUN_LINE_BY_NUMBER, number)[0])
            if pipeline in (None, view.pipeline):
                found.append(RankedView(run=view, task=task, value=value))
            if len(found) == limit:
                break
        return found

    def _gathered(self, kind: LoggedKind, run: str | None, task: str | None, name: str | None) -> list[ShownView]:
        return [
            ShownView(task=metric.task, name=metric.name, step=item.step, at=item.at, out=item.out)
            for metric, curves in self._logged(kind, run, task, name)
            for item in curves.shown[Name(metric.source, kind, metric.name)].items
        ]

    def _logged(
        self, kind: LoggedKind, run: str | None, task: str | None, name: str | None
    ) -> Iterator[tuple[MetricView, Curves]]:
        """Go over what was logged, each with all that the same task has, read from its events."""
        read: dict[tuple[str, str], Curves] = {}
        for metric in self.metrics(run, kind=kind):
            if task not in (None, metric.task) or name not in (None, metric.name):
                continue
            where = metric.run, metric.source
            if where not in read:
                read[where] = self._curves(*where)
            if Name(metric.source, kind, metric.name) in {**read[where].numbers, **read[where].shown}:
                yield metric, read[where]  # else the run that made it is forgotten

    def _curves(self, run: str, task: str) -> Curves:
        curves = Curves()
        for row in self._query.all(self._sql.RUN_BY_ID, run):
            for _, body in self._query.all(self._sql.LOGGED_OF, row[0], task):
                event = decode_event(body)
                if isinstance(event, Logged):
                    curves.add(event)
        return curves

    # -- what was registered -------------------------------------------------------------------------------------

    def versions(self, kind: RegistryKind, name: str | None = None) -> list[VersionView]:
        """Return the versions of a model or dataset, or those of all, by name, the newest first."""
        statement, *of = (self._sql.VERSIONS, kind) if name is None else (self._sql.VERSIONS_OF, kind, name)
        aliases: dict[tuple[str, int], dict[str, str | None]] = {}
        for each in self._query.read(ALIASES, self._sql.ALIASES, kind):
            aliases.setdefault((each.name, each.version), {})[each.alias] = each.why
        return [
            _version(row, aliases.get((row.name, row.version), {}))
            for row in self._query.read(VERSIONS, statement, *of)
        ]

    def resolve(self, kind: RegistryKind, name: str) -> VersionView:
        """Return the version that `NAME` (the newest), `NAME:3` or `NAME@ALIAS` names.

        Raises:
            UsageError: it is none of these forms.
            NotFoundError: there is none; the hint names those that come near.
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

    def cursors(self, name: str | None = None) -> list[CursorView]:
        """Return the cursors as they are now, or all versions of one, the newest first."""
        newest: dict[str, CursorView] = {}
        of: list[CursorView] = []
        for view in scan.cursors(self._db, _CURSOR_VIEWS):
            if name in (None, view.name):
                newest[view.name] = view
                of.append(view)
        if name is None:
            return list(newest.values())  # which the collector keeps
        with self._db.troubles():
            kept = names.kept(self._db, (each.value for each in of))
        return [msgspec.structs.replace(each, kept=its) for each, its in zip(of, kept, strict=True)][::-1]


_CURSOR_VIEWS = Reader(CursorView, value=(_decode_ref, "value"))


def _version(row: VersionRecord, aliases: Mapping[str, str | None]) -> VersionView:
    return VersionView(
        kind=row.kind,
        name=row.name,
        version=row.version,
        out=_decode_ref(row.out),
        report=None if row.report is None else _decode_ref(row.report),
        run=row.run,
        task=row.task,
        at=row.at,
        by=row.by,
        note=row.note,
        origin=row.origin,
        aliases=tuple(aliases),
        preparation=None if row.preparation is None else _decode_ref(row.preparation),
        forced={alias: why for alias, why in aliases.items() if why is not None},
    )
