"""Finds where an artifact comes from and what was made from it, across runs.

    lineage = Lineage(Views(address))
    trail = lineage.of_task("latest", "fit")
    [step.task for step in trail.up]

Within a run, only the traced graph says which task needs which: equal outputs don't connect two tasks. Another run is
connected if it reused the result, or if one of its tasks produced or received the same stored artifact. Values that are
so small that they are stored in the task's row in the ledger (`True`, 0, an empty list) may be equal by chance, so they
connect runs only by reuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import NotFoundError
from headrace.ledger.views.rows import OutputView, outputs
from headrace.ledger.views.views import Views
from headrace.run.events import Reused
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref, blobs, decode_ref, within
from headrace.spec.graph import Arg, Const, Node, Out, Secret, constants, outs

_ByRun = Mapping["_Run", list[str]]  # names of tasks
RUNS = 30
"""How many of the newest runs that hold an artifact are searched."""

TEXT_LIMIT = 80


class Need(Struct, frozen=True, kw_only=True):
    """The source of a parameter's value: outputs of tasks in the same run (`tasks`), or a value that the pipeline
    passed (`text`)."""

    param: str
    tasks: tuple[str, ...] = ()
    text: str | None = None
    digest: str | None = None


class Step(Struct, frozen=True, kw_only=True):
    """A task in a trail, with its run. If its output was reused, `origin` is the run that made the output.

    A result appears in a trail once; `again` lists the other runs that reused it, newest first.
    """

    run: str
    task: str
    stage: str
    state: str
    key: str | None
    code: str | None
    needs: tuple[Need, ...]
    outputs: tuple[OutputView, ...]
    origin: str | None = None
    again: tuple[str, ...] = ()


class Trail(Struct, frozen=True):
    """The lineage of an artifact, as the tasks that made it, the tasks before them, and the tasks after them.

    `made` are the tasks that produced the artifact, newest run first. `up` are the tasks that were needed to produce it
    in the newest of these runs, directly or through others, nearest first. `down` are the tasks of all runs that needed
    the artifact, directly or through others. `down` includes skipped tasks only of the run that `of_task` was called
    with.
    """

    made: tuple[Step, ...]
    up: tuple[Step, ...]
    down: tuple[Step, ...]


class Lineage:
    """Follows artifacts from task to task. Each run is read once, so create a new object to see new data."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._run = cache(self._load)
        self._kept = cache(self._unless_forgotten)
        self._had = cache(self._reused)
        self._told = cache(self._heard)
        self._numbered = cache(lambda number: self._run(views.run_id(number)))

    def of_task(self, run: str | None, task: str, part: Ref | None = None) -> Trail:
        """Return the trail of a task's output, or of a part of that output.

        Raises:
            NotFoundError: there is no such run or task.
        """
        made = self._run(self._views.find(run).run)
        row = self._views.task(made.id, task)
        ref = ref_of(row) if part is None else part
        first = made.below(task) if part is None else made.fed(task, part.digest)
        down = [made.step(name) for name in made.walk(first, made.below)]
        stored: frozenset[str] = frozenset() if ref is None else _stored(ref)
        result = made.result(task)
        holding = [] if ref is None else self._holding({ref.digest, *stored})
        steps = [made.step(task)]
        for other in holding:
            if other is not made:
                same = [name for name in other.rows if other.result(name) == result]
                steps += [other.step(name) for name in same]
                below = [other.below(name) if part is None else other.fed(name, part.digest) for name in same]
                first = [each for names in below for each in names] + other.taking(stored)
                down += other.tried(other.walk(first, other.below))
        return self._counted([_whole(steps)], self._above(made, [task]), _once(down))

    def of_artifact(self, digest: str, inside: Iterable[str] = ()) -> Trail:
        """Return the trail of an artifact, given its digest or the beginning of the digest. If it is a part that is too
        small for the store, it is found only if `inside` has the digest of the whole output.

        Raises:
            NotFoundError: no task produced the artifact.
        """
        found, stored, makers = self._giving(digest, inside)
        down = []
        for run, names in found.items():
            first = [each for name in names for each in run.fed(name, digest)] + run.taking(stored)
            down += run.tried(run.walk(first, run.below))
        latest, names = next(iter(makers.items()))
        made = _once(run.step(name) for run, names in makers.items() for name in names)
        return self._counted(made, self._above(latest, names), _once(down))

    def makers(self, digest: str) -> list[Step]:
        """Return the tasks that made an artifact, newest run first. The field `again` of these steps is always empty.

        Raises:
            NotFoundError: no task produced the artifact.
        """
        return _once(run.step(name) for run, names in self._giving(digest)[-1].items() for name in names)

    def _giving(self, digest: str, inside: Iterable[str] = ()) -> tuple[_ByRun, frozenset[str], _ByRun]:
        """Look for the artifact `digest`. Return (1) by run, the names of the tasks whose output is this artifact or
        contains it; (2) the digests of the blobs in which the store keeps it; (3) by run, the names of those tasks that
        made the artifact themselves."""
        found = {run: run.giving(digest) for run in self._holding((digest, *inside))}
        stored = frozenset(each for run, names in found.items() for each in run.stored(names, digest))
        makers = {run: run.first(names) if stored else names for run, names in found.items() if names}
        if not makers:
            raise NotFoundError(
                f"no task produced an artifact `{digest}`",
                hint="`headrace show RUN --json` lists the digests of outputs",
            )
        return found, stored, makers

    def _counted(self, *sides: Iterable[Step]) -> Trail:
        """Return the trail of these steps, each with the runs that reused its result. A run that reused the result may
        contain nothing else of the trail, so these runs are looked up for each step."""
        lists = [list(steps) for steps in sides]
        reuses = self._views.reuses({digest for steps in lists for step in steps for digest in self._digest(step)})
        return Trail(*(tuple(replace(step, again=self._again(step, reuses)) for step in steps) for steps in lists))

    def _above(self, run: _Run, names: Iterable[str]) -> list[Step]:
        """Return the steps of all tasks on which the results of these tasks depend, nearest first. If a run reused a
        result, the search continues in the run that made it, since the result was computed from that run's outputs."""
        rest = [self._made(run, name) for name in names]
        seen, steps = set(rest), []
        for maker, name in rest:
            for each in (self._made(maker, above) for above in maker.above(name) if above in maker.rows):
                if each not in seen:
                    seen.add(each)
                    rest.append(each)
                    steps.append(each[0].step(each[1]))
        return _once(steps)

    def _made(self, run: _Run, name: str) -> tuple[_Run, str]:
        """Return the run that made a task's result, and the task's name there. If that run was forgotten, return the
        given run and name."""
        origin = run.origin(name)
        if origin is None or origin == run.id:
            return run, name
        maker, result = self._kept(origin), run.result(name)
        if maker is None:
            return run, name
        if name in maker.rows and maker.result(name) == result:
            return maker, name
        found = maker.named.get(result)
        return (run, name) if found is None else (maker, found)

    def _again(self, step: Step, reuses: Mapping[tuple[str, str | None], Sequence[int]]) -> tuple[str, ...]:
        result = self._run(step.run).result(step.task)
        numbers = [number for digest in self._digest(step) for number in reuses.get((digest, step.key), ())]
        runs = map(self._numbered, numbers[:RUNS])
        return tuple(run.id for run in runs if run.id != step.run and result in run.reused)

    def _digest(self, step: Step) -> Sequence[str]:
        return self._run(step.run).digests(step.task)[:1]

    def _holding(self, digests: Iterable[str]) -> list[_Run]:
        numbers: set[int] = set()
        for digest in digests:
            numbers |= self._views.runs_holding(digest)
        return [self._numbered(number) for number in sorted(numbers, reverse=True)[:RUNS]]

    def _load(self, run: str) -> _Run:
        nodes, reused = self._told(run)
        origins = {event.task: self._maker(run, event.key) for event in reused}
        rows = self._views.rows(run)
        whole: dict[str, set[str]] = {}
        for row in rows:
            if row.parent is not None:
                whole.setdefault(row.parent, set()).add(origins.get(row.name, run))
        origins = {**{name: min(found) for name, found in whole.items() if len(found) == 1}, **origins}
        return _Run(run, {row.name: row for row in rows}, nodes, origins)

    def _unless_forgotten(self, run: str) -> _Run | None:
        try:
            return self._run(run)
        except NotFoundError:
            return None

    def _heard(self, run: str) -> tuple[Mapping[str, Node], Sequence[Reused]]:
        """Return the nodes of a run's graph and the results that the run reused, as its events record them."""
        return (story := self._views.story(run)).nodes, story.reused

    def _maker(self, run: str, key: str) -> str:
        """Return the run that made the result which `run` reused under `key`. The run from which `run` reused it may
        itself have reused it from another run, so the search continues there."""
        seen = set()
        while run not in seen:
            seen.add(run)
            run = self._had(run).get(key, run)
        return run

    def _reused(self, run: str) -> dict[str, str]:
        """Return, by key, the run that made each result that `run` reused; nothing if `run` was forgotten."""
        try:
            _, reused = self._told(run)
        except NotFoundError:
            return {}
        return {event.key: event.run or run for event in reversed(reused)}  # for equal tasks, the first counts


class _Run:
    """The graph of one run, with its tasks' rows."""

    def __init__(
        self, run: str, rows: Mapping[str, TaskRow], nodes: Mapping[str, Node], origins: Mapping[str, str]
    ) -> None:
        self.id = run
        self.rows = rows
        self._nodes = nodes
        self._origins = origins
        self._below: dict[str, list[str]] = {}
        self._elements: dict[str, list[str]] = {}
        for row in rows.values():
            if row.parent is not None:
                self._elements.setdefault(row.parent, []).append(row.name)
        for node in nodes.values():
            for name in _needed(node):
                self._below.setdefault(name, []).append(node.name)
        self.digests = cache(lambda name: () if (ref := ref_of(rows[name])) is None else _digests(ref))

    def above(self, name: str) -> list[str]:
        """Return the names of the tasks whose outputs a task needs."""
        node = self._node(name)
        return [] if node is None else _needed(node)

    def below(self, name: str) -> list[str]:
        """Return the names of the tasks that need a task's output. For an element of a map, these include the tasks
        that need the whole map."""
        return [*self._below.get(name, ()), *self._below.get(self.rows[name].parent or "", ())]

    def tried(self, names: Iterable[str]) -> list[Step]:
        """Return the steps of those of the tasks `names` that were tried or reused. Other tasks have used no input."""
        return [self.step(name) for name in names if self.rows[name].attempts or self.rows[name].out is not None]

    def fed(self, name: str, digest: str) -> list[str]:
        """Return the names of the tasks to which the task `name` passes an artifact, in its output or in a part of it.
        `digest` is the artifact's digest, or the beginning of it."""
        givers = {name, self.rows[name].parent}
        return [
            each
            for each in self.below(name)
            if any(
                self._hands(out, digest) for _, arg in self._nodes[each].args for out in outs(arg) if out.task in givers
            )
        ]

    def taking(self, stored: frozenset[str]) -> list[str]:
        """Return the names of the tasks that received one of these stored artifacts, from another task or from the
        pipeline (a cursor's value, a version of a model)."""
        if not stored:
            return []
        return [
            name
            for name, node in self._nodes.items()
            if any(stored & set(_digests(ref)) for _, arg in node.args for ref in constants(arg))
            or any(stored & set(self._handed(out)) for _, arg in node.args for out in outs(arg))
        ]

    def _hands(self, out: Out, digest: str) -> bool:
        return any(each.startswith(digest) for each in self._handed(out))

    def _handed(self, out: Out) -> tuple[str, ...]:
        """Return the digests of the artifact at which `out` points, and of its parts."""
        ref = ref_of(self.rows[out.task]) if out.task in self.rows else None
        for place in out.path:
            ref = ref.parts[place] if ref is not None and ref.parts and place < len(ref.parts) else None
        return () if ref is None else _digests(ref)

    def walk(self, first: Iterable[str], step: Callable[[str], list[str]]) -> Iterator[str]:
        """Yield these tasks and all tasks that `step` reaches from them, nearest first, each task once."""
        rest = [name for name in dict.fromkeys(first) if name in self.rows]
        seen = set(rest)
        for name in rest:
            yield name
            for each in step(name):
                if each not in seen and each in self.rows:
                    seen.add(each)
                    rest.append(each)

    def giving(self, digest: str) -> list[str]:
        """Return the names of the tasks whose output is or contains an artifact. If such a task is an element of a map,
        the mapped task itself is left out."""
        found = [name for name in self.rows if any(each.startswith(digest) for each in self.digests(name))]
        parents = {self.rows[name].parent for name in found}
        return [name for name in found if name not in parents]

    def first(self, names: Iterable[str]) -> list[str]:
        """Return the names of the tasks that made an artifact themselves.

        `names` are tasks that produced the same artifact. A task that got the artifact from another one of these tasks
        is left out.
        """
        rest = list(names)
        later = set(self.walk([each for name in rest for each in self.below(name)], self.below))
        return [name for name in rest if name not in later and self.rows[name].parent not in later]

    def stored(self, names: Iterable[str], digest: str) -> frozenset[str]:
        """Return the digests that begin with `digest` of the stored artifacts in these tasks' outputs."""
        refs = [ref for name in names if (ref := ref_of(self.rows[name])) is not None]
        return frozenset(each for ref in refs for each in _stored(ref) if each.startswith(digest))

    def result(self, name: str) -> tuple[object, ...]:
        """Return a value that is equal for two tasks of different runs only if their output is the same result. It
        consists of the key and the run that made the output. For a map, which has no key, it consists of these values
        for the map's elements."""
        row = self.rows[name]
        if row.key is None and (elements := self._elements.get(name)):
            return tuple(self.result(each) for each in elements)
        return self._origins.get(name, self.id) if row.state == "reused" else self.id, row.key or name

    @cached_property
    def named(self) -> Mapping[tuple[object, ...], str]:
        """For each result of this run, as `result` returns it, the first task that has it as its output."""
        return {self.result(name): name for name in reversed(list(self.rows))}

    @cached_property
    def reused(self) -> frozenset[tuple[object, ...]]:
        """The results that this run reused from other runs, as `result` returns them."""
        return frozenset(self.result(name) for name in self.rows if self.origin(name) not in (None, self.id))

    def origin(self, name: str) -> str | None:
        """Return the run that made a task's output if the task reused it, otherwise None."""
        return self._origins.get(name) if self.rows[name].state == "reused" else None

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
            needs=() if node is None else tuple(need_of(param, arg) for param, arg in node.args),
            outputs=outputs(row.out, _value),
            origin=self.origin(name),
        )

    def _node(self, name: str) -> Node | None:
        return self._nodes.get(name) or self._nodes.get(self.rows[name].parent or "")


def _needed(node: Node) -> list[str]:
    return list(dict.fromkeys(out.task for _, arg in node.args for out in outs(arg)))


def ref_of(row: TaskRow) -> Ref | None:
    """Return a task's output, or None if it has none."""
    return None if row.out is None else decode_ref(row.out)


def _digests(ref: Ref) -> tuple[str, ...]:
    return tuple(each.digest for each in within(ref))


def _stored(ref: Ref) -> frozenset[str]:
    """Return the digests of an artifact and of its parts, without those that have no bytes in the store."""
    return frozenset(each.digest for each in within(ref) if blobs(each))


def _once(steps: Iterable[Step]) -> list[Step]:
    """Return one step for each result: the step of the run that made the result."""
    found: dict[tuple[str, str, tuple[str, ...]], list[Step]] = {}
    for step in steps:
        place = step.origin or step.run, step.task, tuple(each.digest for each in step.outputs)
        found.setdefault(place, []).append(step)
    return [_whole(same) for same in found.values()]


def _whole(same: Sequence[Step]) -> Step:
    """Return one of several steps that have the same result: the step of the run that made the result, or if it isn't
    there, the first step."""
    return next((step for step in same if step.origin is None and step.task == same[0].task), same[0])


def need_of(param: str, arg: Arg) -> Need:
    """Return where a parameter's value comes from."""
    tasks = tuple(dict.fromkeys(out.task for out in outs(arg)))
    match arg:
        case Const(ref=ref):
            return Need(param=param, text=_text(ref), digest=ref.digest)
        case Secret(name=name):
            return Need(param=param, text=f"secret `{name}`")
        case _:
            return Need(param=param, tasks=tasks)


def _text(ref: Ref) -> str:
    """Return a small value as readable text; for any other value, return its type and size."""
    text = _value(ref)
    return f"{ref.type}, {ref.size} bytes" if text is None else text


def _value(ref: Ref) -> str | None:
    """Return the readable text of a value that is stored in the task's row in the ledger, or None."""
    text = _plain(ref)
    return text if text is None or len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def _plain(ref: Ref) -> str | None:
    if ref.parts is None:
        there = ref.inline is not None and ref.codec in ("json", "text")
        return ref.inline.decode("utf-8", "replace") if there and ref.inline is not None else None
    if ref.codec != "parts":
        return None
    found = [_plain(part) for part in ref.parts]
    if None in found:
        return None
    if ref.names:
        return f"{{{', '.join(f'{name}: {text}' for name, text in zip(ref.names, found, strict=True))}}}"
    return f"[{', '.join(text for text in found if text is not None)}]"
