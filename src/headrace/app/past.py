"""What the ledger knows of the past, for plans, reasons and explanations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from headrace.app.given_code import code_given
from headrace.errors import NotFoundError
from headrace.plan.reuse import Before, Change
from headrace.record.shown import PastView
from headrace.record.views import GraphView, Views
from headrace.run.elsewhere import Places
from headrace.run.ports import Ledger, TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.code import Code, Part
from headrace.spec.graph import Node
from headrace.spec.stage import Stage

_decode_ref = msgspec.msgpack.Decoder(Ref).decode
_SHOWN_FIRST = ("function", "class", "constant", "module", "file", "bundle", "distribution", "environment")


class PastCode:
    """The code of earlier runs' stages, read once a run."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._graphs: dict[str, GraphView] = {}
        self._changed: dict[tuple[str, str], Sequence[str]] = {}

    def stage(self, run: str, function: str) -> Stage | None:
        """Give a stage as an earlier run had it; None where it had none, or is forgotten by now."""
        return self._graph(run).stages.get(function)

    def changed(self, run: str, stage: Stage) -> Sequence[str]:
        """Name the parts of a stage's code that differ from what they were in an earlier run."""
        known = self._changed.get((run, stage.function))
        if known is None:
            before = self.stage(run, stage.function)
            known = () if before is None else [part.name for part, _ in differing(before.code, stage.code)]
            self._changed[run, stage.function] = known
        return known

    def changed_given(self, run: str, node: Node, codes: Mapping[str, Code], change: Change) -> Sequence[str]:
        """Name the parts that differ in the code of functions that a task is given; none where it is given none."""
        now = code_given(node, change.param, codes, change.after)
        if now is None:
            return ()
        graph = self._graph(run)
        before = next((each for each in graph.nodes if each.name == node.name), None)
        then = None if before is None else code_given(before, change.param, graph.codes, change.before)
        return () if then is None else [part.name for part, _ in differing(then, now)]

    def _graph(self, run: str) -> GraphView:
        if run not in self._graphs:
            try:
                self._graphs[run] = self._views.graph(run)
            except NotFoundError:  # the collector was here
                self._graphs[run] = GraphView({}, [], {})
        return self._graphs[run]


def differing(before: Code, after: Code) -> list[tuple[Part, Part | None]]:
    """Pair each part of the code that differs with what it was before: code first, then packages and Python.

    A part that is gone stands with itself as what it was, and without a text. All of the project's Python is told by
    the files that differ, where both runs know them.
    """
    old = {(part.kind, part.name): part for part in before.parts}
    new = {(part.kind, part.name): part for part in after.parts}
    found: list[tuple[Part, Part | None]] = []
    for key, part in new.items():
        then = old.get(key)
        if then is None or then.digest != part.digest:
            found.append((part, then))
    for key, part in old.items():
        if key not in new:
            found.append((Part(name=part.name, kind=part.kind, digest=""), part))
    files = [pair for pair in found if pair[0].kind == "file"]
    if not all(any(part.kind == "file" for part in each.parts) for each in (before, after)):
        found = [pair for pair in found if pair not in files]
    elif files:
        found = [pair for pair in found if pair[0].kind != "bundle"]
    return sorted(found, key=lambda pair: _SHOWN_FIRST.index(pair[0].kind))


class LedgerHistory:
    """What past runs taught the planner (`plan.planner.History`). `rows` reads all tasks of a run, each run once: a
    ledger may be far away, so that one read a task would take longer than the tasks."""

    def __init__(
        self, ledger: Ledger, places: Places, views: Views, pipeline: str, rows: Callable[[str], Sequence[TaskRow]]
    ) -> None:
        self._ledger = ledger
        self._places = places
        self._read = rows
        self._outs: dict[str, Mapping[str, bytes | None]] = {}
        past: Sequence[PastView] = views.history(pipeline)
        self._by_task: dict[str, PastView] = {}
        self._by_stage: dict[str, PastView] = {}
        for view in past:
            self._by_task.setdefault(view.task, view)
            if view.ran:
                self._by_stage.setdefault(view.stage, view)

    def result(self, key: str) -> tuple[Ref, str] | None:
        """Give the output that is there under a key, and the run that made it."""
        found = self._ledger.results((key,)).get(key)
        return (found.out, found.run) if found is not None and self._places.holds(found.out) else None

    def before(self, task: str) -> Before | None:
        """Give what the key of a task was made of in the latest earlier run."""
        earlier = self._ledger.earlier(task)
        return None if earlier is None else Before(earlier.run, earlier.key, earlier.code, earlier.inputs)

    def output(self, task: str) -> tuple[Ref, str] | None:
        """Return what a task gave in the latest earlier run, and that run; None where it gave nothing."""
        earlier = self._ledger.earlier(task)
        if earlier is None:
            return None
        out = self._outs_of(earlier.run).get(task)
        return None if out is None else (_decode_ref(out), earlier.run)

    def _outs_of(self, run: str) -> Mapping[str, bytes | None]:
        if run not in self._outs:
            try:
                self._outs[run] = {row.name: row.out for row in self._read(run)}
            except NotFoundError:  # the collector was here
                self._outs[run] = {}
        return self._outs[run]

    def seconds(self, task: str, stage: str) -> float | None:
        """Give how long an attempt took, load and save included; that of another task of the stage if need be."""
        view = self._by_task.get(task)
        if view is None or view.seconds is None:
            view = self._by_stage.get(stage)
        if view is None or view.seconds is None:
            return None
        return view.seconds + (view.moving_s or 0.0)

    def width(self, task: str) -> int | None:
        """Give how many elements a mapped task had."""
        view = self._by_task.get(task)
        return None if view is None else view.elements or None
