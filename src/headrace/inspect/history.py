"""The facts that the ledger has about past runs, for plans, reasons and explanations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from headrace.errors import NotFoundError, listed
from headrace.inspect.argument_code import code_given
from headrace.ledger.views.rows import PastView
from headrace.ledger.views.tracking import TrackingViews
from headrace.ledger.views.views import Views
from headrace.plan.needs import with_needs
from headrace.plan.resolve import truth
from headrace.plan.reuse import Before, Change
from headrace.plan.times import Took
from headrace.run.driver.regions import Places, WhyGone
from headrace.run.ports import Ledger, TaskRow
from headrace.run.story import Story
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.code import Code, Part
from headrace.spec.graph import Const, Node, Out, outs
from headrace.spec.stage import Stage, function_name

_LOGS = function_name("headrace.stages.ingest._logs.logs", "read")
_SQL = function_name("headrace.stages.ingest._sql.stages", "read_on")
_READ_WHOLE = {
    function_name("headrace.stages.ingest._check.check", "check"),
    function_name("headrace.stages.ingest._files.files", "kept"),
}
"""Stages whose cursors leave no row out: a new run gets all rows again."""
_DONE = ("succeeded", "reused")
_SHOWN_CURSORS = 3
_CHANGES = (1, 2)
"""The positions of `new` and `gone` in what `ingest.sql` returns for an increment or a snapshot."""
_SHOWN_FIRST = ("function", "class", "constant", "module", "file", "bundle", "distribution", "environment")


class PastCode:
    """The code from which the earlier keys of tasks were made. Each run is read once."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._stories: dict[str, Story] = {}
        self._changed: dict[tuple[str, str], Sequence[str]] = {}

    def changed(self, before: Before, node: Node, stage: Stage) -> Sequence[str]:
        """Return the names of the parts of a stage's code that differ from those in an earlier key. `node` is a call of
        the stage."""
        declared = before.declared
        was = declared.stage if declared else stage_then(self._story(before.run), node.name, stage)
        if was is None:
            return ()
        place = was.code.digest, stage.code.digest  # not the node: many nodes may call one stage
        if place not in self._changed:
            self._changed[place] = [part.name for part, _ in differing(was.code, stage.code)]
        return self._changed[place]

    def changed_given(self, before: Before, node: Node, codes: Mapping[str, Code], change: Change) -> Sequence[str]:
        """Return the names of the parts of code that differ from those in an earlier key. The code is that of the
        functions in one argument of the task `node`; `change` names this argument."""
        now = code_given(node, change.param, codes, change.after)
        if now is None:
            return ()
        then = self._given(before, node.name, change)
        return () if then is None else [part.name for part, _ in differing(then, now)]

    def _given(self, before: Before, name: str, change: Change) -> Code | None:
        if before.declared is not None:
            node, _, codes = before.declared
            return code_given(node, change.param, codes, change.before)
        story = self._story(before.run)
        was = story.nodes.get(name)
        return None if was is None else code_given(was, change.param, story.codes, change.before)

    def _story(self, run: str) -> Story:
        if run not in self._stories:
            try:
                self._stories[run] = self._views.story(run)
            except NotFoundError:  # the garbage collector deleted the run
                self._stories[run] = Story()
        return self._stories[run]


def stage_then(then: Story, task: str, stage: Stage) -> Stage | None:
    """Return a task's stage as an earlier run had it, or None if that run had neither the task nor the stage. In that
    run, the stage's function may have had another name."""
    node = then.nodes.get(task)
    return then.stages.get(stage.function if node is None else node.stage)


def differing(before: Code, after: Code) -> list[tuple[Part, Part | None]]:
    """Return each part of the code that differs, paired with its earlier version: code first, then packages and Python.

    If a part no longer exists, the first of its pair has no text, and the second is the old part. Code that may reach
    everything in the project has a part of kind `bundle` for all its Python files together, and one of kind `file` for
    each of them. If both versions have parts for files, the files that differ are returned, but not the bundle. If one
    version has none, the bundle is returned if it differs, but no file.
    """
    old = {(part.kind, part.name): part for part in before.parts}
    new = {(part.kind, part.name): part for part in after.parts}
    pairs: list[tuple[Part, Part | None]] = []
    for key, part in new.items():
        then = old.get(key)
        if then is None or then.digest != part.digest:
            pairs.append((part, then))
    for key, part in old.items():
        if key not in new:
            pairs.append((Part(name=part.name, kind=part.kind, digest=""), part))
    files = [pair for pair in pairs if pair[0].kind == "file"]
    if not all(any(part.kind == "file" for part in each.parts) for each in (before, after)):
        pairs = [pair for pair in pairs if pair not in files]
    elif files:
        pairs = [pair for pair in pairs if pair[0].kind != "bundle"]
    return sorted(pairs, key=lambda pair: _SHOWN_FIRST.index(pair[0].kind))


def sources_kept(views: Views, run: str) -> list[str]:
    """Return the names of sources that a resumed run will not read again: they succeeded, and tasks that depend on them
    failed."""
    story = views.story(run)
    nodes = list(story.nodes.values())
    states = {row.name: row.state for row in views.rows(run)}
    behind = with_needs([node.name for node in nodes if states.get(node.name) == "failed"], nodes)
    return [
        node.name
        for node in nodes
        if node.name in behind and states.get(node.name) == "succeeded" and story.stages[node.stage].cache == "never"
    ]


def rows_past(views: TrackingViews, run: str) -> str:
    """Return a sentence about the rows that a failed run has read by cursors, if a new run doesn't get them again as
    they are at the source. The sentence names the commands that set these cursors back to where the run began. Return
    no text if there are no such rows."""
    moved = [each for each in views.cursors() if each.run == run]
    story = views.story(run) if moved else Story()
    states = {row.name: row.state for row in views.rows(run)} if moved else {}
    passed = [(each.name, _passed(story.nodes.get(each.task or ""), story, states)) for each in moved]
    sentences = []
    if names := [name for name, rows in passed if rows == "left out"]:
        them = "them" if len(names) > 1 else "it"
        sentences.append(
            f"A new run doesn't get the rows that this one has read by cursor {listed(names, _SHOWN_CURSORS)}, unless"
            f" you first set {them} back: {_rewinding(views, run, names)}"
        )
    if names := [name for name, rows in passed if rows == "as read"]:
        them = "them" if len(names) > 1 else "it"
        sentences.append(
            f"A new run keeps the rows that this one has read by cursor {listed(names, _SHOWN_CURSORS)}: if you correct"
            f" rows without raising their watermark, first set {them} back: {_rewinding(views, run, names)}"
        )
    return ". ".join(sentences)


def _rewinding(views: TrackingViews, run: str, names: Sequence[str]) -> str:
    """Return the commands that set cursors back to their versions before a run."""
    commands = []
    for name in names[:_SHOWN_CURSORS]:
        first = min(each.version for each in views.cursors(name) if each.run == run)
        commands.append(f"headrace rewind {name} --to-version {first - 1}")
    return listed(commands)


def _passed(node: Node | None, story: Story, states: Mapping[str, str]) -> Literal["left out", "as read", "read again"]:
    """Return what a new run does with rows that the task `node` has read by a cursor: it leaves them out, or takes them
    as they were read, or reads them again. `states` are the states of the run's tasks.

    For the user's own stages, this isn't known, so return `left out`.
    """
    function = "" if node is None else node.stage.partition("#")[0]
    if node is None or function not in (_LOGS, _SQL):
        return "read again" if function in _READ_WHOLE else "left out"
    if function == _LOGS:
        new_only = dict(node.args).get("new_only")
        return "read again" if isinstance(new_only, Const) and truth(new_only.ref) is False else "left out"
    nodes = list(story.nodes.values())
    ahead = with_needs([each.name for each in nodes if states.get(each.name) not in _DONE], nodes)
    taken = [out for each in nodes if each.name in ahead for out in _taken(each) if out.task == node.name]
    if any(not out.path or out.path[0] in _CHANGES for out in taken):
        return "left out"
    mode = dict(node.args).get("mode")
    is_increment = isinstance(mode, Const) and mode.ref.inline == b"increment"
    return "as read" if taken and is_increment else "read again"


def _taken(node: Node) -> list[Out]:
    return [out for _, arg in node.args for out in outs(arg)]


class LedgerHistory:
    """The facts about past runs that the planner uses (`plan.history.History`).

    `rows` returns all tasks of a run, and is called once for each run: the ledger may be far away, and one read for
    each task would take longer than the tasks. `runs` are the latest runs.
    """

    def __init__(
        self,
        ledger: Ledger,
        places: Places,
        past: Sequence[PastView],
        runs: Sequence[str],
        rows: Callable[[str], Sequence[TaskRow]],
        made_of: Callable[[str, str, bool], Sequence[bytes] | None],
        why_gone: WhyGone,
    ) -> None:
        self._ledger = ledger
        self._places = places
        self._why_gone = why_gone
        self._gone: dict[str, tuple[str, Ref]] = {}
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
        """Return the outputs that exist under these keys, each with the run that made it."""
        results = self._ledger.results(keys)
        held = {key: (each.out, each.run) for key, each in results.items() if self._places.holds(each.out)}
        self._gone.update((key, (each.run, each.out)) for key, each in results.items() if key not in held)
        return held

    def why_gone(self, key: str) -> str | None:
        """If the ledger has an output under this key that no store has, return words which say so. Otherwise return
        None. Call `results` with the key first."""
        return self._why_gone(*self._gone[key]) if key in self._gone else None

    def runs(self) -> Sequence[str]:
        """Return the latest runs, newest first."""
        return self._runs

    def before(self, task: str) -> Before | None:
        """Return the code and inputs from which the key of a task was made in the latest earlier run, or None if no
        earlier run had the task."""
        earlier = self._ledger.earlier(task)
        return None if earlier is None else Before(earlier.run, earlier.key, earlier.code, earlier.inputs)

    def output(self, task: str, run: str) -> Ref | None:
        """Return the output of a task in one of the latest runs, or None if it has none."""
        out = self._outs_of(run).get(task)
        return None if out is None else decode_ref(out)

    def made_of(self, task: str, code: str, *, is_map: bool) -> Sequence[bytes] | None:
        """Return the encoded inputs of a task's outputs in all runs with this code. If `is_map` is True, the task is
        mapped: return the encoded inputs of its elements' outputs. Return None if there are too many outputs."""
        return self._made_of(task, code, is_map)

    def _outs_of(self, run: str) -> Mapping[str, bytes | None]:
        if run not in self._outs:
            try:
                self._outs[run] = {row.name: row.out for row in self._read(run)}
            except NotFoundError:  # the garbage collector deleted the run
                self._outs[run] = {}
        return self._outs[run]

    def took(self, task: str, stage: str) -> Took | None:
        """Return how long attempts of a task took, including the times to load inputs and to save outputs. Return None
        if that is unknown.

        If the task never ran, return how long attempts of other tasks of its stage took.
        """
        seconds = self._by_task.get(task) or self._by_stage.get(stage)
        return Took(seconds[0], min(seconds), max(seconds)) if seconds else None

    def width(self, task: str) -> int | None:
        """Return how many elements a mapped task had, or None if unknown."""
        return self._widths.get(task) or None
