"""Finds which of a run's artifacts is its model, which task made that model, and which tasks are about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache

from msgspec import Struct

from headrace.errors import NotFoundError, near
from headrace.inspect.get.get import part_of, task_and_path
from headrace.inspect.run_record import Material
from headrace.inspect.views import maps
from headrace.plan.keys import told
from headrace.plan.resolve import Unmappable, follow
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref, within
from headrace.spec.graph import Many, Node, outs
from headrace.spec.intent import REPORT, unlike

MODELS = frozenset({"skops", "lightgbm", "safetensors", "pickle", "folder"})
"""The codecs that models are saved with."""
MAKERS = frozenset({"prepare", "train", "stage"})
"""The kinds of stages that may make a model, or choose one.
Stages that deploy a model or bring data are of other kinds."""


COMPARED = frozenset({"baseline", "previous"})
"""The parameters of evaluations that take a model with which the judged model is only compared."""
_OURS = "headrace.stages.evaluate."
"""The beginning of the functions of our own evaluations, which always judge something else than what they compare. A
project's evaluation may call the one model that it judges `previous`."""


class Chosen(Struct, frozen=True, kw_only=True):
    """The model that a card is about: a task's output, or the part of it at `path`."""

    task: str
    path: str
    ref: Ref

    @property
    def words(self) -> str:
        """The name of the model in a command: `TASK` or `TASK.PART`."""
        return f"{self.task}.{self.path}" if self.path else self.task


def choose(run: Material, words: str | None) -> Chosen:
    """Return the model of a run: the named task's output or part of it, or else the last model that a task made and
    that isn't only one with which another model was compared.

    Raises:
        NotFoundError: there is no such task or part, or no task made a model.
    """
    if words is not None:
        return _named(run, words)
    wide = maps(run.rows)
    names = [row.name for row in run.rows.values() if row.out and row.name not in wide and row.kind in MAKERS]
    models = {name: model for name in names if (model := next(_models(run.out(name)), None)) is not None}
    forms = {(model.codec, model.type) for name, (_, model) in models.items() if run.rows[name].kind == "train"}
    if forms:  # other stages may give values with the same codecs: only those of the same type as a trained one count
        models = {name: each for name, each in models.items() if (each[1].codec, each[1].type) in forms}
    chosen = _last(run, models)
    if chosen is None:
        wholes = {row.name: run.out(row.name) for row in run.rows.values() if row.name in names and row.kind == "train"}
        chosen = _last(run, {name: ("", ref) for name, ref in wholes.items() if ref and unlike("model", ref) is None})
    if chosen is not None:
        return chosen
    trains = [f"`{row.name}` ({_outcome(run, row)})" for row in run.rows.values() if row.kind == "train"]
    why = (
        f"; its tasks of kind `train`: {', '.join(trains)}" if trains else ", and none of its tasks is of kind `train`"
    )
    raise NotFoundError(
        f"no task of run `{run.view.run}` made a model{why}",
        hint="return the model from a task of kind `train`, or name the task that made it, after the run",
    )


def _last(run: Material, models: dict[str, tuple[str, Ref]]) -> Chosen | None:
    """Return the last of a run's models, each at a path in a task's output. A model that another task chose from
    several, or made a new one of, isn't the last. Nor is one with which another model was only compared, unless all
    are. Return None if there is no model."""
    lasting = (
        Chosen(task=name, path=path, ref=ref)
        for name, (path, ref) in reversed(models.items())
        if not any(each in models for each in run.walk([name], run.needing))
    )
    compared = None
    for each in lasting:
        if not _is_only_compared(run, each.task, each.ref):
            return each
        compared = compared or each
    return compared


def _outcome(run: Material, row: TaskRow) -> str:
    """Return what a task gave in place of a model, such as `gave a report`. If the task has no output, or its output
    isn't clearly something else, return the task's state."""
    ref = run.out(row.name)
    given = None if ref is None else unlike("model", ref)
    return row.state if given is None else f"gave {given}"


def about(run: Material, task: str, model: Ref) -> list[str]:
    """Return the tasks that depend on `model`, which is a task's output or a part of it: nearest first, and of a map
    its elements.

    Evaluations that only compare another model with `model` are left out, and what depends on them: their reports and
    verdicts aren't about `model`.
    """
    comparisons = _Comparisons(run, model)
    found = run.walk([task], lambda need: [each for each in run.needing(need) if not comparisons.has(each, need)])
    maps = {run.rows[each].parent for each in found}
    return [each for each in found if each not in maps]


def _is_only_compared(run: Material, task: str, model: Ref) -> bool:
    """Return whether evaluations compare another model with `model`, which is a task's output or a part of it, and none
    judges it."""

    def evaluated(tasks: list[str]) -> bool:
        return any(run.rows[each].kind == "evaluate" for each in tasks)

    return evaluated(run.walk([task], run.needing)) and not evaluated(about(run, task, model))


class _Comparisons:
    """The evaluations of a run that only compare another model with `model`."""

    def __init__(self, run: Material, model: Ref) -> None:
        self._run, self._model = run, model
        self._parts = {each.identity for each in within(model)}
        self._is_passed = cache(self._is_in_argument)
        self._in_elements = cache(self._by_element)

    def has(self, task: str, need: str) -> bool:
        """Return whether a task is such an evaluation. If it doesn't take the model itself, what it takes from the task
        `need` counts, which was made from the model."""
        run, node, row, stage = self._run, self._run.node(task), self._run.rows.get(task), self._run.stage(task)
        if node is None or row is None or row.kind != "evaluate":
            return False
        takes = {param: {out.task for out in outs(arg)} for param, arg in node.args}
        needs = {need, run.rows[need].parent}
        taken = self._taken(node, row) or {param for param, tasks in takes.items() if not tasks.isdisjoint(needs)}
        if not COMPARED.issuperset(taken):
            return False
        if stage is not None and stage.function.startswith(_OURS):
            return True
        others = set[str]().union(*(tasks for param, tasks in takes.items() if param not in COMPARED))
        return any(each in run.rows and run.rows[each].kind == "train" for each in others)

    def _taken(self, node: Node, row: TaskRow) -> set[str]:
        """Return the parameters for which a task got the model. `node` is that of the task, or of its map."""
        got = told(row.inputs) if row.parent is not None and row.inputs is not None else {}
        taken = set()
        for param, _ in node.args:
            is_in = self._in_elements(node.name, param).get(got.get(param, "")) if param in node.over else None
            if self._is_passed(node.name, param) if is_in is None else is_in:
                taken.add(param)
        return taken

    def _is_in_argument(self, node: str, param: str) -> bool:
        return any(self._holds(ref) for ref in self._passed(node, param))

    def _by_element(self, node: str, param: str) -> dict[str, bool]:
        """Return of each element of a list that a map goes over, by its identity, whether it holds the model."""
        arg = dict(self._run.story.nodes[node].args)[param]
        passed = self._passed(node, param)
        elements = passed if isinstance(arg, Many) else [part for ref in passed for part in ref.parts or ()]
        return {each.identity: self._holds(each) for each in elements}

    def _passed(self, node: str, param: str) -> list[Ref]:
        """Return the artifacts of other tasks that the pipeline passed to a task or map for the parameter `param`."""
        passed = []
        for out in outs(dict(self._run.story.nodes[node].args)[param]):
            whole = self._run.out(out.task)
            with suppress(Unmappable):  # the output is of an earlier code
                if whole is not None:
                    passed.append(follow(whole, out.path))
        return passed

    def _holds(self, ref: Ref) -> bool:
        """Return whether an artifact is or contains the model, or is a part of it."""
        return ref.identity in self._parts or any(each.identity == self._model.identity for each in within(ref))


def _named(run: Material, words: str) -> Chosen:
    task, path = words, ""
    if task not in run.rows:
        task, path = task_and_path(words)
    ref = run.out(task)
    if ref is None:
        what = f"task `{task}` of run `{run.view.run}` has no output"
        if task not in run.rows:
            what = f"run `{run.view.run}` has no task `{task}`"
        names = [row.name for row in run.rows.values() if row.out]
        hint = near(task, names, "tasks with an output are")
        raise NotFoundError(what, hint=hint)
    ref = part_of(ref, path, task)
    if not path:
        path, ref = next(_models(ref), ("", ref))
    return Chosen(task=task, path=path, ref=ref)


def _models(ref: Ref | None, path: str = "", depth: int = 2) -> Iterator[tuple[str, Ref]]:
    """Yield each artifact in an output that is saved as a model, with the artifact's path in the output."""
    if ref is None:
        return
    if ref.codec in MODELS or path.rpartition(".")[2] == "model":
        yield path, ref
    elif ref.parts and ref.names and depth and ref.type != REPORT:
        for name, part in zip(ref.names, ref.parts, strict=True):
            yield from _models(part, f"{path}.{name}" if path else name, depth - 1)


def trained(run: Material, chosen: Chosen) -> str:
    """Return the task that made a model.

    This is the first training task that returned exactly this artifact; later tasks may have returned it too. If no
    training task did, because a later task saved the model again, this is the first training task that returned the
    same report as that later task.
    """
    candidates = (row for row in run.rows.values() if row.kind == "train" and row.name != chosen.task)
    rows = sorted(candidates, key=lambda row: row.ordinal)
    wanted = {chosen.ref.identity}, {part.identity for part in _beside(run.out(chosen.task))}
    for identities in wanted:
        for row in rows:
            ref = run.out(row.name)
            parts = (*(part for _, part in _models(ref)), *_beside(ref))
            if any(part.identity in identities for part in parts):
                return row.name
    return chosen.task


def _beside(ref: Ref | None) -> list[Ref]:
    return [] if ref is None else [part for part in ref.parts or () if part.type == REPORT]
