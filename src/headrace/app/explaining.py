"""Explains a task of a run: what was decided, why, and what differs from the same task in the run before."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from headrace.app.past import differing
from headrace.app.project import Project
from headrace.app.state import open_store
from headrace.app.state import views as open_views
from headrace.plan.keys import told
from headrace.record.views import Views
from headrace.run.events import Opened, Renewed
from headrace.run.ports import Earlier, TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.code import Part
from headrace.spec.graph import Const, Node, Out
from headrace.spec.stage import Stage
from headrace.store.folder import FolderStore
from headrace.work.archive import files_of

DIFF_LINES = 40
_VALUE_LIMIT = 80
_decode_ref = msgspec.msgpack.Decoder(Ref).decode
_KINDS = {"distribution": "package", "environment": "python"}


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that differs: what it is, its value before and after in short, and the lines of code that changed."""

    kind: Literal["input", "function", "class", "constant", "module", "bundle", "package", "python", "platform"]
    name: str
    before: str | None
    after: str | None
    diff: tuple[str, ...] = ()


class Explanation(Struct, frozen=True, kw_only=True):
    """A task's decision and its reason; the differences are those to run `against`. `notes` say what is coarse."""

    run: str
    task: str
    decision: str
    reason: str
    key: str | None
    against: str | None
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


def explain(project: Project, run: str, task: str) -> Explanation:
    """Say what was decided about a task of a run, why, and what differs from the run before.

    Raises:
        NotFoundError: there is no such run or task.
    """
    views, store = open_views(project), open_store(project)
    view = views.find(run)
    row = views.task(view.run, task)
    stages, nodes = views.graph(view.run)
    name = row.parent or row.name
    node = next((node for node in nodes if node.name == name), None)
    stage = stages.get(node.stage) if node is not None else None
    earlier = views.earlier(view.run, task) if row.key is not None else None
    found: list[Difference] = []
    if earlier is not None and stage is not None and node is not None and earlier.key != row.key:
        found += _code(views, store, view.run, earlier.run, stage)
        found += _inputs(views, view.run, row, earlier)
        if not found:
            found.append(Difference(kind="platform", name="platform", before=None, after=None))
    return Explanation(
        run=view.run,
        task=row.name,
        decision={"succeeded": "run", "running": "run", "reused": "reuse"}.get(row.state, row.state),
        reason=row.reason,
        key=row.key,
        against=None if earlier is None else earlier.run,
        differences=tuple(found),
        notes=() if stage is None else stage.code.notes,
    )


def _code(views: Views, store: FolderStore, run: str, before: str, stage: Stage) -> Iterator[Difference]:
    then = views.graph(before)[0].get(stage.function)
    if then is None or then.code.digest == stage.code.digest:
        return
    new, old = _sources(views, store, run), _sources(views, store, before)
    for part, was in differing(then, stage):
        yield Difference(
            kind=_KINDS.get(part.kind, part.kind),  # type: ignore[arg-type]
            name=part.name,
            before=was.text if was is not None else None,
            after=part.text,
            diff=tuple(_diff(_lines(old, was), _lines(new, part))),
        )


def _sources(views: Views, store: FolderStore, run: str) -> dict[str, bytes]:
    """Give the source files of a run's bundle; none where it is gone."""
    bundle: Bundle | None = None
    for event in views.events(run):
        if isinstance(event, Opened | Renewed):
            bundle = event.bundle
    if bundle is None or store.size(bundle.digest, bundle.nonce) is None:
        return {}
    return files_of(store.path(bundle.digest, bundle.nonce).read_bytes())


def _lines(files: dict[str, bytes], part: Part | None) -> list[str]:
    """Give the lines of a part, as its place in the bundle tells."""
    if part is None or part.where is None:
        return []
    path, _, span = part.where.rpartition(":")
    first, _, last = span.partition("-")
    if path not in files or not first.isdecimal():
        return []
    return files[path].decode(errors="replace").splitlines()[int(first) - 1 : int(last or first)]


def _diff(before: list[str], after: list[str]) -> list[str]:
    lines = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
    if len(lines) > DIFF_LINES:
        lines = [*lines[:DIFF_LINES], f"... {len(lines) - DIFF_LINES} more lines"]
    return lines


def _inputs(views: Views, run: str, row: TaskRow, earlier: Earlier) -> Iterator[Difference]:
    now, then = told(row.inputs or b"\x90"), told(earlier.inputs or b"\x90")
    for name in dict.fromkeys([*now, *then]):
        if now.get(name) != then.get(name):
            yield Difference(
                kind="input",
                name=name,
                before=_shown(views, earlier.run, row.name, name, then.get(name)),
                after=_shown(views, run, row.name, name, now.get(name)),
            )


def _shown(views: Views, run: str, task: str, param: str, identity: str | None) -> str | None:
    """Say an input in short: its value where it is small, else what made it and its digest."""
    if identity is None:
        return None
    row = views.task(run, task)
    node = next((node for node in views.graph(run)[1] if node.name == (row.parent or row.name)), None)
    arg = dict(node.args).get(param) if node is not None else None
    brief = identity.rpartition(":")[2][:12]
    if isinstance(arg, Const) and node is not None and param not in node.over:
        return _value(arg.ref) or brief
    if isinstance(arg, Out):
        return _output(views, run, node, arg) or brief
    return brief


def _output(views: Views, run: str, node: Node | None, arg: Out) -> str | None:
    row = views.task(run, arg.task)
    if row.out is None or node is None:
        return None
    ref = _decode_ref(row.out)
    for position in arg.path:
        if not ref.parts or position >= len(ref.parts):
            return None
        ref = ref.parts[position]
    return f"{_value(ref) or ref.digest[:12]} (from `{arg.task}`)"


def _value(ref: Ref) -> str | None:
    if ref.codec != "json" or ref.inline is None:
        return None
    text = ref.inline.decode()
    return text if len(text) <= _VALUE_LIMIT else f"{text[: _VALUE_LIMIT - 3]}..."
