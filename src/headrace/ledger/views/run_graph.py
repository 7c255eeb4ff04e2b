"""The graph of one run under one of its codes, with its tasks' rows: which task made which artifact, and which tasks
needed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property

from headrace.ledger.views.rows import outputs
from headrace.ledger.views.steps import Step, need_of, value_text
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref, blobs, decode_ref, within
from headrace.spec.graph import Node, Out, constants, outs


class RunGraph:
    """The graph of one run under one of its codes, with its tasks' rows. `is_earlier` is True if the run has got new
    code since."""

    def __init__(
        self,
        run: str,
        rows: Mapping[str, TaskRow],
        nodes: Mapping[str, Node],
        origins: Mapping[str, str],
        *,
        is_earlier: bool = False,
    ) -> None:
        self.is_earlier = is_earlier
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
        self.digests = cache(lambda name: () if (ref := ref_of(rows[name])) is None else digests_in(ref))

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
            if any(stored & set(digests_in(ref)) for _, arg in node.args for ref in constants(arg))
            or any(stored & set(self._handed(out)) for _, arg in node.args for out in outs(arg))
        ]

    def _hands(self, out: Out, digest: str) -> bool:
        return any(each.startswith(digest) for each in self._handed(out))

    def _handed(self, out: Out) -> tuple[str, ...]:
        """Return the digests of the artifact at which `out` points, and of its parts."""
        ref = ref_of(self.rows[out.task]) if out.task in self.rows else None
        for place in out.path:
            ref = ref.parts[place] if ref is not None and ref.parts and place < len(ref.parts) else None
        return () if ref is None else digests_in(ref)

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
        return frozenset(each for ref in refs for each in stored_in(ref) if each.startswith(digest))

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
            outputs=outputs(row.out, value_text),
            origin=self.origin(name),
            earlier=self.is_earlier,
        )

    def _node(self, name: str) -> Node | None:
        return self._nodes.get(name) or self._nodes.get(self.rows[name].parent or "")


def _needed(node: Node) -> list[str]:
    return list(dict.fromkeys(out.task for _, arg in node.args for out in outs(arg)))


def ref_of(row: TaskRow) -> Ref | None:
    """Return a task's output, or None if it has none."""
    return None if row.out is None else decode_ref(row.out)


def digests_in(ref: Ref) -> tuple[str, ...]:
    return tuple(each.digest for each in within(ref))


def stored_in(ref: Ref) -> frozenset[str]:
    """Return the digests of an artifact and of its parts, without those that have no bytes in the store."""
    return frozenset(each.digest for each in within(ref) if blobs(each))
