"""One attempt, from the driver's `Do` message to the worker's report."""

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
from typing import TypeVar, cast

from msgspec.structs import replace

from headrace.codec.classes import name_of
from headrace.codec.codecs import Codecs
from headrace.define.log import FILE, WARNING
from headrace.define.ports import present, running
from headrace.errors import BlobDamaged, BlobMissing, HeadraceError, UsageError
from headrace.fingerprint.fingerprint import fingerprint_argument, fingerprint_class
from headrace.fingerprint.project import Project
from headrace.run.events import Checkpointed, Failed, Span, Succeeded
from headrace.run.wire import Do, Remark, Word
from headrace.spec.artifact import Ref
from headrace.spec.code import Code
from headrace.spec.failure import Failure
from headrace.spec.graph import Arg, Const
from headrace.spec.intent import Advance, Intent, Register, numbered
from headrace.spec.signature import masked_signature
from headrace.store.store import Store
from headrace.work.arguments import Arguments
from headrace.work.channel import Channel
from headrace.work.clean_state import CleanState
from headrace.work.failure import failure_of
from headrace.work.limits.meter import Meter
from headrace.work.loaded_stage import LoadedStage
from headrace.work.missing_variables import Absent
from headrace.work.output.capture import Capture
from headrace.work.output.live_values import Log
from headrace.work.rendezvous import Meeting
from headrace.work.stop import Stop, StopAttempt
from headrace.work.user_code import find_function

T = TypeVar("T")

MASKED = (
    "a value contained a secret of its stage; it was saved with `********` instead. Pass `hr.secret` to each stage that"
    " needs the secret"
)
"""The warning of a task that returned or kept a value with a secret in it."""


class Desk:
    """Runs the attempts of one worker, one after another."""

    def __init__(
        self,
        *,
        channel: Channel,
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
        self.meeting = meeting
        self.project_folder = folder
        self._passed = passed
        self._attempts = 0
        self._channel = channel
        self._store = store
        self._bundle = bundle
        self._project = project
        self._capture = capture
        self._state = state
        self._stop = stop
        self._meter = Meter()
        self._codecs = Codecs()
        self.arguments = Arguments(store, self.load, guarded=guarded)
        self._entries: dict[str, LoadedStage] = {}
        self._types: dict[type, str] = {}
        self._has_masked = False
        self._pid = os.getpid()

    def run(self, order: Do) -> Succeeded | Failed:
        """Run one attempt and return its event, whatever the user's code raises. Only if the user's code ends the
        process, no event is returned."""
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
            return self._failed(order, started, marks, Failure("cancelled", str(stop) or "it was told to stop"))
        except BaseException as error:  # noqa: BLE001  user code may raise anything
            return self._failed(order, started, marks, failure_of(error, self._bundle))
        finally:
            running.reset(token)
            present.attempt = None
            if os.getpid() != self._pid:
                os._exit(0)  # the user's code forked, and this is the child: the connection belongs to its parent
            self._warn(here)
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
            intents=numbered(here.intents),
        )

    def mask(self, text: str) -> str:
        """Return a text in which the secrets that were given to stages in this process are masked."""
        return self._capture.mask(text)

    def clean(self) -> None:
        """Restore the process to its state before the attempt, while the driver stores the report."""
        self._codecs.forget()
        self._state.clean()

    def load(self, ref: Ref, *, verify: bool = False, scratch: Path | None = None) -> object:
        """Return an artifact's value."""
        return self._codecs.load(ref, self._store, verify=verify, safe_only=False, scratch=scratch)

    def save(self, value: object) -> Ref:
        """Save a value and return its artifact, with the secrets in its texts masked.

        Raises:
            HeadraceError: a secret is in a place where it can't be masked, so that the secret would be stored.
        """
        hidden = self._capture.hidden
        kept = hidden.value(value)
        self._has_masked |= kept is not value
        ref = self._codecs.save(kept, self._store, describe=self._describe)
        if hidden.finds_in(ref):
            raise HeadraceError(
                f"a value of class `{hidden.text(ref.type)}` contains a secret of its stage, and the secret can't be"
                " masked there",
                hint="leave the secret out of the values returned or kept, and pass it to each stage that needs it",
            )
        return ref

    def _warn(self, here: Here) -> None:
        """Log a warning if a secret was masked in a value that the attempt saved.

        This doesn't use `define.log.warn`, since the user's code may have failed by now, or may have closed or replaced
        `sys.stderr`. An error here, such as a full disk, doesn't change the attempt's result.
        """
        if self._has_masked:
            self._has_masked = False
            with suppress(OSError):  # the user's code closed stderr, or the disk is full
                os.write(2, f"warning: {MASKED}\n".encode())
            with suppress(HeadraceError):
                here.log(WARNING, MASKED)

    def _remark(self) -> None:
        """Tell the driver which missing environment variables the project's code has asked for (`missing_variables`).
        The driver shows these remarks to the user. Each remark is sent only once."""
        for text in self.absent.remarks():
            self._channel.send(Remark(text))
        self.absent.forget()

    def sign(self, model: object, signature: bytes) -> None:
        """Record a model's signature (the columns that it takes and gives) beside its artifact. Secrets in the
        signature are masked."""
        self._codecs.sign(model, masked_signature(signature, self._capture.mask))

    def save_argument(self, value: object, codes: dict[str, Code] | None = None) -> Ref:
        """Save an argument of a stage, and return its artifact. The argument may contain functions and classes.

        The code of each function and class is added to `codes`, under the code's digest. For a `functools.partial`, the
        code of its function and of the functions among its arguments is added, but no code for the partial itself.
        """

        def digest(code: object) -> str:
            fingerprinted = fingerprint_argument(code, self._project)
            if codes is not None and not isinstance(code, partial):
                codes[fingerprinted.digest] = fingerprinted
            return fingerprinted.digest

        return self._codecs.save(value, self._store, describe=self._describe, digest=digest)

    def report(self, event: Checkpointed) -> None:
        """Report a checkpoint to the driver."""
        self._channel.report(event)

    def log(self, order: Do) -> Log:
        """Return the log that an attempt writes to."""
        channel, mask, passed = self._channel, self._capture.mask, None
        if self._passed is not None:  # each attempt has a file of its own, in case a process outlives its attempt
            self._attempts += 1
            passed = self._passed.with_suffix(f".{self._attempts}.logged")
            self._state.let(FILE, str(passed))
        return Log(
            order.task,
            order.attempt,
            order.rank,
            report=channel.report_beside,
            save=self.save,
            mask=mask,
            look=channel.look,
            passed=passed,
        )

    def told(self, order: Do) -> Word | None:
        """Return the driver's next instruction for this attempt (such as "stop"), or None."""
        return self._channel.word(order.task, order.attempt)

    def _work(self, order: Do, folder: Path, marks: _Marks) -> tuple[Ref, str | None]:
        self._hide_secrets(order)
        entry = self._entries.get(order.function) or self._enter(order.function)
        args, kwargs = self.arguments.of(order, entry, folder)
        marks.load()
        value = entry.stage.function(*args, **kwargs)
        if entry.is_async:
            import asyncio  # noqa: PLC0415  16 ms and OpenSSL in the parent of all workers

            value = asyncio.run(value)
        if inspect.isgenerator(value):
            # a generator's body runs while the codec saves its items, so this time counts as calling, not as saving
            out = self.save(value)
            marks.call()
        else:
            marks.call()
            out = self.save(value)
        marks.save()
        if order.code and entry.code != order.code:
            return out, "the stage's code in the worker differs from that in the tracer"
        return out, None

    def _enter(self, function: str) -> LoadedStage:
        entry = LoadedStage.of(find_function(function, self._bundle), self._project)
        self._entries[function] = entry
        return entry

    def _hide_secrets(self, order: Do) -> None:
        """Mask the attempt's secrets in all output from now on. This is called before any user code runs, even before
        user modules are imported."""
        with self._stop.shield:
            self._capture.hide(self.arguments.secrets(order))

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
        """Return a failure with the secrets in its texts masked. If the failure's cause is a missing environment
        variable, add a hint that says so."""
        text = f"{failure.message}\n{failure.traceback or ''}"
        hint = (self.absent.hint(text) if failure.kind == "user" else None) or failure.hint
        mask = self._capture.mask
        return replace(
            failure,
            message=mask(failure.message),
            traceback=None if failure.traceback is None else mask(failure.traceback),
            hint=None if hint is None else mask(hint),
        )

    def _log(self, failure: Failure) -> Span | None:
        """Write the traceback into the attempt's log, where people expect it. Then close this attempt's part of the
        log, and return the part's span."""
        if failure.traceback:
            with suppress(OSError):  # the user's code closed stderr, or the disk is full: the event has the traceback
                os.write(2, failure.traceback.encode())
        return self._capture.end()

    def _describe(self, kind: type) -> str:
        """Return the name under which artifacts record a class. For a class of the project, the digest of its code is
        appended."""
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
        self._log = desk.log(order)  # made here, so that the attempt's threads and forked processes share it
        self._kept = count(1)
        self.seen: dict[str, str] = {}
        self.cut: str | None = None
        self.intents: list[Intent] = []
        self.task, self.number = order.task, order.attempt
        self.rank = order.rank
        self.nodes = order.nodes

    def meet(self, said: str) -> tuple[str, ...]:
        """Send a text to the attempt's other nodes, wait for theirs, and return all texts in order of rank."""
        return self._desk.meeting.meet(self._order, said)

    def checkpoint(self) -> object | None:
        """Return the last checkpoint that an earlier attempt kept, or the one before if it is damaged, or None."""
        last, earlier = self._order.checkpoint, self._order.earlier
        if last is None or earlier is None:
            return None if last is None else self._desk.load(last, verify=True)
        try:
            return self._desk.load(last, verify=True)
        except (BlobDamaged, BlobMissing) as error:
            sys.stderr.write(f"the last checkpoint can't be used, so the one before it is used: {error.message}\n")
        return self._desk.load(earlier, verify=True)

    def keep(self, checkpoint: object) -> None:
        """Keep a checkpoint for the next attempt. A checkpoint that is already an artifact isn't saved again."""
        ref = checkpoint if isinstance(checkpoint, Ref) else self._desk.save(checkpoint)
        self._desk.report(Checkpointed(self._order.task, self._order.attempt, ref, next(self._kept)))

    def told(self) -> Word | None:
        """Return the driver's next instruction (such as "stop"), or None."""
        return self._desk.told(self._order)

    def log(self, name: str, value: object, step: int | None = None) -> None:
        """Log a number, text or figure under a name."""
        self._log.add(self._desk.mask(name), value, step)

    def saw(self, **inputs: object) -> None:
        """Record values of parameters that replace the given arguments in the output's key: for example, the version
        that a source had when it was read."""
        for parameter, value in inputs.items():
            arg = self._given(parameter)
            if not isinstance(arg, Const):
                raise UsageError(
                    f"`{parameter}` is made of several artifacts, so no value can replace it in the task's key",
                    hint="name a parameter that gets one value, or the output of one task",
                )
            self.seen[parameter] = self._desk.save_argument(value).identity

    def shortened(self, why: str) -> None:
        """Record that the stage did less than it was asked to do, and why. The stage's output is then not reused."""
        self.cut = self._desk.mask(why)

    def ref(self, parameter: str) -> Ref | None:
        """Return the artifact of a parameter's argument, or None if it wasn't given or isn't a single artifact."""
        arg = dict(self._order.args).get(parameter)
        return arg.ref if isinstance(arg, Const) else None

    def load(self, ref: Ref) -> object:
        """Return the value of an artifact."""
        return self._desk.load(ref, verify=True)

    @property
    def credentials(self) -> Mapping[str, str]:
        """The credentials for cloud buckets on this machine."""
        return self._desk.credentials

    @property
    def project(self) -> Path | None:
        """The folder of the project; None if this host doesn't have it."""
        return self._desk.project_folder

    def artifact(self, value: object) -> Ref:
        """Save a value, and return its artifact."""
        return self._desk.save(value)

    def stored(self, value: T) -> T:
        """Save a value in the store now, load it from the store again, and return the loaded value."""
        return cast("T", self._desk.load(self._desk.save(value)))

    def sign(self, model: object, signature: bytes) -> None:
        """Record a signature beside a model's artifact."""
        self._desk.sign(model, signature)

    def intend(self, intent: Intent) -> None:
        """Request a change of Headrace's own state. The change is made when the attempt has succeeded. If the same
        cursor is changed by several requests, only the last request counts."""
        if isinstance(intent, Register):
            intent = intent.masked(self._desk.mask)
        if isinstance(intent, Advance):
            self.intents = [each for each in self.intents if not isinstance(each, Advance) or each.name != intent.name]
        self.intents.append(intent)

    def end(self) -> None:
        """Report all logged values that haven't been reported yet, also those of the attempt's other processes."""
        self._log.close()

    def _given(self, parameter: str) -> Arg:
        for name, arg in self._order.args:
            if name.lstrip("*") == parameter:
                return arg
        raise UsageError(
            f"the stage of `{self._order.task}` was given no argument `{parameter}`",
            hint="name a parameter for which the pipeline gives a value",
        )


class _Marks:
    """The durations of an attempt's parts: loading, calling and saving, in seconds."""

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
