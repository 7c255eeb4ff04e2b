"""Where our backends stand for their contract."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import psutil
from msgspec.structs import replace

from headrace.backends.local.backend import LocalBackend
from headrace.backends.processes.namespace import Namespace
from headrace.backends.simulated.backend import SimulatedBackend
from headrace.backends.simulated.behaviour import Ask, Behaviour, Death, Decline, Keep, Listen, Say, Stopped, Wait
from headrace.backends.simulated.cluster import Cluster
from headrace.codec.codecs import Codecs
from headrace.run.events import Asked, TraceEnded
from headrace.run.wire import Answer, Do, Question, Refused, Trace
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool
from headrace.spec.graph import Const
from headrace.testing.backend_setup import KEY, Deed, WorkerStand
from headrace.testing.blobs import MemoryBlobs
from headrace.testing.graphs import Sketch

MARK = "HEADRACE_CONTRACT"


class LocalStand(WorkerStand):
    """The local backend; with a namespace, its workers see neither ledger nor project, and no network."""

    def __init__(self, folder: Path, *, namespace: bool = False) -> None:
        super().__init__(folder)
        self.hides = self.isolated = namespace
        self._epochs = itertools.count(1)
        self.prefix: list[str] = []
        if namespace:
            shown = (self.store.local, self.local)
            self.prefix = Namespace(
                hidden=(self.project,), shown=shown, readable=(self.other,), network=False, closed=True
            ).command()

        self.hello = replace(self.hello, variables=(MARK, *self.hello.variables))

    def backend(self) -> LocalBackend:
        os.environ[MARK] = str(self.project)
        return LocalBackend(
            self.pool, self.hello, self.store.spool, epoch=next(self._epochs), prefix=self.prefix, grace_s=0.5
        )

    def living(self) -> list[psutil.Process]:
        """Return the processes that were begun with this stand's mark in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.project) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


class SimulatedStand:
    """The simulated backend, on a cluster that outlives it."""

    def __init__(self, *, adopts: bool = False) -> None:
        self._adopts = adopts
        self._cluster = Cluster(_script, tracer=_trace)
        self._pool = Pool(name="there", cpu=100, memory_gib=100, nodes=4, backend="simulated")

    def backend(self) -> SimulatedBackend:
        return SimulatedBackend(self._pool, self._cluster, adopts=self._adopts)

    def order(self, deed: Deed, task: str, **args: object) -> Do:
        given = tuple([(name, Const(_inline(value))) for name, value in args.items()])
        return Do(task=task, attempt=1, key=KEY, function=deed, args=given, code="")

    def value(self, out: Ref) -> object:
        return Codecs().load(out, MemoryBlobs(), safe_only=False)  # type: ignore[arg-type]  # all of its values are inline

    def living(self) -> list[str]:
        return ["a worker"] * self._cluster.living


def _inline(value: object) -> Ref:
    if isinstance(value, bytes):
        return Ref(digest="0" * 64, size=len(value), codec="bytes", type="builtins.bytes", inline=value)
    return Codecs().save(value, MemoryBlobs())  # type: ignore[arg-type]  # all of its values are inline


def _script(order: Do) -> Behaviour:
    args = {name: arg.ref for name, arg in order.args if isinstance(arg, Const)}
    match order.function:
        case "fail":
            length = int(args["length"].inline or b"") if args else 1
            raise ValueError("x" * length)
        case "leave":
            raise Death("crash")
        case "eat":
            raise Death("memory", "it took too much memory")
        case "wait":
            yield Keep(_inline(1))
            try:
                yield Wait(1e9)
            except Stopped:
                yield Keep(_inline(2))
                raise
        case "deaf":
            yield Keep(_inline(1))
            while True:
                try:
                    yield Wait(1e9)
                except Stopped:
                    continue
        case "later":
            yield Keep(_inline(1))
            yield Wait(0.5)
        case "rank":
            return _inline([order.rank, order.nodes])
        case "hear":
            words: list[object] = []
            while "stop" not in words:
                words.append((yield Listen()))
            return _inline(words)
        case "keep":
            if order.checkpoint is not None:
                return order.checkpoint
            yield Keep(_inline(7))
            raise Death("crash")
        case "size":
            return _inline(args["data"].size)
    return _inline(1)


def _trace(order: Trace) -> Behaviour:
    if order.pipeline != "asks":
        yield Decline(Refused("ProjectError", f"there is no pipeline `{order.pipeline}`"))
        return None
    sketch = Sketch()
    yield Ask(Question(0, "now"))
    first = sketch.node("one")
    yield Say(sketch.traced())
    answer = yield Ask(Asked(1, first))
    assert isinstance(answer, Answer)
    sketch.node("one")
    yield Say(sketch.traced())
    yield Say(TraceEnded())
    return None
