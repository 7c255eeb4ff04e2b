"""One attempt, from its order to its report."""

from __future__ import annotations

import collections.abc
import inspect
import os
import random
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_origin

from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.define.code.fingerprint import fingerprint, fingerprint_class
from headrace.define.code.project import Project
from headrace.define.ports import running
from headrace.define.stage import StageFunction
from headrace.errors import BlobDamaged, BlobMissing, CodecError, HeadraceError, StoreError
from headrace.run.events import Checkpointed, Failed, Span, Succeeded, Use
from headrace.run.wire import Do, Tell
from headrace.spec.artifact import Ref, blobs
from headrace.spec.failure import Failure, FailureKind
from headrace.spec.graph import Arg, Const, Many, Secret
from headrace.store.folder import FolderStore
from headrace.work.capture import Capture
from headrace.work.link import Link
from headrace.work.load import describe, find_function, user_traceback
from headrace.work.state import CleanState
from headrace.work.stop import Stop, StopAttempt


class Entry(Struct):
    """A stage as a worker has it loaded: how to call it, and the digest of its code here."""

    stage: StageFunction[..., Any]
    code: str
    streams: frozenset[str]
    is_async: bool


class Desk:
    """Runs the attempts of one worker, one after another."""

    def __init__(
        self,
        *,
        link: Link,
        store: FolderStore,
        bundle: Path,
        project: Project,
        capture: Capture,
        state: CleanState,
        stop: Stop,
    ) -> None:
        self._link = link
        self._store = store
        self._bundle = bundle
        self._project = project
        self._capture = capture
        self._state = state
        self._stop = stop
        self._codecs = Codecs()
        self._entries: dict[str, Entry] = {}
        self._types: dict[type, str] = {}
        self._verified: set[str] = set()
        self._pid = os.getpid()

    def run(self, order: Do) -> Succeeded | Failed:
        """Run one attempt and give its event; whatever the user's code does short of ending the process."""
        started = time.time()
        began = time.perf_counter()
        self._capture.begin()
        folder = self._state.enter(order.key)
        marks = _Marks(began)
        use = resource.getrusage(resource.RUSAGE_SELF)
        token = running.set(Here(order, self))
        try:
            with self._stop:
                out, unreusable = self._work(order, folder, marks)
        except StopAttempt as stop:
            return self._failed(order, started, marks, Failure("cancelled", str(stop) or "it was told to stop"))
        except BaseException as error:  # noqa: BLE001  user code may raise anything
            return self._failed(order, started, marks, self._failure(error))
        finally:
            running.reset(token)
            if os.getpid() != self._pid:
                os._exit(0)  # the user's code forked, and this is the child: the line is its parent's
        return Succeeded(
            task=order.task,
            attempt=order.attempt,
            out=out,
            started=started,
            seconds=marks.called,
            load_s=marks.loaded,
            save_s=marks.saved,
            log=self._capture.end(),
            use=_use(use),
            unreusable=unreusable,
        )

    def clean(self) -> None:
        """Put the process back as it was, while the driver stores the report."""
        self._state.clean()

    def load(self, ref: Ref, *, verify: bool = False, scratch: Path | None = None) -> object:
        """Give an artifact's value."""
        return self._codecs.load(ref, self._store, verify=verify, scratch=scratch)

    def save(self, value: object) -> Ref:
        """Make a value an artifact."""
        return self._codecs.save(value, self._store, describe=self._describe)

    def report(self, event: Checkpointed) -> None:
        """Report a checkpoint."""
        self._link.report(event)

    def told(self, order: Do) -> Literal["stop", "prune", "checkpoint"] | None:
        """Give the next word for this attempt; one for an earlier attempt is dropped."""
        while (word := self._link.take(Tell)) is not None:
            if isinstance(word, Tell) and (word.task, word.attempt) == (order.task, order.attempt):
                return word.word
        return None

    def _work(self, order: Do, folder: Path, marks: _Marks) -> tuple[Ref, str | None]:
        entry = self._entries.get(order.function) or self._enter(order.function)
        args, kwargs = self._arguments(order, entry, folder)
        marks.load()
        value = entry.stage.function(*args, **kwargs)
        if entry.is_async:
            import asyncio  # noqa: PLC0415  16 ms and OpenSSL, in the parent of all workers

            value = asyncio.run(value)
        if inspect.isgenerator(value):
            # its body runs while the codec draws from it: that is time of the user's code, not of saving
            out = self.save(value)
            marks.call()
        else:
            marks.call()
            out = self.save(value)
        marks.save()
        if order.code and entry.code != order.code:
            return out, "the worker's code of the stage is not the tracer's"
        return out, None

    def _enter(self, function: str) -> Entry:
        stage = find_function(function, self._bundle)
        streams = frozenset(name for name, hint in stage.hints.items() if _is_stream(hint))
        entry = Entry(
            stage,
            fingerprint(stage.function, self._project).digest,
            streams,
            inspect.iscoroutinefunction(stage.function),
        )
        self._entries[function] = entry
        return entry

    def _arguments(self, order: Do, entry: Entry, folder: Path) -> tuple[list[Any], dict[str, Any]]:
        """Load the arguments: those of `*name` by position with all that stands before it, the rest by name."""
        values: dict[str, Any] = {}
        rest: list[Any] = []
        for name, arg in order.args:
            value = self._value(arg, order, folder)
            if name.startswith("*"):
                rest = list(value)
            else:
                values[name] = _streamed(value) if name in entry.streams else value
        if not rest:
            return [], values
        before = []
        for parameter in entry.stage.signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                break
            before.append(values.pop(parameter.name, parameter.default))
        return [*before, *rest], values

    def _value(self, arg: Arg, order: Do, folder: Path) -> Any:
        match arg:
            case Const(ref=ref):
                fresh = any(each.digest in order.verify for each in blobs(ref)) and ref.digest not in self._verified
                value = self.load(ref, verify=fresh, scratch=folder)
                if fresh:
                    self._verified.add(ref.digest)
                return value
            case Many(shape="dict", items=items, names=names):
                return {name: self._value(item, order, folder) for name, item in zip(names, items, strict=True)}
            case Many(shape=shape, items=items):
                found = [self._value(item, order, folder) for item in items]
                return tuple(found) if shape == "tuple" else found
            case Secret(name=name):
                return self._secret(name)
            case _:
                raise HeadraceError(f"an argument of `{order.task}` is not known")

    def _secret(self, name: str) -> str:
        value = os.environ.get(name)
        if value is None:
            raise HeadraceError(f"secret `{name}` is not set", hint=f"set the environment variable {name}")
        self._capture.hide(value)
        return value

    def _failure(self, error: BaseException) -> Failure:
        kind: FailureKind = "user"
        if isinstance(error, BlobDamaged | BlobMissing | StoreError):
            kind = "refused"
        elif isinstance(error, MemoryError):
            kind = "memory"
        if isinstance(error, BlobDamaged | BlobMissing) and error.generation:
            hint = "run again: it is made anew then; `headrace fsck --deep` looks whether there is more of the kind"
            return Failure(kind, self._capture.mask(error.message), hint=hint, damaged=(error.generation,))
        if isinstance(error, HeadraceError):
            told = (
                error.message if kind == "refused" or isinstance(error, CodecError) else describe(error, self._bundle)
            )
            return Failure(kind, self._capture.mask(told), hint=error.hint)
        message = self._capture.mask(describe(error, self._bundle))
        trace = self._capture.mask(user_traceback(error, self._bundle))
        return Failure(kind, message, trace, _hint(error))

    def _failed(self, order: Do, started: float, marks: _Marks, failure: Failure) -> Failed:
        marks.call()
        return Failed(
            task=order.task,
            attempt=order.attempt,
            failure=failure,
            at=time.time(),
            started=started,
            seconds=marks.called,
            log=self._log(failure),
            jitter=random.SystemRandom().random(),
        )

    def _log(self, failure: Failure) -> Span | None:
        """Close the attempt's part of the log, with the traceback in it, as people expect to find it there."""
        if failure.traceback:
            with suppress(OSError):  # the user's code closed it, or the disk is full: the event has the traceback
                os.write(2, failure.traceback.encode())
        return self._capture.end()

    def _describe(self, kind: type) -> str:
        """Name a class as the artifact records it; one of the project's with the digest of its code."""
        known = self._types.get(kind)
        if known is None:
            code = fingerprint_class(kind, self._project)
            name = f"{kind.__module__}.{kind.__qualname__}"
            known = self._types[kind] = f"{name}@{code}" if code else name
        return known


class Here:
    """The attempt as the stage's own code sees it (`define.ports.Attempt`)."""

    def __init__(self, order: Do, desk: Desk) -> None:
        self._order = order
        self._desk = desk
        self.number = order.attempt
        self.rank = order.rank
        self.nodes = order.nodes

    def checkpoint(self) -> object | None:
        """Give the last checkpoint that an earlier attempt of this task kept, or None."""
        ref = self._order.checkpoint
        return None if ref is None else self._desk.load(ref)

    def keep(self, checkpoint: object) -> None:
        """Keep a checkpoint for the next attempt."""
        self._desk.report(Checkpointed(self._order.task, self._order.attempt, self._desk.save(checkpoint)))

    def told(self) -> Literal["stop", "prune", "checkpoint"] | None:
        """Give the next word from the driver, if there is one."""
        return self._desk.told(self._order)


class _Marks:
    """When the parts of an attempt ended, as the seconds that each took."""

    def __init__(self, began: float) -> None:
        self._last = began
        self.loaded = self.called = self.saved = 0.0
        self._clock: Callable[[], float] = time.perf_counter

    def _lap(self) -> float:
        now = self._clock()
        took, self._last = now - self._last, now
        return took

    def load(self) -> None:
        self.loaded = self._lap()

    def call(self) -> None:
        if not self.called:
            self.called = self._lap()

    def save(self) -> None:
        self.saved = self._lap()


def _use(before: resource.struct_rusage) -> Use:
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Use(
        cpu_s=cpu,
        peak_gib=after.ru_maxrss / 2**20,
        read_bytes=(after.ru_inblock - before.ru_inblock) * 512,
        written_bytes=(after.ru_oublock - before.ru_oublock) * 512,
    )


def _is_stream(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return origin in (collections.abc.Iterator, collections.abc.Iterable) or (
        getattr(origin, "__name__", "") == "RecordBatchReader"
    )


def _streamed(value: Any) -> Any:
    """Give a table as the stream of batches that the stage's annotation asks for."""
    is_table = type(value).__module__.startswith("pyarrow") and hasattr(value, "to_reader")
    return value.to_reader() if is_table else value


def _hint(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return "raise `memory_gib` in its resources, or let it work on less at a time"
    if isinstance(error, FileNotFoundError):
        return "a stage runs in an empty folder of its own: give it data as `hr.File(path)` from the pipeline"
    return None
