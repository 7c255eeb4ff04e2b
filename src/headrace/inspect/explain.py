"""Explains a task of a run: what was decided, why, and what differs from the same task in an earlier run."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from headrace.inspect.argument_code import code_given
from headrace.inspect.gates import Rule, refusal
from headrace.inspect.history import differing, stage_then
from headrace.inspect.metrics.metrics import Load, loader
from headrace.inspect.run_record import Material, material, material_before
from headrace.inspect.stage_code import changed_lines, lines_of
from headrace.inspect.value_text import READ_BYTES, holds_code, value_text
from headrace.inspect.views import Views
from headrace.plan.keys import told
from headrace.plan.resolve import Unmappable, follow
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.project.state import views as open_views
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref, part_names
from headrace.spec.code import Code
from headrace.spec.graph import Const, Out
from headrace.spec.intent import CURSOR
from headrace.spec.stage import Stage
from headrace.stages.ingest.cursor import reached
from headrace.store.store import Store

_VALUE_LIMIT = 80
_NO_INPUTS = b"\x90"
_WIDTH = 120
_KINDS = {"distribution": "package", "environment": "python"}


class Difference(Struct, frozen=True, kw_only=True):
    """One difference: its kind and name, a short form of the value before and after,
    and the lines of code that changed.

    `before` and `after` are each None if the thing did not exist at that time, or if its value had no short form.
    """

    kind: Literal["input", "function", "class", "constant", "module", "file", "bundle", "package", "python", "platform"]
    name: str
    before: str | None
    after: str | None
    diff: tuple[str, ...] = ()


class Explanation(Struct, frozen=True, kw_only=True):
    """The decision about a task, its reason, and the differences from the same task in the run `against`. If
    `against` is this very run, they are the differences from the task as it was before the run was resumed with new
    code.

    `notes` say where the key covers more code than the task uses. `elements` are the names of a map's elements that
    ran, or of all elements if none ran; each element has its own explanation.

    If the task was skipped because a `when=` was false, `gate` is the task that gave the false value, and `rules` are
    the rules of the gate's report that do not hold.

    If the run uses several pools, `pool_reason` says why the task's last attempt went to `pool`.
    """

    run: str
    task: str
    decision: str
    reason: str
    key: str | None
    against: str | None
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    gate: str | None = None
    rules: tuple[Rule, ...] = ()
    elements: tuple[str, ...] = ()
    pool: str | None = None
    pool_reason: str | None = None


def explain(project: Project, run: str, task: str) -> Explanation:
    """Return what was decided about a task of a run, why, and what differs from an earlier run.

    The earlier run is the pipeline's latest run that has a key for the task and that had ended when this run began. For
    a reused task, it is the run that made the output. If this run got new code after the task had succeeded, the task
    is compared with what it was under the old code.

    Raises:
        NotFoundError: there is no such run or task.
    """
    with open_views(project) as views:
        return _explain(views, reading_store(project), run, task)


def _explain(views: Views, store: Store, run: str, task: str) -> Explanation:
    load = loader(store)
    now = material(views, run)
    row = now.rows.get(task) or views.task(now.view.run, task)
    name = row.parent or row.name
    node, stage = now.node(task), now.stage(task)
    against, then = _earlier(views, now, row)
    held = refusal(views, now.view.run, name, load) if row.state == "skipped" else None
    return Explanation(
        run=now.view.run,
        task=row.name,
        decision={"succeeded": "run", "running": "run", "reused": "reuse"}.get(row.state, row.state),
        reason=_reason(now, row),
        key=row.key,
        against=against,
        differences=() if then is None or stage is None else tuple(_differences(store, then, now, row, stage)),
        notes=() if stage is None else stage.code.notes,
        gate=None if held is None else held.gate,
        rules=() if held is None else held.rules,
        elements=_elements(now, row.name) if node is not None and node.over else (),
        pool=row.pool,
        pool_reason=row.pool_reason,
    )


def _reason(run: Material, row: TaskRow) -> str:
    """Return why a task ended as it did. For a map with some reused elements,
    add how many elements are in which state."""
    states = Counter(each.state for each in run.rows.values() if each.parent == row.name)
    if not states["reused"] or len(states) == 1:
        return row.reason
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"{row.reason} ({counts})"


def _elements(run: Material, name: str) -> tuple[str, ...]:
    rows = [row for row in run.rows.values() if row.parent == name]
    return tuple(row.name for row in rows if row.state != "reused") or tuple(row.name for row in rows)


def _earlier(views: Views, now: Material, row: TaskRow) -> tuple[str | None, Material | None]:
    """Return the run to compare a task with, or None. Also return that run's record if the task had another key there.

    For a reused task, that is the run that made the output. For a task that had succeeded before the run `now` got new
    code, it is `now` itself as it was then. For any other task, it is the pipeline's latest run that has a key for the
    task and that had ended when `now` began.
    """
    if row.key is None:
        return None, None
    if row.state == "reused" and (origin := now.story.origins.get(row.name)):
        return origin, None
    then = None if row.state == "reused" else material_before(views, now, row.name)
    if then is None and (earlier := views.earlier(now.view.run, row.name)) is not None:
        then = material(views, earlier.run)
    if then is None:
        return None, None
    return then.view.run, then if then.rows[row.name].key != row.key else None


def _differences(store: Store, then: Material, now: Material, row: TaskRow, stage: Stage) -> Iterator[Difference]:
    """Yield what differs between the key of a task in the record `then` and its key `now`."""
    load = loader(store)
    was = stage_then(then.story, row.parent or row.name, stage) or stage
    code = _CodeDifferences(store, then, now)
    changed = [*code.between(was.code, stage.code)]
    if not changed and was.code.digest != stage.code.digest:
        changed = [Difference(kind="function", name=stage.name, before=None, after=None)]
    yield from changed
    for each in _inputs(load, then, now, row.name):
        yield each
        yield from code.given(then, now, row.name, each.name)
    places = [_platform(then, was), _platform(now, stage)]
    if places[0] != places[1]:
        yield Difference(kind="platform", name="platform", before=places[0], after=places[1])


def _platform(run: Material, stage: Stage) -> str | None:
    """Return the platform in a task's key, or None if the stage is portable."""
    bundle = None if stage.portable else run.story.bundle
    return None if bundle is None else bundle.platform


def _identities(run: Material, task: str) -> dict[str, str]:
    """Return the identities of the inputs in a task's key, by parameter."""
    return told(run.rows[task].inputs or _NO_INPUTS)


class _CodeDifferences:
    """Finds what differs between the code in two records, with the lines. A part that several functions reach is
    returned only once."""

    def __init__(self, store: Store, then: Material, now: Material) -> None:
        self._old = cache(lambda: then.files(store))
        self._new = cache(lambda: now.files(store))
        self._told: set[tuple[str, str]] = set()

    def between(self, then: Code, now: Code) -> Iterator[Difference]:
        """Yield the differences between `then` and `now`, the code that a function reached in the two records."""
        if then.digest == now.digest:
            return
        for part, was in differing(then, now):
            if (part.kind, part.name) in self._told:
                continue
            self._told.add((part.kind, part.name))
            yield Difference(
                kind=_KINDS.get(part.kind, part.kind),  # type: ignore[arg-type]
                name=part.name,
                before=was.text if was is not None else None,
                after=part.text,
                diff=tuple(changed_lines(lines_of(self._old(), was), lines_of(self._new(), part))),
            )

    def given(self, then: Material, now: Material, task: str, param: str) -> Iterator[Difference]:
        """Yield how the functions in an argument of a task differ between two records."""
        codes = [_given_code(each, task, param) for each in (then, now)]
        if codes[0] is not None and codes[1] is not None:
            yield from self.between(codes[0], codes[1])


def _given_code(run: Material, task: str, param: str) -> Code | None:
    node = run.node(task)
    return None if node is None else code_given(node, param, run.story.codes, _identities(run, task).get(param, ""))


def _inputs(load: Load, then: Material, now: Material, task: str) -> Iterator[Difference]:
    old, new = _identities(then, task), _identities(now, task)
    for name in dict.fromkeys([*new, *old]):
        if new.get(name) == old.get(name):
            continue
        before = _given(load, then, task, name, old.get(name))
        after = _given(load, now, task, name, new.get(name))
        yield Difference(
            kind="input",
            name=name,
            before=None if before is None else before.brief,
            after=None if after is None else after.brief,
            diff=tuple(_changed(before, after)),
        )


class _Given(NamedTuple):
    """The short form of an input, and the input's lines if the input is readable text. `is_whole` is True if the short
    form shows the whole input."""

    brief: str
    lines: Sequence[str] = ()
    is_whole: bool = False


def _changed(before: _Given | None, after: _Given | None) -> Sequence[str]:
    """Return the lines that differ, if a value is too long to be shown whole."""
    if before is None or after is None or (before.is_whole and after.is_whole):
        return ()
    return changed_lines(before.lines, after.lines) if before.lines and after.lines else ()


def _given(load: Load, run: Material, task: str, param: str, identity: str | None) -> _Given | None:
    """Return an input of a task: its value if it can be shown, otherwise its digest, with the task that made it."""
    if identity is None:
        return None
    node = run.node(task)
    arg = dict(node.args).get(param) if node is not None else None
    brief = identity.rpartition(":")[2][:12]
    if isinstance(arg, Const) and node is not None and param not in node.over:
        return _value(arg.ref, load, brief)
    if isinstance(arg, Out):
        whole = run.out(arg.task)
        ref = _at(whole, arg.path)
        given = _Given(brief) if ref is None else _value(ref, load, ref.digest[:12])
        named = ".".join([arg.task, *part_names(whole, arg.path)])
        return given._replace(brief=f"{given.brief} (from `{named}`)")
    return _Given(brief)


def _at(ref: Ref | None, path: tuple[int, ...]) -> Ref | None:
    """Return the part of an artifact at a path. Return None if there is no such part, or if `ref` is None."""
    try:
        return None if ref is None else follow(ref, path)
    except Unmappable:
        return None


def _value(ref: Ref, load: Load, brief: str) -> _Given:
    """Return a plain value as text. The short form is the value itself if that is short, otherwise `brief`.

    For the cursor of a ready-made stage, the short form says how far the stage has read its source."""
    if ref.codec == "file":
        return _Given(brief, _file_lines(ref, load))
    given = _plain(ref, load, brief)
    held = dict(zip(ref.names or (), ref.parts or (), strict=False)).get("value") if ref.type == CURSOR else None
    words = reached(held, load) if held is not None and held.names else None
    return given if words is None else _Given(f"{words} ({brief})", given.lines)


def _plain(ref: Ref, load: Load, brief: str) -> _Given:
    text = value_text(ref, load)
    if text is None:
        return _Given(brief)
    is_json = ref.codec != "text" and not holds_code(ref) and text.startswith(("{", "["))
    shown = msgspec.json.format(text, indent=2) if is_json else text
    lines = [part for line in shown.splitlines() for part in textwrap.wrap(line, _WIDTH) or [""]]
    if len(text) > _VALUE_LIMIT or len(text.splitlines()) > 1:
        return _Given(brief, lines)
    return _Given(text or '""', lines, is_whole=True)


def _file_lines(ref: Ref, load: Load) -> Sequence[str]:
    """Return the lines of a file if it is text and not large, such as a contract or a list of words."""
    data = load(ref.parts[0]) if ref.parts and ref.size <= READ_BYTES else None
    try:
        return data.decode().splitlines() if isinstance(data, bytes) else ()
    except UnicodeDecodeError:
        return ()
