"""Where an artifact comes from and what came of it, over runs.

    lineage = Lineage(Views(path))
    trail = lineage.of_task("latest", "fit")
    [step.task for step in trail.up]

Within a run the traced graph says which task needs which; from run to run an artifact is the same by its digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache

import msgspec
from msgspec import Struct

from headrace.errors import NotFoundError
from headrace.record.views import OutputView, Views, outputs
from headrace.run.events import Renewed, Reused, Traced
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Node, Secret, outs

RUNS = 30
"""How many of the newest runs that hold an artifact are looked into."""

TEXT_LIMIT = 80

_decode_ref = msgspec.msgpack.Decoder(Ref).decode


class Need(Struct, frozen=True, kw_only=True):
    """What a parameter got: outputs of tasks of the same run, or a value that the pipeline gave it (`text`)."""

    param: str
    tasks: tuple[str, ...] = ()
    text: str | None = None
    digest: str | None = None


class Step(Struct, frozen=True, kw_only=True):
    """One task of one run on the way. `origin` is the run that made its output, where that is reused."""

    run: str
    task: str
    stage: str
    state: str
    key: str | None
    code: str | None
    needs: tuple[Need, ...]
    outputs: tuple[OutputView, ...]
    origin: str | None = None


class Trail(Struct, frozen=True, kw_only=True):
    """`made`: the tasks that gave it, newest run first; `up`: all that those needed, and what that needed in its turn,
    nearest first; `down`: all that needed it, in every run, and what needed that."""

    made: tuple[Step, ...]
    up: tuple[Step, ...]
    down: tuple[Step, ...]


class Lineage:
    """Walks the artifacts of a ledger. Runs are read once each, so make a new one to see what is new."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._run = cache(self._load)

    def of_task(self, run: str | None, task: str) -> Trail:
        """Give the trail of a task's output.

        Raises:
            NotFoundError: there is no such run or task.
        """
        run_id = self._views.find(run).run
        row = self._views.task(run_id, task)
        made = self._run(run_id)
        others = self._holding(_digests(row)) if row.out is not None else ()
        return self._trail([(made, [task])], others)

    def of_artifact(self, digest: str) -> Trail:
        """Give the trail of an artifact, by its digest or the beginning of it.

        Raises:
            NotFoundError: no task gave it.
        """
        found = [(run, run.giving(digest)) for run in self._holding((digest,))]
        makers = [(run, names) for run, names in found if names]
        if not makers:
            raise NotFoundError(
                f"no task gave an artifact `{digest}`", hint="`headrace show RUN --json` lists the digests of outputs"
            )
        return self._trail(makers, [run for run, _ in found])

    def _trail(self, makers: Sequence[tuple[_Run, list[str]]], others: Iterable[_Run]) -> Trail:
        made = [run.step(name) for run, names in makers for name in names]
        newest, names = makers[0]
        up = [newest.step(name) for name in newest.walk(names, newest.above)]
        given = {each.digest for step in made for each in step.outputs}
        down = []
        for run in {run.id: run for run in (*(run for run, _ in makers), *others)}.values():
            starts = [name for name in run.rows if given & set(run.digests(name))]
            down += [run.step(name) for name in run.walk(starts, run.below)]
        return Trail(made=tuple(made), up=tuple(up), down=tuple(down))

    def _holding(self, digests: Iterable[str]) -> list[_Run]:
        numbers: set[int] = set()
        for digest in digests:
            numbers |= self._views.runs_holding(digest)
        newest = sorted(numbers, reverse=True)[:RUNS]
        return [self._run(self._views.run_id(number)) for number in newest]

    def _load(self, run: str) -> _Run:
        nodes: list[Node] = []
        origins: dict[str, str] = {}
        for event in self._views.events(run):
            match event:
                case Traced(nodes=new):
                    nodes += new
                case Renewed():
                    nodes.clear()
                case Reused(task=task, run=origin):
                    origins[task] = origin or run
        return _Run(run, {row.name: row for row in self._views.rows(run)}, nodes, origins)


class _Run:
    """The graph of one run, with its tasks' rows."""

    def __init__(
        self, run: str, rows: Mapping[str, TaskRow], nodes: Sequence[Node], origins: Mapping[str, str]
    ) -> None:
        self.id = run
        self.rows = rows
        self._nodes = {node.name: node for node in nodes}
        self._origins = origins
        self._below: dict[str, list[str]] = {}
        for node in nodes:
            for name in _needed(node):
                self._below.setdefault(name, []).append(node.name)
        self.digests = cache(lambda name: _digests(rows[name]))

    def above(self, name: str) -> list[str]:
        """Name the tasks whose outputs a task needs."""
        node = self._node(name)
        return [] if node is None else _needed(node)

    def below(self, name: str) -> list[str]:
        """Name the tasks that need a task's output; an element's goes on as part of its mapped task's."""
        return [*self._below.get(name, ()), *self._below.get(self.rows[name].parent or "", ())]

    def walk(self, starts: Iterable[str], step: Callable[[str], list[str]]) -> Iterator[str]:
        """Give all tasks that lie that way, nearest first, each once, without the starts."""
        rest = list(starts)
        seen = set(rest)
        for name in rest:
            for each in step(name):
                if each not in seen and each in self.rows:
                    seen.add(each)
                    rest.append(each)
                    yield each

    def giving(self, digest: str) -> list[str]:
        """Name the tasks that gave an artifact, as their output or part of it; elements before their mapped task."""
        found = [name for name in self.rows if any(each.startswith(digest) for each in self.digests(name))]
        parents = {self.rows[name].parent for name in found}
        return [name for name in found if name not in parents]

    def step(self, name: str) -> Step:
        row = self.rows[name]
        node = self._node(name)
        return Step(
            run=self.id,
            task=name,
            stage=row.stage,
            state=row.state,
            key=row.key,
            code=row.code,
            needs=() if node is None else tuple(_need(param, arg) for param, arg in node.args),
            outputs=outputs(row.out),
            origin=self._origins.get(name) if row.state == "reused" else None,
        )

    def _node(self, name: str) -> Node | None:
        return self._nodes.get(name) or self._nodes.get(self.rows[name].parent or "")


def _needed(node: Node) -> list[str]:
    return list(dict.fromkeys(out.task for _, arg in node.args for out in outs(arg)))


def _digests(row: TaskRow) -> tuple[str, ...]:
    """Give the digests of an output and of all its parts."""
    if row.out is None:
        return ()
    rest = [_decode_ref(row.out)]
    for ref in rest:
        rest.extend(ref.parts or ())
    return tuple(ref.digest for ref in rest)


def _need(param: str, arg: Arg) -> Need:
    tasks = tuple(dict.fromkeys(out.task for out in outs(arg)))
    match arg:
        case Const(ref=ref):
            return Need(param=param, text=_text(ref), digest=ref.digest)
        case Secret(name=name):
            return Need(param=param, text=f"secret `{name}`")
        case _:
            return Need(param=param, tasks=tasks)


def _text(ref: Ref) -> str:
    """Write a small value as people know it; of another, say what it is."""
    if ref.inline is None or ref.codec not in ("json", "text"):
        return f"{ref.type}, {ref.size} bytes"
    text = ref.inline.decode("utf-8", "replace")
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
