"""Where an artifact comes from and what came of it, over runs.

    lineage = Lineage(Views(address))
    trail = lineage.of_task("latest", "fit")
    [step.task for step in trail.up]

Within a run the traced graph says which task needs which, and nothing else: that two tasks gave equal values joins
nothing. Another run is joined where it reused the result, or where a task of it gave or was given the same artifact of
the store. Values that are small enough for the ledger's row are equal by chance (`True`, 0, an empty list), so they
join runs only by reuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import NotFoundError
from headrace.ledger.views.rows import OutputView, outputs
from headrace.ledger.views.views import Views
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref, blobs, part_names, within
from headrace.spec.graph import Arg, Const, Node, Out, Secret, constants, outs

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
    """One task of one run on the way. `origin` is the run that made its output, where that is reused; `again` are the
    other runs that reused it, newest first: a result stands in a trail once."""

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


class Trail(Struct, frozen=True, kw_only=True):
    """`made`: the tasks that gave it, newest run first; `up`: all that those needed, and what that needed in its turn,
    nearest first; `down`: all that needed it, in every run, and what needed that. What was skipped is told of the run
    that was asked for."""

    made: tuple[Step, ...]
    up: tuple[Step, ...]
    down: tuple[Step, ...]


class Lineage:
    """Walks the artifacts of a ledger. Runs are read once each, so make a new one to see what is new."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._run = cache(self._load)
        self._had = cache(self._reused)

    def of_task(self, run: str | None, task: str, part: Ref | None = None) -> Trail:
        """Return the trail of a task's output, or of a part of it.

        Raises:
            NotFoundError: there is no such run or task.
        """
        made = self._run(self._views.find(run).run)
        row = self._views.task(made.id, task)
        ref = _ref(row) if part is None else part
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
        up = [made.step(name) for name in made.walk(made.above(task), made.above)]
        newest = [run.id for run in holding]
        return Trail(made=(_whole(steps, newest),), up=tuple(up), down=_once(down, newest))

    def of_artifact(self, digest: str) -> Trail:
        """Return the trail of an artifact, by its digest or the beginning of it.

        Raises:
            NotFoundError: no task gave it.
        """
        runs = self._holding((digest,))
        found = {run: run.giving(digest) for run in runs}
        stored = frozenset(each for run, names in found.items() for each in run.stored(names, digest))
        makers = {run: run.first(names) if stored else names for run, names in found.items() if names}
        if not makers:
            raise NotFoundError(
                f"no task gave an artifact `{digest}`", hint="`headrace show RUN --json` lists the digests of outputs"
            )
        down = []
        for run, names in found.items():
            first = [each for name in names for each in run.fed(name, digest)] + run.taking(stored)
            down += run.tried(run.walk(first, run.below))
        latest, names = next(iter(makers.items()))
        up = latest.walk([each for name in names for each in latest.above(name)], latest.above)
        newest = [run.id for run in runs]
        return Trail(
            made=_once([run.step(name) for run, names in makers.items() for name in names], newest),
            up=tuple(latest.step(name) for name in up),
            down=_once(down, newest),
        )

    def _holding(self, digests: Iterable[str]) -> list[_Run]:
        numbers: set[int] = set()
        for digest in digests:
            numbers |= self._views.runs_holding(digest)
        newest = sorted(numbers, reverse=True)[:RUNS]
        return [self._run(self._views.run_id(number)) for number in newest]

    def _load(self, run: str) -> _Run:
        story = self._views.story(run)
        origins = {event.task: self._maker(run, event.key) for event in story.reused}
        rows = self._views.rows(run)
        whole: dict[str, set[str]] = {}
        for row in rows:
            if row.parent is not None:
                whole.setdefault(row.parent, set()).add(origins.get(row.name, run))
        origins = {**{name: min(found) for name, found in whole.items() if len(found) == 1}, **origins}
        return _Run(run, {row.name: row for row in rows}, story.nodes, origins)

    def _maker(self, run: str, key: str) -> str:
        """Return the run that made a result which this one reused. It may have had it from one that is forgotten, and
        that from another."""
        seen = set()
        while run not in seen:
            seen.add(run)
            run = self._had(run).get(key, run)
        return run

    def _reused(self, run: str) -> dict[str, str]:
        """Return from which run one had each result that it reused, by key; nothing of a run that is forgotten."""
        try:
            reused = self._views.story(run).reused
        except NotFoundError:
            return {}
        return {event.key: event.run or run for event in reversed(reused)}  # of equal tasks, the first may be another's


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
        self.digests = cache(lambda name: () if (ref := _ref(rows[name])) is None else _digests(ref))

    def above(self, name: str) -> list[str]:
        """Name the tasks whose outputs a task needs."""
        node = self._node(name)
        return [] if node is None else _needed(node)

    def below(self, name: str) -> list[str]:
        """Name the tasks that need a task's output; an element's goes on as part of its mapped task's."""
        return [*self._below.get(name, ()), *self._below.get(self.rows[name].parent or "", ())]

    def tried(self, names: Iterable[str]) -> list[Step]:
        """Return the steps of those tasks that were tried or reused: others have needed nothing."""
        return [self.step(name) for name in names if self.rows[name].attempts or self.rows[name].out is not None]

    def fed(self, name: str, digest: str) -> list[str]:
        """Name the tasks that need what a task's output holds of an artifact, by the beginning of its digest."""
        givers = {name, self.rows[name].parent}
        return [
            each
            for each in self.below(name)
            if any(
                self._hands(out, digest) for _, arg in self._nodes[each].args for out in outs(arg) if out.task in givers
            )
        ]

    def taking(self, stored: frozenset[str]) -> list[str]:
        """Name the tasks that need one of these artifacts of the store, whoever gave it: another task, or the pipeline
        (a cursor's value, a version of a model)."""
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
        """Return the digests of what a handle names, and of all its parts."""
        ref = _ref(self.rows[out.task]) if out.task in self.rows else None
        for place in out.path:
            ref = ref.parts[place] if ref is not None and ref.parts and place < len(ref.parts) else None
        return () if ref is None else _digests(ref)

    def walk(self, first: Iterable[str], step: Callable[[str], list[str]]) -> Iterator[str]:
        """Yield these tasks and all that lie that way, nearest first, each once."""
        rest = [name for name in dict.fromkeys(first) if name in self.rows]
        seen = set(rest)
        for name in rest:
            yield name
            for each in step(name):
                if each not in seen and each in self.rows:
                    seen.add(each)
                    rest.append(each)

    def giving(self, digest: str) -> list[str]:
        """Name the tasks that gave an artifact, as their output or part of it; elements before their mapped task."""
        found = [name for name in self.rows if any(each.startswith(digest) for each in self.digests(name))]
        parents = {self.rows[name].parent for name in found}
        return [name for name in found if name not in parents]

    def first(self, names: Iterable[str]) -> list[str]:
        """Of tasks that gave one artifact, name those that didn't merely pass it on."""
        rest = list(names)
        later = set(self.walk([each for name in rest for each in self.below(name)], self.below))
        return [name for name in rest if name not in later and self.rows[name].parent not in later]

    def stored(self, names: Iterable[str], digest: str) -> frozenset[str]:
        """Return the digests, of those that begin so, of artifacts of the store in these tasks' outputs."""
        refs = [ref for name in names if (ref := _ref(self.rows[name])) is not None]
        return frozenset(each for ref in refs for each in _stored(ref) if each.startswith(digest))

    def result(self, name: str) -> tuple[object, ...]:
        """Return what tells whether a task's output is the very one of another run: who made it, under which key; of a
        map, which has no key of its own, what tells it of each element."""
        row = self.rows[name]
        if row.key is None and (elements := self._elements.get(name)):
            return tuple(self.result(each) for each in elements)
        return self._origins.get(name, self.id) if row.state == "reused" else self.id, row.key or name

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
            outputs=outputs(row.out, _value),
            origin=self._origins.get(name) if row.state == "reused" else None,
        )

    def _node(self, name: str) -> Node | None:
        return self._nodes.get(name) or self._nodes.get(self.rows[name].parent or "")


def _needed(node: Node) -> list[str]:
    return list(dict.fromkeys(out.task for _, arg in node.args for out in outs(arg)))


def _ref(row: TaskRow) -> Ref | None:
    return None if row.out is None else _decode_ref(row.out)


def _digests(ref: Ref) -> tuple[str, ...]:
    return tuple(each.digest for each in within(ref))


def _stored(ref: Ref) -> frozenset[str]:
    """Return the digests, of an artifact and its parts, of those that have bytes in the store."""
    return frozenset(each.digest for each in within(ref) if blobs(each))


def _once(steps: Iterable[Step], newest: Sequence[str]) -> tuple[Step, ...]:
    """Return each result once, as the run that made it has it, with those that reused it, in the order of `newest`."""
    found: dict[tuple[str, str, tuple[str, ...]], list[Step]] = {}
    for step in steps:
        place = step.origin or step.run, step.task, tuple(each.digest for each in step.outputs)
        found.setdefault(place, []).append(step)
    return tuple(_whole(same, newest) for same in found.values())


def _whole(same: Sequence[Step], newest: Sequence[str]) -> Step:
    """Return the one step for all that have a result: that of the run that made it, or else the first; of tasks of
    other names, it has the runs only."""
    first = next((step for step in same if step.origin is None and step.task == same[0].task), same[0])
    reused = {step.run for step in same if step.origin not in (None, step.run)} - {first.run}
    return replace(first, again=tuple(run for run in newest if run in reused))


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
    text = _value(ref)
    return f"{ref.type}, {ref.size} bytes" if text is None else text


def _value(ref: Ref) -> str | None:
    """Write a value that the ledger's row holds as people know it; None of another."""
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


def judged(views: Views, run: str, tasks: Iterable[str]) -> dict[str, str]:
    """Return what each call of a stage that judges has judged, where a run has several calls of it: `fit[1].model`.

    Calls that judge one model are told apart by the next arguments in which they differ.
    """
    bases = dict.fromkeys(_CALL.sub("", each) for each in tasks)
    twice = [  # an element of a map is no call
        each
        for each in bases
        if not each.endswith("]") and views.has(run, f"{each}[1]") and views.task(run, f"{each}[1]").kind == "evaluate"
    ]
    found: dict[str, str] = {}
    nodes = views.story(run).nodes if twice else {}
    for base in twice:
        found |= _apart(views, run, [node for node in nodes.values() if _CALL.sub("", node.name) == base])
    return found


def _apart(views: Views, run: str, calls: Sequence[Node]) -> dict[str, str]:
    given = [dict(call.args) for call in calls]
    params = sorted(dict.fromkeys(param for each in given for param in each), key=lambda each: each != "model")
    words: list[str] = [""] * len(calls)
    for param in params:
        told = ["" if param not in each else _told(views, run, param, each[param]) for each in given]
        if len(set(told)) > 1:
            words = [", ".join(filter(None, each)) for each in zip(words, told, strict=True)]
        if len(set(words)) == len(words):
            break
    return {call.name: each for call, each in zip(calls, words, strict=True) if each}


def _told(views: Views, run: str, param: str, arg: Arg) -> str:
    if isinstance(arg, Out):
        return f"`{_part(views, run, arg)}`"
    need = _need(param, arg)
    return f"`{param}` of {', '.join(f'`{each}`' for each in need.tasks)}" if need.tasks else f"{param}={need.text}"


def _part(views: Views, run: str, out: Out) -> str:
    """Name what a handle names, `fit.model`, as far as the record tells."""
    ref = _ref(views.task(run, out.task)) if out.path and views.has(run, out.task) else None
    return ".".join([out.task, *part_names(ref, out.path)])


_CALL = re.compile(r"\[\d+\]$")
"""What a stage's second and later calls have behind its name."""
