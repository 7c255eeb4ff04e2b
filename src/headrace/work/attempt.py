"""One attempt, from its order to its report."""

from __future__ import annotations

import inspect
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from headrace.codec.classes import name_of
from headrace.codec.codecs import Codecs
from headrace.define.call import laid_out
from headrace.define.code.fingerprint import fingerprint_argument, fingerprint_class
from headrace.define.code.project import Project
from headrace.define.passing import FILE
from headrace.define.ports import present, running
from headrace.errors import BlobDamaged, BlobMissing, HeadraceError, UsageError
from headrace.run.events import Checkpointed, Failed, Span, Succeeded
from headrace.run.wire import Do, Remark, Word
from headrace.spec.artifact import Ref, blobs
from headrace.spec.code import Code
from headrace.spec.failure import Failure
from headrace.spec.graph import Arg, Const, Many, Secret, secrets
from headrace.spec.intent import Advance, Intent, Register
from headrace.store.store import Store
from headrace.work.absent import Absent
from headrace.work.blame import failure_of
from headrace.work.capture import Capture
from headrace.work.entry import Entry
from headrace.work.link import Link
from headrace.work.load import find_function
from headrace.work.logged import Log
from headrace.work.meeting import Meeting
from headrace.work.meter import Meter
from headrace.work.state import CleanState
from headrace.work.stop import Stop, StopAttempt

T = TypeVar("T")


class Desk:
    """Runs the attempts of one worker, one after another."""

    def __init__(
        self,
        *,
        link: Link,
        store: Store,
        bundle: Path,
        project: Project,
        capture: Capture,
        state: CleanState,
        stop: Stop,
        meeting: Meeting,
        folder: Path | None = None,
        passed: Path | None = None,
        absent: Absent,
        credentials: Mapping[str, str],
        guarded: bool = False,
    ) -> None:
        self.absent = absent
        self.credentials = credentials
        self._guarded = guarded
        self.meeting = meeting
        self.project_folder = folder
        self._passed = passed
        self._attempts = 0
        self._link = link
        self._store = store
        self._bundle = bundle
        self._project = project
        self._capture = capture
        self._state = state
        self._stop = stop
        self._meter = Meter()
        self._codecs = Codecs()
        self._entries: dict[str, Entry] = {}
        self._types: dict[type, str] = {}
        self._verified: dict[str, list[tuple[int, ...] | None]] = {}
        self._secrets: dict[str, str] = {}
        self._remarks: list[str] = []
        self._pid = os.getpid()

    def run(self, order: Do) -> Succeeded | Failed:
        """Run one attempt and give its event; whatever the user's code does short of ending the process."""
        started = time.time()
        began = time.perf_counter()
        self._capture.begin()
        folder = self._state.enter(order.key)
        marks = _Marks(began)
        self._meter.begin()
        here = Here(order, self)
        token, present.attempt = running.set(here), here
        try:
            with self._stop:
                out, unreusable = self._work(order, folder, marks)
        except StopAttempt as stop:
            failure = Failure("cancelled", str(stop) or "it was told to stop")
            return self._failed(order, started, marks, failure)
        except BaseException as error:  # noqa: BLE001  user code may raise anything
            failure = failure_of(error, self._bundle)
            return self._failed(order, started, marks, failure)
        finally:
            running.reset(token)
            present.attempt = None
            if os.getpid() != self._pid:
                os._exit(0)  # the user's code forked, and this is the child: the line is its parent's
            here.end()
            self._remark()
        return Succeeded(
            task=order.task,
            attempt=order.attempt,
            out=out,
            started=started,
            seconds=marks.called,
            load_s=marks.loaded,
            save_s=marks.saved,
            log=self._capture.end(),
            use=self._meter.read(),
            unreusable=unreusable or here.cut,
            saw=tuple(here.seen.items()),
            intents=tuple(here.intents),
        )

    def mask(self, text: str) -> str:
        """Return a text without the secrets that stages were given here."""
        return self._capture.mask(text)

    def learn(self, name: str, value: str) -> None:
        """Take a secret from the driver, for the attempts that name it."""
        self._secrets[name] = value

    def clean(self) -> None:
        """Put the process back as it was, while the driver stores the report."""
        self._codecs.forget()
        self._state.clean()

    def load(self, ref: Ref, *, verify: bool = False, scratch: Path | None = None) -> object:
        """Give an artifact's value."""
        return self._codecs.load(ref, self._store, verify=verify, safe_only=False, scratch=scratch)

    def save(self, value: object) -> Ref:
        """Make a value an artifact, without the secrets in its texts.

        Raises:
            HeadraceError: one stands where it can't be masked, and would be in the record.
        """
        hidden = self._capture.hidden
        kept = hidden.value(value)
        if kept is not value:
            self._remarks.append("a value held a secret that its stage was given, and is kept without it: `********`")
        ref = self._codecs.save(kept, self._store, describe=self._describe)
        if hidden.finds_in(ref):
            raise HeadraceError(
                f"a value of class `{hidden.text(ref.type)}` holds a secret that its stage was given, and it can't be"
                " masked in there",
                hint="leave it out of what the stage returns or keeps, and give it to whichever stage needs it",
            )
        return ref

    def _remark(self) -> None:
        """Send the driver what the user should know of an attempt; each once."""
        for text in (*self._remarks, *self.absent.remarks()):
            self._link.send(Remark(text))
        self._remarks.clear()
        self.absent.forget()

    def save_argument(self, value: object, codes: dict[str, Code] | None = None) -> Ref:
        """Make a value an artifact that a stage is given: it may hold functions and classes, whose code is added to
        `codes` by its digest; a partial is told by what it is made of."""

        def digest(code: object) -> str:
            found = fingerprint_argument(code, self._project)
            if codes is not None and not isinstance(code, partial):
                codes[found.digest] = found
            return found.digest

        return self._codecs.save(value, self._store, describe=self._describe, digest=digest)

    def report(self, event: Checkpointed) -> None:
        """Report a checkpoint."""
        self._link.report(event)

    def log(self, order: Do) -> Log:
        """Give what an attempt logs into."""
        link, mask, passed = self._link, self._capture.mask, None
        if self._passed is not None:  # a name of its own: a process that outlives its attempt isn't taken for the next
            self._attempts += 1
            passed = self._passed.with_suffix(f".{self._attempts}.logged")
            self._state.let(FILE, str(passed))
        return Log(
            order.task,
            order.attempt,
            order.rank,
            report=link.report_beside,
            save=self.save,
            mask=mask,
            look=link.look,
            passed=passed,
        )

    def told(self, order: Do) -> Word | None:
        """Give the next word for this attempt."""
        return self._link.word(order.task, order.attempt)

    def _work(self, order: Do, folder: Path, marks: _Marks) -> tuple[Ref, str | None]:
        self._hide_secrets(order)
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
        entry = Entry.of(find_function(function, self._bundle), self._project)
        self._entries[function] = entry
        return entry

    def _arguments(self, order: Do, entry: Entry, folder: Path) -> tuple[list[Any], dict[str, Any]]:
        """Load the arguments, and give them by position and by name."""
        values: dict[str, Any] = {}
        for name, arg in order.args:
            if name in entry.unread:
                values[name] = None
                continue
            value = self._value(arg, order, folder)
            values[name] = value if name.startswith("*") else entry.fitted(name, value)
        return laid_out(entry.stage.signature, values)

    def _value(self, arg: Arg, order: Do, folder: Path) -> Any:
        match arg:
            case Const(ref=ref):
                return self._given(ref, order, folder)
            case Many(shape="dict", items=items, names=names):
                return {name: self._value(item, order, folder) for name, item in zip(names, items, strict=True)}
            case Many(shape=shape, items=items):
                found = [self._value(item, order, folder) for item in items]
                return tuple(found) if shape == "tuple" else found
            case Secret(name=name):
                return self._secret(name)
            case _:
                raise HeadraceError(f"an argument of `{order.task}` is not known")

    def _given(self, ref: Ref, order: Do, folder: Path) -> object:
        """Load what a stage is given. If other code may have changed it, it is held against its digest first, unless
        its files are those that it was held against before."""
        needed = blobs(ref)
        if not needed or not (self._guarded or any(each.digest in order.verify for each in needed)):
            return self.load(ref, scratch=folder)
        stamps = [self._store.stamp(each.digest, each.nonce or "") for each in needed]
        value = self.load(ref, verify=None in stamps or self._verified.get(ref.identity) != stamps, scratch=folder)
        self._verified[ref.identity] = stamps
        return value

    def _hide_secrets(self, order: Do) -> None:
        """Mask the attempt's secrets before any code of the user's runs, be it of a module that is imported."""
        names = set().union(*(secrets(arg) for _, arg in order.args))
        with self._stop.shield:
            self._capture.hide(filter(None, map(self._find_secret, names)))

    def _secret(self, name: str) -> str:
        value = self._find_secret(name)
        if value is None:
            raise HeadraceError(
                f"secret `{name}` is not set", hint=f"set the environment variable {name} where the run is begun"
            )
        return value

    def _find_secret(self, name: str) -> str | None:
        return self._secrets.get(name)

    def _failed(self, order: Do, started: float, marks: _Marks, failure: Failure) -> Failed:
        marks.call()
        failure = self._masked(failure)
        return Failed(
            task=order.task,
            attempt=order.attempt,
            failure=failure,
            at=time.time(),
            started=started,
            seconds=marks.called,
            log=self._log(failure),
            use=self._meter.read(),
            jitter=random.SystemRandom().random(),
        )

    def _masked(self, failure: Failure) -> Failure:
        """Return a failure without secrets, and with a hint where a variable that stages don't see is its cause."""
        told = f"{failure.message}\n{failure.traceback or ''}"
        hint = (self.absent.hint(told) if failure.kind == "user" else None) or failure.hint
        mask = self._capture.mask
        return replace(
            failure,
            message=mask(failure.message),
            traceback=None if failure.traceback is None else mask(failure.traceback),
            hint=None if hint is None else mask(hint),
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
            name = name_of(kind)
            known = self._types[kind] = f"{name}@{code}" if code else name
        return known


class Here:
    """The attempt as the stage's own code sees it (`define.ports.Attempt`)."""

    def __init__(self, order: Do, desk: Desk) -> None:
        self._order = order
        self._desk = desk
        self._log = desk.log(order)  # made here: its threads, and processes that it forks off, share it
        self._kept = count(1)
        self.seen: dict[str, str] = {}
        self.cut: str | None = None
        self.intents: list[Intent] = []
        self.number = order.attempt
        self.rank = order.rank
        self.nodes = order.nodes

    def meet(self, said: str) -> tuple[str, ...]:
        """Say a word to the other nodes that the attempt spans; give what each of them says, by rank."""
        return self._desk.meeting.meet(self._order, said)

    def checkpoint(self) -> object | None:
        """Give the last checkpoint that an earlier attempt kept, or the one before if it is damaged; None of none."""
        last, earlier = self._order.checkpoint, self._order.earlier
        if last is None or earlier is None:
            return None if last is None else self._desk.load(last, verify=True)
        try:
            return self._desk.load(last, verify=True)
        except (BlobDamaged, BlobMissing) as error:
            sys.stderr.write(f"the last checkpoint can't be used, so the one before it is: {error.message}\n")
        return self._desk.load(earlier, verify=True)

    def keep(self, checkpoint: object) -> None:
        """Keep a checkpoint for the next attempt; one that has been made an artifact already is not saved again."""
        ref = checkpoint if isinstance(checkpoint, Ref) else self._desk.save(checkpoint)
        self._desk.report(Checkpointed(self._order.task, self._order.attempt, ref, next(self._kept)))

    def told(self) -> Word | None:
        """Give the next word from the driver, if there is one."""
        return self._desk.told(self._order)

    def log(self, name: str, value: object, step: int | None = None) -> None:
        """Have the run show a number, text or figure under a name."""
        self._log.add(self._desk.mask(name), value, step)

    def saw(self, **inputs: object) -> None:
        """Say what a parameter's value really was."""
        for parameter, value in inputs.items():
            given = self._given(parameter)
            if not isinstance(given, Const):
                raise UsageError(
                    f"`{parameter}` is no single value, so none can have been seen in its place",
                    hint="name a parameter that gets one value, or the output of one task",
                )
            self.seen[parameter] = self._desk.save_argument(value).identity

    def shortened(self, why: str) -> None:
        """Say that less was done than the stage was asked for: the record says so, and nobody reuses the output."""
        self.cut = self._desk.mask(why)

    def ref(self, parameter: str) -> Ref | None:
        """Give the artifact of an argument; None for one that wasn't given, or isn't a single artifact."""
        given = dict(self._order.args).get(parameter)
        return given.ref if isinstance(given, Const) else None

    @property
    def credentials(self) -> Mapping[str, str]:
        """What clouds' buckets are opened with here."""
        return self._desk.credentials

    @property
    def project(self) -> Path | None:
        """The folder of the project, where this host has it."""
        return self._desk.project_folder

    def artifact(self, value: object) -> Ref:
        """Make a value an artifact."""
        return self._desk.save(value)

    def stored(self, value: T) -> T:
        """Keep a value in the store now, and give it back as it lies there."""
        return cast("T", self._desk.load(self._desk.save(value)))

    def intend(self, intent: Intent) -> None:
        """Ask for a change of Headrace's own state, once the attempt has succeeded; of a cursor's, the last counts."""
        if isinstance(intent, Register):
            intent = replace(intent, note=self._desk.mask(intent.note))
        if isinstance(intent, Advance):
            self.intents = [
                each for each in self.intents if not (isinstance(each, Advance) and each.name == intent.name)
            ]
        self.intents.append(intent)

    def end(self) -> None:
        """Report what has been logged and wasn't yet, by processes of the attempt too."""
        self._log.close()

    def _given(self, parameter: str) -> Arg:
        for name, arg in self._order.args:
            if name.lstrip("*") == parameter:
                return arg
        raise UsageError(
            f"the stage of `{self._order.task}` was given no argument `{parameter}`",
            hint="name a parameter that the pipeline gives a value for",
        )


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
