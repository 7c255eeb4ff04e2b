"""Runs a driver on its own, apart from the terminal and the command that began it."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from headrace import errors
from headrace.errors import HeadraceError
from headrace.ledger.views.rows import RunView
from headrace.operate.progress.observer import NoObserver
from headrace.operate.session import drive, named
from headrace.project.project import Project
from headrace.project.state import views
from headrace.spec.policy import Policy
from headrace.spec.redaction import masked

OPENS_S = 2.0
"""A pipeline that is traced within this time is known to be right when the command returns; others show it later."""


class Announcing(NoObserver):
    """Tells the command that began the run its id, once there is one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def opened(self, run_id: str) -> None:
        """Write the run's id, and listen no more."""
        self.say({"run": run_id})

    def say(self, message: dict[str, str | None]) -> None:
        """Write one message; the second is one too many."""
        if self._descriptor >= 0:
            os.write(self._descriptor, msgspec.json.encode(message))
            os.close(self._descriptor)
            self._descriptor = -1


def run_detached(
    project: Project, pipeline: str, params: Mapping[str, str], policy: Policy, watch: Callable[[], None]
) -> RunView:
    """Run a pipeline in a process of its own; return the run as soon as it is traced, or after `OPENS_S` seconds.

    That process begins with `watch`: threads of this one, such as that which heeds signals, aren't in it.

    Raises:
        HeadraceError: whatever kept it from beginning.
    """
    opens_s = OPENS_S if _is_written(project, pipeline) else math.inf
    run_id = detached(lambda observer: drive(project, pipeline, params, policy, observer, opens_s=opens_s), watch)
    with views(project) as found:
        return found.show(run_id)


def _is_written(project: Project, pipeline: str) -> bool:
    """Return whether the pipeline's name stands in the files that may define it: of one that doesn't, such as a
    misspelt one, only the trace can tell whether there is such a pipeline, and is waited for."""
    name, files = named(project, pipeline)
    word = re.compile(rf"\b{re.escape(name)}\b")
    with suppress(OSError):
        return any(word.search((project.root / file).read_text("utf-8", "replace")) for file in files)
    return False


def detached(work: Callable[[Announcing], object], watch: Callable[[], None] = lambda: None) -> str:
    """Drive a run in a process of its own session; return its id as soon as it is open.

    Raises:
        HeadraceError: whatever kept the run from being opened.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _leave(work, Announcing(writing), watch)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as pipe:
        message = pipe.read()
    if not message:
        raise HeadraceError("the detached driver ended before its run began", hint="run it without --detach to see why")
    told = msgspec.json.decode(message, type=dict[str, str | None])
    if told.get("run"):
        return str(told["run"])
    kind = getattr(errors, str(told["error"]), HeadraceError)
    raise kind(told["message"] or "", hint=told["hint"])


def _leave(work: Callable[[Announcing], object], observer: Announcing, watch: Callable[[], None]) -> None:
    """Leave the terminal and the command's session, drive, and end: this never returns."""
    code = 5
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        watch()
        work(observer)
        code = 0
    except HeadraceError as error:
        observer.say({"error": type(error).__name__, "message": error.message, "hint": error.hint})
        code = error.exit_code
    except BaseException as error:  # noqa: BLE001  the process ends here, and its parent is to know why
        observer.say({"error": "HeadraceError", "message": masked(f"{type(error).__name__}: {error}"), "hint": None})
    finally:
        os._exit(code)
