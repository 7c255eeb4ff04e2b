"""The setup of a backend for its test suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from headrace.codec.codecs import Codecs
from headrace.run.ports import Backend
from headrace.run.wire import Do, Hello, Move, Trace
from headrace.spec.address import StoreAddress
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.spec.graph import Const
from headrace.store.folder.folder import FolderStore
from headrace.store.store import Store
from headrace.testing import contract_stages
from headrace.work.archive import pack

RUN = "20261125-contract-0001"
KEY = "00" * 32
LIMIT_GIB = 0.4

Deed = Literal["one", "fail", "leave", "eat", "wait", "deaf", "later", "rank", "hear", "keep", "size"]
"""The names of the stages in `headrace.testing.contract_stages`. The docstring of each stage says what the stage
does."""


class Stand(Protocol):
    """The setup that a test suite gets: it makes backends of one pool for one run, and messages for workers."""

    def backend(self) -> Backend:
        """Return a new backend for the run. Each further call returns a backend as the next driver of the same run
        would have it.

        An attempt that is asked to stop must be killed after a second at most.
        """
        ...

    def order(self, deed: Deed, task: str, **args: object) -> Do:
        """Return the message to run the stage `deed` with these arguments, as the first attempt of a task."""
        ...

    def value(self, out: Ref) -> object:
        """Return the value of an output."""
        ...

    def living(self) -> Sequence[object]:
        """Return the processes or actors of the run that are alive, from all drivers."""
        ...


def tracing() -> Trace:
    """Return the message to trace the pipeline `asks` of `contract_stages`."""
    return Trace("asks", ("contract_stages.py",), ())


class WorkerStand:
    """A base class for the stands of backends with real workers. It makes a project, and a store with a bundle of the
    stages that the tests run (`contract_stages`).

    A subclass adds the methods `living` and `backend`. The backend starts workers with the message `self.hello`, in a
    pool like `self.pool`. `hides` is true if workers see neither the ledger nor the project. `isolated` is true if
    workers reach no network address.

    Workers may see the folder of the store and the folder `local`, which holds their logs, scratch files and notes.
    They may also read the folder `other`, the store of another region. All three folders are in `beside`, or in the
    project's state folder if `beside` is None.
    """

    hides: bool = False
    isolated: bool = False

    def __init__(self, folder: Path, *, beside: Path | None = None) -> None:
        self.project = folder / "project"
        self.home = self.project / ".headrace"
        self.home.mkdir(parents=True)
        (self.home / "ledger.db").write_text("the ledger")
        (self.project / "notes.txt").write_text("not for workers")
        self.store: Store = FolderStore((beside or self.home) / "store")
        blob = self.store.put(pack({"contract_stages.py": Path(contract_stages.__file__).read_bytes()}))
        bundle = Bundle(digest=blob.digest, size=blob.size, nonce=blob.nonce)
        self.local = (beside or self.home) / "local"
        self.local.mkdir()
        self.other = (beside or self.home) / "other"
        self.other.mkdir()
        address = StoreAddress(url=self.store.url)
        self.hello = Hello(run=RUN, bundle=bundle, store=address, local=str(self.local), memory_gib=LIMIT_GIB)
        self.pool = Pool(name="here", cpu=4, memory_gib=LIMIT_GIB, nodes=4)
        self._codecs = Codecs()

    def backend(self) -> Backend:
        """Return a new backend for the run. An attempt that is asked to stop must be killed after a second at most."""
        raise NotImplementedError

    def living(self) -> Sequence[object]:
        """Return the processes or actors of the run that are alive, from all drivers."""
        raise NotImplementedError

    def order(self, deed: str, task: str, **args: object) -> Do:
        """Return the message to run the stage `deed`. Arguments of class `bytes` are inside the message, even large
        ones."""
        inputs = tuple([(name, Const(self._ref(value))) for name, value in args.items()])
        return Do(task=task, attempt=1, key=KEY, function=f"contract_stages:{deed}", args=inputs, code="")

    def value(self, out: Ref) -> object:
        """Return the value of an output."""
        return self._codecs.load(out, self.store, safe_only=False)

    def bring(self, digest: str, nonce: str, size: int) -> Move:
        """Return the message to copy a blob from the store of another region, which is the folder `other`."""
        return Move("transfer", 1, digest, nonce, size, StoreAddress(url=str(self.other)), 0.5)

    def log(self, name: str) -> bytes:
        """Return the bytes of a worker's log."""
        return (self.local / "logs" / RUN / name).read_bytes()

    def _ref(self, value: object) -> Ref:
        if isinstance(value, bytes):
            return Ref(digest="0" * 64, size=len(value), codec="bytes", type="builtins.bytes", inline=value)
        return self._codecs.save(value, self.store)
