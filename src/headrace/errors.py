"""Every error that Headrace raises on purpose.

    HeadraceError                 exit 5   a fault of Headrace itself, when no class below fits
    ├── UsageError                exit 2   the command, the project or the code has a mistake
    │   ├── ProjectError                   no project, no such pipeline, a file that can't be imported
    │   ├── ConfigError                    `headrace.toml`: broken, unknown key, wrong type
    │   ├── DefinitionError                a stage or pipeline is declared wrongly
    │   ├── TraceError                     the pipeline's body wires stages wrongly
    │   │   └── EdgeTypeError              a stage's output doesn't fit the parameter that it is passed to
    │   ├── EnvironmentFailed              an environment can't be built from the lock on that machine
    │   ├── CodecError                     no codec can save a value, or a value can't be read back
    │   └── NotFoundError                  no such run, task, artifact
    ├── RefusedError              exit 4   a policy, budget or pool refuses before anything ran
    │   └── PlacementError                 no pool can ever hold the task
    ├── DataError                 exit 1   the data aren't what a stage or a contract requires
    ├── TaskFailed                exit 1   `.value()` of a task that failed
    ├── SourceError               exit 1   a source can't be read, or a target written
    ├── RunFailed                 exit 1   a run failed; has the run as an attribute
    ├── RunCancelled              exit 3   a run was cancelled; has the run as an attribute
    ├── StoreError                exit 5   a store can't be read or written
    │   ├── StoreUnreachable      exit 2   its server or folder can't be reached, or refuses access; 5 in a run
    │   ├── BlobMissing                    the store has no such blob
    │   └── BlobDamaged                    the bytes don't match the digest
    ├── LedgerError               exit 5   the ledger can't be read or written
    │   ├── LedgerUnreachable     exit 2   its server or file can't be reached, or refuses access; 5 in a run
    │   ├── LedgerDamaged                  its file was damaged after it was written
    │   │   └── RecordDamaged              the bytes of an event or of another record in it can't be read
    │   ├── LedgerVersionError    exit 2   another version of Headrace wrote it
    │   ├── LeaseHeld             exit 2   another driver holds the run
    │   └── LeaseLost                      another driver has taken over the run
    └── BackendError              exit 5   a pool failed, such as one that can't start a worker
        └── PoolUnreachable       exit 2   its cluster can't be reached, or refuses access; 5 once a run has begun

Each error has a `message` (what is wrong, names in backticks) and a `hint` (what to do about it), which may be None.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

NO_ACCESS = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
NO_PLACE = NO_ACCESS | {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}
"""The `errno` numbers which say that a path can't be created or written to, even if the disk has free space. Someone
must change the path or its mode."""

_HERE = __file__.removesuffix("errors.py")
RESTORE = "restore a backup: `headrace restore`; move a damaged `ledger.db` and the files beside it away first"
"""The hint of an error about damage in the ledger."""
FEW = 5
"""If there may be many names, a hint lists at most this many."""
_LINE_LIMIT = 400
"""The longest message of another library's error that is quoted whole."""


class HeadraceError(Exception):
    """The base of all errors of Headrace: a message, and a hint or None."""

    exit_code: int = 5
    """The exit code of the command that fails with this error.

    Some subclasses have the code 2, which is only for errors before a run begins. If a server can't be reached after a
    run has begun, `operate.session` changes the error's code from 2 to 5.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint is not None:
            self.add_note(f"hint: {hint}")  # a traceback shows notes

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint)

    def _render_traceback_(self) -> list[str]:
        """Return the lines that a notebook shows for this error: the traceback, the message and the hint.

        The traceback shows only the user's code, so `contextlib` is left out where it calls Headrace. But if
        `exit_code` is 5, the fault is in Headrace itself, and the traceback shows all lines.
        """
        import traceback  # noqa: PLC0415  it would add 2 ms to the start of every command

        lines: list[traceback.FrameSummary] = traceback.extract_tb(self.__traceback__)
        if self.exit_code != HeadraceError.exit_code:
            own = [line.filename.startswith(_HERE) or "IPython" in line.filename for line in lines]
            calls_own = [*own[1:], False]
            lines = [
                line
                for line, is_own, calls in zip(lines, own, calls_own, strict=True)
                if not is_own and not (calls and line.filename.endswith("contextlib.py"))
            ]
        summary = f"{type(self).__name__}: {self.message}\n"
        return [*traceback.format_list(lines), summary, *([f"hint: {self.hint}\n"] if self.hint else [])]


class Interrupted(KeyboardInterrupt):
    """The user has interrupted a call. The message says what this means: whether a run has begun, for example."""

    def _render_traceback_(self) -> list[str]:
        """Return the only line that a notebook shows for this error. It has no traceback, because it doesn't matter
        where in Headrace the call was interrupted."""
        return [f"KeyboardInterrupt: {self}\n"]


def _rebuild(kind: type[HeadraceError], message: str, hint: str | None) -> HeadraceError:
    return kind(message, hint=hint)


class UsageError(HeadraceError):
    """The command, the project or the code has a mistake."""

    exit_code = 2


class ProjectError(UsageError):
    """There is no project here, the project has no such pipeline, or one of its files can't be imported."""


class ConfigError(UsageError):
    """`headrace.toml` or a setting is broken."""


class DefinitionError(UsageError):
    """A stage or a pipeline is declared wrongly."""


class TraceError(UsageError):
    """The body of a pipeline wires its stages wrongly."""


class EdgeTypeError(TraceError):
    """The type of a stage's output doesn't fit the parameter that the output is passed to."""


class EnvironmentFailed(UsageError):
    """An environment can't be built from the project's lock on the machine that needs it."""


class CodecError(UsageError):
    """No codec can save this value, or a saved value can't be read back."""


class NotFoundError(UsageError):
    """There is no such run, task or artifact."""


class RefusedError(HeadraceError):
    """A policy, a budget or a pool refused the run or the task before anything ran."""

    exit_code = 4


class PlacementError(RefusedError):
    """No pool has the resources that this task needs, even if nothing else uses the pool."""


class DataError(HeadraceError):
    """The data aren't what a stage needs, or they break a contract."""

    exit_code = 1


class TaskFailed(HeadraceError):
    """The value of a task was asked for, but the task has failed or was skipped."""

    exit_code = 1


class SourceError(HeadraceError):
    """A source (a database, a web service, a file, a log) can't be read, or its content is unexpected. Also raised if
    the answers of a batch can't be written to a file, a bucket or a database."""

    exit_code = 1


class RunFailed(HeadraceError):
    """The run ended with a failed task; the attribute `run` is the run."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, run: Any = None) -> None:
        super().__init__(message, hint=hint)
        self.run = run


class RunCancelled(HeadraceError):
    """The run was cancelled; the attribute `run` is the run.

    A run can be resumed with new code. If somebody cancels the run before this code is traced, the run stays as it was,
    and `run` is None.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None, run: Any = None) -> None:
        super().__init__(message, hint=hint)
        self.run = run


class StoreError(HeadraceError):
    """A store can't be read or written.

    `generation` names the blob that the error is about, as `DIGEST.NONCE`. If the error isn't about a single blob,
    `generation` is empty.
    """

    def __init__(self, message: str, *, hint: str | None = None, generation: str = "") -> None:
        super().__init__(message, hint=hint)
        self.generation = generation


class StoreUnreachable(StoreError):
    """The store's server or folder can't be reached or refuses access: wrong address, path, bucket, region, credentials
    or rights."""

    exit_code = 2


class BlobMissing(StoreError):
    """The store holds no such blob."""


class BlobDamaged(StoreError):
    """The stored bytes of a blob don't have the digest that is in the blob's name."""


class LogError(HeadraceError):
    """The prediction log can't be written or read."""


class LedgerError(HeadraceError):
    """The ledger can't be read or written."""


class LedgerUnreachable(LedgerError):
    """The ledger's server or file can't be reached or refuses access: wrong address, path, database, password or
    rights."""

    exit_code = 2


class LedgerDamaged(LedgerError):
    """The bytes of the ledger's file aren't those that were written: the disk failed, or a copy was cut short."""


class RecordDamaged(LedgerDamaged):
    """A row of the ledger has bytes that can't be decoded, though the file as a whole can be read."""


class LedgerVersionError(LedgerError):
    """The ledger was written by another version of Headrace."""

    exit_code = 2


class LeaseHeld(LedgerError):
    """Another driver holds the lease of this run."""

    exit_code = 2


class LeaseLost(LedgerError):
    """Another driver took the lease of the run, so this driver can't record anything more."""


class BackendError(HeadraceError):
    """A pool failed: for example, it can't start a worker, or its cluster no longer answers."""


class PoolUnreachable(BackendError):
    """The pool's cluster can't be reached or refuses access: wrong address, or no token."""

    exit_code = 2


def listed(names: Iterable[object], most: int = 10) -> str:
    """Return the first `most` names in backticks, joined by commas. If there are more names, say how many more.

    >>> listed(["fit", "judge", "page"]), listed("abcde", 2)
    ('`fit`, `judge`, `page`', '`a`, `b` and 3 more')
    """
    every = [f"`{name}`" for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def there(names: Iterable[object]) -> str:
    """Return the part of a hint that lists what there is.

    >>> there(["fit"]), there(["fit", "judge"])
    ('there is `fit`', 'there are `fit`, `judge`')
    """
    every = list(names)
    return f"there {'is' if len(every) == 1 else 'are'} {listed(every)}"


def meant(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Return a hint that asks for the most similar of `names`, or `otherwise` if none is similar.

    >>> meant("fits", ["fit", "judge"]), meant("page", ["fit", "judge"], "see the docs")
    ('did you mean `fit`?', 'see the docs')
    """
    import difflib  # noqa: PLC0415  (needed for an error only, and not cheap)

    similar = difflib.get_close_matches(name, names, 1)
    return f"did you mean `{similar[0]}`?" if similar else otherwise


def near(name: str, names: list[str], otherwise: str) -> str:
    """Return a hint with the names that are similar to `name`. If none is very similar, add `otherwise` and a list of
    the first names.

    >>> near("fits", ["fit", "judge"], "it has"), near("page", ["fit", "judge"], "it has")
    ('did you mean `fit`?', 'it has `fit`, `judge`')
    """
    import difflib  # noqa: PLC0415  (needed for an error only, and not cheap)

    close = difflib.get_close_matches(name, names, n=3, cutoff=0.75)
    similar = close or difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {listed(similar)}?"
    if similar and (close or len(names) == 1):
        return meant
    some = f"{otherwise} {listed(names, FEW)}" if names else "there are none"
    return f"{meant} {some}" if similar else some


def repair(options: str) -> str:
    """Return the hint about a blob that is missing or damaged. `options` are the options with which `headrace fsck`
    finds this fault."""
    return (
        f"run `headrace fsck {options}`, so that no run reuses it; then run the pipeline again: if the new output has"
        f" the same bytes, another `headrace fsck {options}` copies them to this blob"
    )


def absent(why: str, regions: Iterable[str]) -> tuple[str, str]:
    """Return the message and the hint about something that no store in the settings has. `why` is the first half
    of the message: that it is gone. `regions` are regions outside the settings that may have it.

    >>> absent("it is gone", ["b", "a"])[0]
    "it is gone; it may be in region `a` or `b`, which aren't in the settings"
    """
    names = sorted(regions)
    places = " or ".join(f"`{name}`" for name in names)
    sections = " and ".join(f"`[region.{name}]`" for name in names)
    verb, them = ("isn't", "it") if len(names) == 1 else ("aren't", "them")
    return (
        f"{why}; it may be in region {places}, which {verb} in the settings",
        f"add {sections} to the settings, or give the `--config` file that has {them}",
    )


def text_of(error: BaseException) -> str:
    """Return the message of one of Headrace's errors. For any other error, return its class and its message.

    >>> text_of(UsageError("no such run")), text_of(OSError("no such file"))
    ('no such run', 'OSError: no such file')
    """
    return error.message if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"


def sentence(error: BaseException) -> str:
    """Return the first line of an error's message. If that line ends in a colon, the next line is added, and so on.

    >>> sentence(ValueError("Cannot use mean strategy with non-numeric data:\\ncould not convert 'x' to float\\nmore"))
    "Cannot use mean strategy with non-numeric data: could not convert 'x' to float"
    >>> sentence(ValueError())
    'ValueError'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    told = lines.pop(0)
    while lines and told.endswith(":"):
        told = f"{told} {lines.pop(0)}"
    return told if len(told) <= _LINE_LIMIT else f"{told[: _LINE_LIMIT - 1]}…"
