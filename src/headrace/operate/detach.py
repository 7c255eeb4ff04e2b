"""Runs a driver in its own process, independent of the terminal and the command that started it."""

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
"""How many seconds the command waits for the pipeline's trace. If the trace takes longer, its errors are recorded in
the run."""


class Announcing(NoObserver):
    """An observer that writes the run's id, as soon as the id is known, to a pipe. The command that started the run
    reads the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def opened(self, run_id: str) -> None:
        """Write the run's id to the pipe, and close the pipe."""
        self.say({"run": run_id})

    def say(self, message: dict[str, str | None]) -> None:
        """Write a message to the pipe and close the pipe. Later messages are dropped."""
        if self._descriptor >= 0:
            os.write(self._descriptor, msgspec.json.encode(message))
            os.close(self._descriptor)
            self._descriptor = -1


def run_detached(
    project: Project, pipeline: str, params: Mapping[str, str], policy: Policy, watch: Callable[[], None]
) -> RunView:
    """Run a pipeline in a new process. Return the run as soon as it is traced, or after `OPENS_S` seconds.

    The new process first calls `watch`, because threads of this process, such as the thread that handles signals,
    aren't copied to the new process.

    Raises:
        HeadraceError: the run couldn't be started.
    """
    opens_s = OPENS_S if _is_written(project, pipeline) else math.inf
    run_id = detached(lambda observer: drive(project, pipeline, params, policy, observer, opens_s=opens_s), watch)
    with views(project) as found:
        return found.show(run_id)


def _is_written(project: Project, pipeline: str) -> bool:
    """Return whether the pipeline's name occurs in the files that may define it.

    If the name doesn't occur there, it may be misspelt. Only a trace of the pipeline can find that out, so
    `run_detached` then waits until the trace ends.
    """
    name, files = named(project, pipeline)
    word = re.compile(rf"\b{re.escape(name)}\b")
    with suppress(OSError):
        return any(word.search((project.root / file).read_text("utf-8", "replace")) for file in files)
    return False


def detached(work: Callable[[Announcing], object], watch: Callable[[], None] = lambda: None) -> str:
    """Call `work` in a new process with its own session. Return the run's id as soon as the run is in the ledger.

    `watch` is called in the new process first.

    Raises:
        HeadraceError: the run couldn't be opened.
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
    answer = msgspec.json.decode(message, type=dict[str, str | None])
    if answer.get("run"):
        return str(answer["run"])
    kind = getattr(errors, str(answer["error"]), HeadraceError)
    raise kind(answer["message"] or "", hint=answer["hint"])


def _leave(work: Callable[[Announcing], object], observer: Announcing, watch: Callable[[], None]) -> None:
    """Leave the terminal and the command's session, call `work`, and end the process. This function never returns."""
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
    except BaseException as error:  # noqa: BLE001  the process ends here, and its parent must learn why
        observer.say({"error": "HeadraceError", "message": masked(f"{type(error).__name__}: {error}"), "hint": None})
    finally:
        os._exit(code)
