"""Finds which of a run's artifacts is its model, and which task made that model."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from headrace.errors import NotFoundError, near
from headrace.inspect.get.get import part_of, task_and_path
from headrace.inspect.run_record import Material
from headrace.inspect.views import maps
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.intent import REPORT, unlike

MODELS = frozenset({"skops", "lightgbm", "safetensors", "pickle", "folder"})
"""The codecs that models are saved with."""
MAKERS = frozenset({"prepare", "train", "stage"})
"""The kinds of stages that may make a model, or choose one.
Stages that deploy a model or bring data are of other kinds."""


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
        if not run.is_only_compared(each.task, each.ref):
            return each
        compared = compared or each
    return compared


def _outcome(run: Material, row: TaskRow) -> str:
    """Return what a task gave in place of a model, such as `gave a report`. If the task has no output, or its output
    isn't clearly something else, return the task's state."""
    ref = run.out(row.name)
    given = None if ref is None else unlike("model", ref)
    return row.state if given is None else f"gave {given}"


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
