"""Every error that Headrace raises on purpose.

    HeadraceError                 exit 5   Headrace's own fault, where nothing below fits
    ├── UsageError                exit 2   the command, the project or the code can't be run as it stands
    │   ├── ProjectError                   no project, no such pipeline, a file that can't be imported
    │   ├── ConfigError                    `headrace.toml`: broken, unknown key, wrong type
    │   ├── DefinitionError                a stage or pipeline declared wrongly
    │   ├── TraceError                     the pipeline's body wires stages wrongly
    │   │   └── EdgeTypeError              a stage's output doesn't fit the parameter it is given to
    │   ├── EnvironmentFailed              an environment can't be made from the lock, or not on that machine
    │   ├── CodecError                     a value that no codec takes, or that can't be read back
    │   └── NotFoundError                  no such run, task, artifact
    ├── RefusedError              exit 4   a policy, budget or pool says no before anything ran
    │   └── PlacementError                 no pool can ever hold the task
    ├── DataError                 exit 1   the data aren't what a stage needs, or what a contract wants
    ├── TaskFailed                exit 1   `.value()` of a task that failed
    ├── SourceError               exit 1   a source can't be read, or holds what wasn't expected
    ├── RunFailed                 exit 1   a run ended in failure; carries the run
    ├── RunCancelled              exit 3   a run was cancelled; carries the run
    ├── StoreError                exit 5   a store can't be read or written
    │   ├── StoreUnreachable      exit 2   its server is away, or doesn't let us in; 5 once a run has begun
    │   ├── BlobMissing
    │   └── BlobDamaged
    ├── LedgerError               exit 5   the ledger can't be read or written
    │   ├── LedgerUnreachable     exit 2   its server is away, or doesn't let us in; 5 once a run has begun
    │   ├── LedgerDamaged                  its file isn't what was written
    │   ├── LedgerVersionError    exit 2   another Headrace wrote it
    │   ├── LeaseHeld             exit 2   another driver holds the run
    │   └── LeaseLost                      this driver was fenced out
    └── BackendError              exit 5   a pool broke
        └── PoolUnreachable       exit 2   its cluster is away, or doesn't let us in; 5 once a run has begun

Each carries `message` (what is wrong, names in backticks) and `hint` (what to do about it).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_HERE = __file__.removesuffix("errors.py")


class HeadraceError(Exception):
    """The base of all errors of Headrace: a message, and a hint where there is one."""

    exit_code: int = 5
    """Of one that is raised while a run goes on, the session says so: 2 is only for what comes before."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint is not None:
            self.add_note(f"hint: {hint}")  # for those who meet it as a traceback

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint)

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows of it: the user's own lines, the message and the hint, and no line of ours; all
        lines of a fault of ours."""
        import traceback  # noqa: PLC0415  2 ms, which every command would pay

        lines: list[traceback.FrameSummary] = traceback.extract_tb(self.__traceback__)
        if self.exit_code != HeadraceError.exit_code:
            lines = [line for line in lines if not line.filename.startswith(_HERE) and "IPython" not in line.filename]
        told = f"{type(self).__name__}: {self.message}\n"
        return [*traceback.format_list(lines), told, *([f"hint: {self.hint}\n"] if self.hint else [])]


def _rebuild(kind: type[HeadraceError], message: str, hint: str | None) -> HeadraceError:
    return kind(message, hint=hint)


class UsageError(HeadraceError):
    """The command, the project or the code can't be run as it stands."""

    exit_code = 2


class ProjectError(UsageError):
    """There is no project here, no such pipeline, or a file of it can't be imported."""


class ConfigError(UsageError):
    """`headrace.toml` or a setting is broken."""


class DefinitionError(UsageError):
    """A stage or a pipeline is declared wrongly."""


class TraceError(UsageError):
    """The body of a pipeline wires its stages wrongly."""


class EdgeTypeError(TraceError):
    """An output does not fit the parameter that it is given to."""


class EnvironmentFailed(UsageError):
    """An environment can't be made from the project's lock, or not on the machine that should have it."""


class CodecError(UsageError):
    """No codec takes this value, or a value can't be read back."""


class NotFoundError(UsageError):
    """There is no such run, task or artifact."""


class RefusedError(HeadraceError):
    """A policy, a budget or a pool said no before anything ran."""

    exit_code = 4


class PlacementError(RefusedError):
    """No pool can ever hold this task."""


class DataError(HeadraceError):
    """The data aren't what a stage needs them to be, or what a contract says."""

    exit_code = 1


class TaskFailed(HeadraceError):
    """The task whose value was asked for has failed, or was skipped."""

    exit_code = 1


class SourceError(HeadraceError):
    """A source (a database, a web service, a file, a log) can't be read, or holds what wasn't expected of it."""

    exit_code = 1


class RunFailed(HeadraceError):
    """The run ended with a failed task; `run` is the run."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, run: Any = None) -> None:
        super().__init__(message, hint=hint)
        self.run = run


class RunCancelled(HeadraceError):
    """The run was cancelled; `run` is the run."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None, run: Any = None) -> None:
        super().__init__(message, hint=hint)
        self.run = run


class StoreError(HeadraceError):
    """A store can't be read or written. `generation` names the blob that it is about (`DIGEST.NONCE`), if one is."""

    def __init__(self, message: str, *, hint: str | None = None, generation: str = "") -> None:
        super().__init__(message, hint=hint)
        self.generation = generation


class StoreUnreachable(StoreError):
    """The store's server can't be reached, or doesn't let us in: wrong address, bucket, region, credentials, rights."""

    exit_code = 2


class BlobMissing(StoreError):
    """The store holds no such blob."""


class BlobDamaged(StoreError):
    """The bytes of a blob don't have the digest that names them."""


class LedgerError(HeadraceError):
    """The ledger can't be read or written."""


class LedgerUnreachable(LedgerError):
    """The ledger's server can't be reached, or doesn't let us in: wrong address, database, password, rights."""

    exit_code = 2


class LedgerDamaged(LedgerError):
    """The bytes of the ledger's file aren't what was written: a disk, or a copy that was cut short."""


class LedgerVersionError(LedgerError):
    """The ledger was written by another version of Headrace."""

    exit_code = 2


class LeaseHeld(LedgerError):
    """Another driver holds the lease of this run."""

    exit_code = 2


class LeaseLost(LedgerError):
    """Another driver took the lease; nothing that this one does counts any more."""


class BackendError(HeadraceError):
    """A pool broke."""


class PoolUnreachable(BackendError):
    """The pool's cluster can't be reached, or doesn't let us in: wrong address, or no token."""

    exit_code = 2


def listed(names: Iterable[object], most: int = 10) -> str:
    """Return names in backticks, and how many more there are, where all of them are too many for a message.

    >>> listed(["fit", "judge", "page"]), listed("abcde", 2)
    ('`fit`, `judge`, `page`', '`a`, `b` and 3 more')
    """
    every = [f"`{name}`" for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
