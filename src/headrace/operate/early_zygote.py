"""Starts the zygote, the process that forks workers, before the driver imports anything, so that the zygote and the
driver start in parallel.

The zygote is started as in the project's last run: by the same command, which may put it into a Linux namespace, and
with the same environment variables. If these have changed, the zygote is ended and another is started. This module
imports nothing slow, not even `typing`, `json` or `pathlib`: they take 15 ms, a tenth of a small run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from headrace.backends.processes.environment_variables import seen
from headrace.backends.processes.spawn import Spawned, spawn

_NOTE = "zygote"  # the words of the command, an empty one, and the variables; each ended by a zero byte
_begun: list[tuple[str, list[str], Spawned]] = []  # at most one zygote; a list, so that no global is rebound


def begin(arguments: Sequence[str]) -> None:
    """If `headrace` with these arguments needs a zygote, start one in the same way as in an earlier run: with the
    `prefix` and the `variables` that `take` wrote to a file. If there is no such file, do nothing."""
    if arguments[:1] not in (["run"], ["resume"], ["plan"]) or "--help" in arguments or "--detach" in arguments:
        return
    try:
        home = os.environ.get("HEADRACE_HOME") or _home(os.getcwd())
        if home is None:
            return
        with open(os.path.join(home, _NOTE), "rb") as file:
            way = [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
        at = way.index("")
        _begun.append((os.path.realpath(home), way, spawn(seen(os.environ, way[at + 1 :]), way[:at])))
    except (OSError, ValueError):
        return  # there is no note, or an older Headrace's, or bubblewrap or the current folder doesn't exist any more


def take(home: os.PathLike[str], prefix: Sequence[str], variables: Sequence[str]) -> Spawned | None:
    """Return the zygote that was started early, if it was started for this project with `prefix` and `variables`.

    Otherwise return None, and write `prefix` and `variables` to a file for the next run. `prefix` is the command that
    starts a process in the workers' Linux namespace, or empty if they have none. `variables` are the names of the
    environment variables that stages see.
    """
    way = [*prefix, "", *variables]
    while _begun:
        there, words, spawned = _begun.pop()
        if there == os.path.realpath(home) and words == way:
            return spawned
        spawned.discard()
    with open(os.path.join(home, _NOTE), "wb") as file:
        file.write(b"".join(os.fsencode(word) + b"\0" for word in way))
    return None


def end() -> None:
    """If a zygote was started early and `take` hasn't returned it, end it."""
    while _begun:
        _begun.pop()[2].discard()


def _home(folder: str) -> str | None:
    """Return the state folder of the project that a folder is in, or None if it is in none."""
    while True:
        if os.path.exists(os.path.join(folder, "headrace.toml")):
            return os.path.join(folder, ".headrace")
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
