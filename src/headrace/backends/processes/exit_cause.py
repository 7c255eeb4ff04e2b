"""Why a worker's process ended."""

from __future__ import annotations

import signal

from headrace.run.ports import Died
from headrace.run.wire import Ended

_SIGNALS = {
    signal.SIGKILL: "it was killed (signal 9); the kernel does so when memory runs out",
    signal.SIGSEGV: "it crashed: a segmentation fault (signal 11)",
    signal.SIGABRT: "it aborted itself (signal 6)",
    signal.SIGBUS: "it crashed: a bus error (signal 7)",
}


def death(ended: Ended, *, babbled: bool, doomed: str, quitting: bool, last_words: str) -> Died:
    """Return the notice that a worker has ended, with the cause.

    `babbled` is true if the worker wrote something to its channel that isn't a message. `doomed` is why the backend
    ended the worker (empty: it didn't). `quitting` is true if the worker had been told to leave. `last_words` is the
    last line that the worker printed on stderr.
    """
    worker = ended.worker
    if ended.unfit:
        return Died(worker, "refused", ended.unfit, ended.hint)
    if ended.memory:
        return Died(worker, "memory", ended.memory)
    if babbled:
        return Died(worker, "crash", "its code wrote to the connection between worker and driver, so it was ended")
    if doomed:
        return Died(worker, "cancelled", doomed)
    if quitting and ended.status == 0:
        return Died(worker, "cancelled", "it left as it was told to")
    if ended.status == -signal.SIGTERM:
        return Died(worker, "lost", "a signal from outside of the run told it to end (SIGTERM)")
    # When an exception ends Python, it prints the exception and exits with code 1.
    return Died(worker, "crash", with_words(cause(ended.status), last_words if ended.status == 1 else ""))


def overdue(grace_s: float) -> str:
    """Return why a worker ended that had `grace_s` seconds to end by itself, and was killed then."""
    return f"the attempt had not ended {grace_s:g} s after it was told to stop, so it was killed"


def with_words(what: str, words: str) -> str:
    """Return `what`, which says what happened to a process, followed by `words`, the last line that the process
    printed. If `words` is empty, return `what` alone."""
    return f"{what}: {words}" if words else what


def cause(status: int) -> str:
    """Return why a process ended. `status` is its exit code, or the negative number of the signal that ended it."""
    if status >= 0:
        return f"it ended its own process, with exit code {status}"
    return _SIGNALS.get(signal.Signals(-status), f"it was ended by signal {-status}")
