"""Explains a task of a run: what was decided, why, and what differs from the same task in an earlier run."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from headrace.inspect.argument_code import code_given
from headrace.inspect.gates import Rule, refusal
from headrace.inspect.history import differing, stage_then
from headrace.inspect.metrics.metrics import Load, loader
from headrace.inspect.stage_code import changed_lines, lines_of, sources
from headrace.inspect.value_text import READ_BYTES, holds_code, value_text
from headrace.inspect.views import Views
from headrace.plan.keys import told
from headrace.plan.resolve import Unmappable, follow
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.project.state import views as open_views
from headrace.run.ports import Earlier, TaskRow
from headrace.run.story import Story
from headrace.spec.artifact import Ref, part_names
from headrace.spec.bundle import Bundle
from headrace.spec.code import Code
from headrace.spec.graph import Const, Out
from headrace.spec.intent import CURSOR
from headrace.spec.stage import Stage
from headrace.stages.ingest.cursor import reached
from headrace.store.store import Store

_VALUE_LIMIT = 80
_NO_INPUTS = b"\x90"
_WIDTH = 120
_decode_ref = msgspec.msgpack.Decoder(Ref).decode
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
    """The decision about a task, its reason, and the differences from the same task in the run `against`.

    `notes` say where the key covers more code than the task uses. `elements` are the names of a map's elements that
    ran, or of all elements if none ran; each element has its own explanation.

    If the task was skipped because a `when=` was false, `gate` is the task that gave the false value, and `rules` are
    the rules of the gate's report that do not hold.
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


def explain(project: Project, run: str, task: str) -> Explanation:
    """Return what was decided about a task of a run, why, and what differs from an earlier run.

    The earlier run is the last run that had ended before this run began. For a reused task, it is the run that made the
    output.

    Raises:
        NotFoundError: there is no such run or task.
    """
    with open_views(project) as views:
        return _explain(views, reading_store(project), run, task)


def _explain(views: Views, store: Store, run: str, task: str) -> Explanation:
    view = views.find(run)
    load = loader(store)
    row = views.task(view.run, task)
    story = views.story(view.run)
    name = row.parent or row.name
    node = story.nodes.get(name)
    stage = story.stages.get(node.stage) if node is not None else None
    earlier = _earlier(views, view.run, row)
    differences: list[Difference] = []
    if earlier is not None and stage is not None and node is not None and earlier.key != row.key:
        then = views.story(earlier.run)
        code = _CodeDifferences(views, store, view.run, earlier.run)
        was = stage_then(then, name, stage) or stage
        differences += code.between(was.code, stage.code)
        if not differences and was.code.digest != stage.code.digest:
            differences.append(Difference(kind="function", name=stage.name, before=None, after=None))
        for each in _inputs(views, load, view.run, row, earlier):
            differences.append(each)
            differences += code.given((then, earlier.inputs), (story, row.inputs), name, each.name)
        places = [_platform(views, each.run, at) for each, at in ((earlier, was), (view, stage))]
        if places[0] != places[1]:
            differences.append(Difference(kind="platform", name="platform", before=places[0], after=places[1]))
    held = refusal(views, view.run, name, load) if row.state == "skipped" else None
    return Explanation(
        run=view.run,
        task=row.name,
        decision={"succeeded": "run", "running": "run", "reused": "reuse"}.get(row.state, row.state),
        reason=_reason(views, view.run, row),
        key=row.key,
        against=None if earlier is None else earlier.run,
        differences=tuple(differences),
        notes=() if stage is None else stage.code.notes,
        gate=None if held is None else held.gate,
        rules=() if held is None else held.rules,
        elements=_elements(views, view.run, row.name) if node is not None and node.over else (),
    )


def _platform(views: Views, run: str, stage: Stage) -> str | None:
    """Return the platform in a task's key, or None if the stage is portable."""
    bundle = None if stage.portable else _bundle(views, run)
    return None if bundle is None else bundle.platform


def _reason(views: Views, run: str, row: TaskRow) -> str:
    """Return why a task ended as it did. For a map with some reused elements,
    add how many elements are in which state."""
    states = Counter(each.state for each in views.rows(run) if each.parent == row.name)
    if not states["reused"] or len(states) == 1:
        return row.reason
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"{row.reason} ({counts})"


def _elements(views: Views, run: str, name: str) -> tuple[str, ...]:
    rows = [row for row in views.rows(run) if row.parent == name]
    return tuple(row.name for row in rows if row.state != "reused") or tuple(row.name for row in rows)


def _earlier(views: Views, run: str, row: TaskRow) -> Earlier | None:
    """Return the earlier task to compare a task with, or None.

    For a reused task, it is the task that made the output. For any other task, it is the same task in the last run
    before this run.
    """
    if row.key is None:
        return None
    if row.state == "reused" and (origin := views.story(run).origins.get(row.name)):
        return Earlier(run=origin, key=row.key, code=row.code or "", inputs=row.inputs or b"")
    return views.earlier(run, row.name)


class _CodeDifferences:
    """Finds what differs between the code of two runs, with the lines. A part that several functions reach is returned
    only once."""

    def __init__(self, views: Views, store: Store, run: str, before: str) -> None:
        self._new = cache(lambda: _sources(views, store, run))
        self._old = cache(lambda: _sources(views, store, before))
        self._told: set[tuple[str, str]] = set()

    def between(self, then: Code, now: Code) -> Iterator[Difference]:
        """Yield the differences between `then` and `now`, the code that a function reached in the two runs."""
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

    def given(
        self, then: tuple[Story, bytes | None], now: tuple[Story, bytes | None], node: str, param: str
    ) -> Iterator[Difference]:
        """Yield how the functions in an argument of a task differ between two runs.

        `then` and `now` are each a run's story with the task's encoded inputs.
        """
        codes = [_given_code(graph, inputs, node, param) for graph, inputs in (then, now)]
        if codes[0] is not None and codes[1] is not None:
            yield from self.between(codes[0], codes[1])


def _given_code(story: Story, inputs: bytes | None, name: str, param: str) -> Code | None:
    node = story.nodes.get(name)
    return None if node is None else code_given(node, param, story.codes, told(inputs or _NO_INPUTS).get(param, ""))


def _sources(views: Views, store: Store, run: str) -> Mapping[str, bytes]:
    """Return the source files of a run's bundle, or none if the bundle is gone."""
    return sources(store, _bundle(views, run))


def _bundle(views: Views, run: str) -> Bundle | None:
    return views.story(run).bundle


def _inputs(views: Views, load: Load, run: str, row: TaskRow, earlier: Earlier) -> Iterator[Difference]:
    now, then = told(row.inputs or _NO_INPUTS), told(earlier.inputs or _NO_INPUTS)
    for name in dict.fromkeys([*now, *then]):
        if now.get(name) == then.get(name):
            continue
        before = _given(views, load, earlier.run, row.name, name, then.get(name))
        after = _given(views, load, run, row.name, name, now.get(name))
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


def _given(views: Views, load: Load, run: str, task: str, param: str, identity: str | None) -> _Given | None:
    """Return an input of a task: its value if it can be shown, otherwise its digest, with the task that made it."""
    if identity is None:
        return None
    row = views.task(run, task)
    node = views.story(run).nodes.get(row.parent or row.name)
    arg = dict(node.args).get(param) if node is not None else None
    brief = identity.rpartition(":")[2][:12]
    if isinstance(arg, Const) and node is not None and param not in node.over:
        return _value(arg.ref, load, brief)
    if isinstance(arg, Out):
        source = views.task(run, arg.task)
        whole = None if source.out is None else _decode_ref(source.out)
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

    The short form of the value of a ready-made stage's cursor says how far the stage has read its source."""
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
