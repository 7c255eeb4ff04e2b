"""Where our backends stand for their contract."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from headrace.backends.local.backend import LocalBackend
from headrace.backends.local.namespace import Namespace
from headrace.backends.simulated.backend import SimulatedBackend
from headrace.backends.simulated.cluster import Cluster
from headrace.backends.simulated.play import Death, Keep, Listen, Play, Stopped, Wait
from headrace.codec.codecs import Codecs
from headrace.run.events import Succeeded
from headrace.run.ports import Backend
from headrace.run.wire import Do, Hello
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.spec.graph import Const
from headrace.store.folder import FolderStore
from headrace.testing.backend_contract import Deed
from headrace.testing.blobs import MemoryBlobs
from headrace.work.archive import pack

DEEDS = (Path(__file__).parent / "deeds.py").read_bytes()
RUN = "20261125-contract-0001"


class LocalStand:
    """The local backend, in a folder of its own; with a namespace, its workers see neither ledger nor project."""

    def __init__(self, folder: Path, *, namespace: bool = False, memory_gib: float = 0.4) -> None:
        self.project = folder / "project"
        self.home = self.project / ".headrace"
        self.home.mkdir(parents=True)
        (self.home / "ledger.db").write_text("the ledger")
        (self.project / "secret_of_the_project.txt").write_text("not for workers")
        self.store = FolderStore(self.home / "store")
        blob = self.store.put(pack({"deeds.py": DEEDS}))
        bundle = Bundle(digest=blob.digest, size=blob.size, nonce=blob.nonce)
        self._pool = Pool(name="here", cpu=2, memory_gib=memory_gib)
        self._hello = Hello(run=RUN, bundle=bundle, store=str(self.store.root), memory_gib=memory_gib)
        self._prefix: list[str] = []
        if namespace:
            hidden = Namespace(hidden=(self.project,), shown=(self.store.root,), network=False)
            self._prefix = hidden.command()

    def backend(self) -> LocalBackend:
        return LocalBackend(self._pool, self._hello, prefix=self._prefix)

    def order(self, deed: str, task: str) -> Do:
        return Do(task=task, attempt=1, key="00" * 32, function=f"deeds:{deed}", args=(), code="")

    def sized(self, size: int, task: str) -> Do:
        data = b"x" * size
        ref = Ref(digest="0" * 64, size=size, codec="bytes", type="builtins.bytes", inline=data)
        return Do(task=task, attempt=1, key="00" * 32, function="deeds:size", args=(("data", Const(ref)),), code="")

    def value(self, out: Succeeded) -> object:
        return Codecs().load(out.out, self.store)

    def abandon(self, backend: Backend) -> None:
        assert isinstance(backend, LocalBackend)
        backend.abandon()

    def living(self) -> list[psutil.Process]:
        """Give the processes that have the store's folder in their command line, or as the place they work in."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and str(self.store.root) in process.cwd():
                    found.append(process)
            except psutil.Error:
                continue
        return found


class SimulatedStand:
    """The simulated backend, on a cluster that outlives it."""

    def __init__(self) -> None:
        self._cluster = Cluster(_script)
        self._pool = Pool(name="there", cpu=100, memory_gib=100, backend="simulated")

    def backend(self) -> SimulatedBackend:
        return SimulatedBackend(self._pool, self._cluster)

    def order(self, deed: Deed, task: str) -> Do:
        return Do(task=task, attempt=1, key="00" * 32, function=deed, args=(), code="")

    def sized(self, size: int, task: str) -> Do:
        ref = Ref(digest="0" * 64, size=size, codec="bytes", type="builtins.bytes", inline=b"x" * size)
        return Do(task=task, attempt=1, key="00" * 32, function="size", args=(("data", Const(ref)),), code="")

    def value(self, out: Succeeded) -> object:
        return Codecs().load(out.out, MemoryBlobs())  # type: ignore[arg-type]  # all of its values are inline

    def abandon(self, backend: Backend) -> None:
        assert isinstance(backend, SimulatedBackend)
        backend.abandon()

    def living(self) -> list[str]:
        return ["a worker"] * self._cluster.living


def _value(value: object) -> Ref:
    return Codecs().save(value, MemoryBlobs())  # type: ignore[arg-type]  # all of its values are inline


def _script(order: Do) -> Play:
    match order.function:
        case "raise":
            raise ValueError("bad")
        case "exit":
            raise Death("crash")
        case "eat":
            raise Death("memory", "it took too much memory")
        case "wait":
            yield Wait(1e9)
        case "deaf":
            while True:
                try:
                    yield Wait(1e9)
                except Stopped:
                    continue
        case "later":
            yield Wait(0.5)
        case "rank":
            return _value(order.rank)
        case "number":
            return _value(order.attempt)
        case "word":
            return _value((yield Listen()))
        case "keep":
            if order.checkpoint is not None:
                return order.checkpoint
            yield Keep(_value(7))
            raise Death("crash")
        case "size":
            [(_, arg)] = order.args
            assert isinstance(arg, Const)
            return _value(arg.ref.size)
    return _value(1)
