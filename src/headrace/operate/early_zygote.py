"""Begins the process that forks workers before anything else is imported: it takes as long to start as the driver.

What begins it (the words of its namespace, and which variables it sees beside the usual ones) is as it was in the last
run of the project; should that have changed, the one begun early is thrown away. Nothing that takes long stands before
it, not even `typing`, `json` or `pathlib`: they take 15 ms, a tenth of a small run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from headrace.backends.processes.environment_variables import seen
from headrace.backends.processes.spawn import Spawned, spawn

_NOTE = "zygote"  # its words, an empty one, and the variables; each ended by a zero byte
_begun: list[tuple[str, list[str], Spawned]] = []  # at most one; a list, so that no global is rebound


def begin(arguments: Sequence[str]) -> None:
    """Begin it if these arguments will need it, and an earlier run told how."""
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
        return  # it was never told, or by an older Headrace, or bubblewrap or the current folder is gone


def take(home: os.PathLike[str], prefix: Sequence[str], variables: Sequence[str]) -> Spawned | None:
    """Return the one begun early, if it was begun for this project in this way; note the way for the next time."""
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
    """Throw away one that nobody took."""
    while _begun:
        _begun.pop()[2].discard()


def _home(folder: str) -> str | None:
    """Return the state folder of the project that a folder is in, or None."""
    while True:
        if os.path.exists(os.path.join(folder, "headrace.toml")):
            return os.path.join(folder, ".headrace")
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
