"""Checks of the ledger: of a file and the locks beside it, or of a server and its clock."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial

from headrace.inspect.views import read
from headrace.ledger.database.sqlite import os_user
from headrace.operate.doctor.finding import SKEW_S, Answer
from headrace.project.project import Project
from headrace.project.state import inspect_ledger, ledger_is_shared, ledger_path
from headrace.report.measures import bytes_text, count_text, seconds_text

SLOW_COMMIT_S = 0.02
RUNS = 10_000
"""At most this many runs are counted."""


def ledger_checks(project: Project) -> dict[str, Callable[[], Answer]]:
    """Return the checks of the ledger, by name. For a ledger in a file, file locks and the clock are checked too."""
    if ledger_is_shared(project):
        return {"ledger": partial(_server, project)}
    return {"locks": partial(_locks, project), "ledger": partial(_file, project), "clock": partial(_clock, project)}


def _server(project: Project) -> Answer:
    seen = inspect_ledger(project)
    found = (
        f"PostgreSQL {seen.version.split()[0]}, {_runs(project)} in {bytes_text(seen.bytes)}; answers in "
        f"{seen.round_trip_s * 1000:.1f} ms, commits in {seen.commit_s * 1000:.1f} ms; you are recorded as the role"
        f" that logged in, `{seen.user}`"
    )
    if abs(seen.offset_s) > SKEW_S:
        clock = f"its clock is {seconds_text(abs(seen.offset_s))} {'ahead' if seen.offset_s > 0 else 'behind'}"
        hint = "set both clocks by NTP: leases use the server's clock, and times of tasks come from the workers' clocks"
        return "doubtful", f"{found}; {clock}", hint
    if seen.commit_s > SLOW_COMMIT_S:
        return "doubtful", found, "the server is far away or slow: every durable step waits for a commit"
    return "well", found, None


def _file(project: Project) -> Answer:
    file = ledger_path(project)
    if not file.exists():
        return "well", "none yet; the first run makes it", None
    who = f"you are recorded as the operating system's user `{os_user()}`, and nothing checks that"
    return "well", f"{_runs(project)} in {bytes_text(file.stat().st_size)}; {who}", None


def _runs(project: Project) -> str:
    with read(project) as views:
        found = views.runs(limit=RUNS)
    return f"{RUNS:,} runs and more" if found.more is not None else count_text(len(found.runs), "run")


def _locks(project: Project) -> Answer:
    with tempfile.NamedTemporaryFile(dir=project.make_home()) as file, open(file.name, "rb") as other:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "well", "the file system keeps locks", None
    return "wrong", "the file system doesn't keep locks", "move the state to a local disk by HEADRACE_HOME"


def _clock(project: Project) -> Answer:
    with tempfile.NamedTemporaryFile(dir=project.make_home()) as file:
        skew = os.stat(file.name).st_mtime - time.time()
    if abs(skew) > SKEW_S:
        found = f"the disk's clock differs from this machine's by {seconds_text(abs(skew))}"
        return "doubtful", found, "set both clocks by NTP"
    with read(project) as views:
        newest = views.runs(limit=1).runs
    if newest and newest[0].created > time.time() + SKEW_S:
        found = f"run `{newest[0].run}` began in the future"
        return "doubtful", found, "set this machine's clock by NTP; nothing was lost"
    return "well", f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}", None
