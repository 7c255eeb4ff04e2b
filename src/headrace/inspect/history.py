"""What the ledger knows of the past, for plans, reasons and explanations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from headrace.errors import NotFoundError
from headrace.inspect.argument_code import code_given
from headrace.ledger.views.rows import PastView
from headrace.ledger.views.views import Views
from headrace.plan.needs import with_needs
from headrace.plan.reuse import Before, Change
from headrace.plan.times import Took
from headrace.run.driver.regions import Places
from headrace.run.ports import Ledger, TaskRow
from headrace.run.story import Story
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
        self._stories: dict[str, Story] = {}
        self._changed: dict[tuple[str, str], Sequence[str]] = {}

    def stage(self, run: str, function: str) -> Stage | None:
        """Return a stage as an earlier run had it; None where it had none, or is forgotten by now."""
        return self._story(run).stages.get(function)

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
        story = self._story(run)
        before = story.nodes.get(node.name)
        then = None if before is None else code_given(before, change.param, story.codes, change.before)
        return () if then is None else [part.name for part, _ in differing(then, now)]

    def _story(self, run: str) -> Story:
        if run not in self._stories:
            try:
                self._stories[run] = self._views.story(run)
            except NotFoundError:  # the collector was here
                self._stories[run] = Story()
        return self._stories[run]


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


def sources_kept(views: Views, run: str) -> list[str]:
    """Name the sources behind tasks that failed which a resumed run doesn't ask again, since they succeeded."""
    story = views.story(run)
    nodes = list(story.nodes.values())
    states = {row.name: row.state for row in views.rows(run)}
    behind = with_needs([node.name for node in nodes if states.get(node.name) == "failed"], nodes)
    return [
        node.name
        for node in nodes
        if node.name in behind and states.get(node.name) == "succeeded" and story.stages[node.stage].cache == "never"
    ]


class LedgerHistory:
    """What past runs taught the planner (`plan.planner.History`). `rows` reads all tasks of a run, each run once: a
    ledger may be far away, so that one read a task would take longer than the tasks. `runs` are the latest."""

    def __init__(
        self,
        ledger: Ledger,
        places: Places,
        past: Sequence[PastView],
        runs: Sequence[str],
        rows: Callable[[str], Sequence[TaskRow]],
        made_of: Callable[[str, str, bool], Sequence[bytes] | None],
    ) -> None:
        self._ledger = ledger
        self._places = places
        self._runs = runs
        self._read = rows
        self._made_of = made_of
        self._outs: dict[str, Mapping[str, bytes | None]] = {}
        self._by_task: dict[str, list[float]] = {}
        self._by_stage: dict[str, list[float]] = {}
        self._widths: dict[str, int] = {}
        for view in past:
            self._widths.setdefault(view.task, view.elements)
            if view.seconds is not None:
                seconds = view.seconds + (view.moving_s or 0.0)
                self._by_task.setdefault(view.task, []).append(seconds)
                self._by_stage.setdefault(view.stage, []).append(seconds)

    def results(self, keys: Sequence[str]) -> Mapping[str, tuple[Ref, str]]:
        """Return the outputs that are there under some of these keys, each with the run that made it."""
        found = self._ledger.results(keys)
        return {key: (each.out, each.run) for key, each in found.items() if self._places.holds(each.out)}

    def runs(self) -> Sequence[str]:
        """Return the latest runs, newest first."""
        return self._runs

    def before(self, task: str) -> Before | None:
        """Return what the key of a task was made of in the latest earlier run."""
        earlier = self._ledger.earlier(task)
        return None if earlier is None else Before(earlier.run, earlier.key, earlier.code, earlier.inputs)

    def output(self, task: str, run: str) -> Ref | None:
        """Return what a task gave in one of the latest runs; None where it gave nothing."""
        out = self._outs_of(run).get(task)
        return None if out is None else _decode_ref(out)

    def made_of(self, task: str, code: str, *, is_map: bool) -> Sequence[bytes] | None:
        """Return what the keys of a task's outputs were made of in any run with this code; None where they are many."""
        return self._made_of(task, code, is_map)

    def _outs_of(self, run: str) -> Mapping[str, bytes | None]:
        if run not in self._outs:
            try:
                self._outs[run] = {row.name: row.out for row in self._read(run)}
            except NotFoundError:  # the collector was here
                self._outs[run] = {}
        return self._outs[run]

    def took(self, task: str, stage: str) -> Took | None:
        """Return how long an attempt took, load and save included; of other tasks of the stage if it never ran."""
        seconds = self._by_task.get(task) or self._by_stage.get(stage)
        return Took(seconds[0], min(seconds), max(seconds)) if seconds else None

    def width(self, task: str) -> int | None:
        """Return how many elements a mapped task had."""
        return self._widths.get(task) or None
