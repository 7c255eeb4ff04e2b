"""Advances of cursors that a run made too late: another task had moved the cursor meanwhile."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from headrace.inspect.views import CursorView, Views
from headrace.run.events import Succeeded, decode_event
from headrace.spec.intent import Advance

_ADVANCE = msgspec.msgpack.encode(Advance.__struct_config__.tag)


class Overtaken(Struct, frozen=True, kw_only=True):
    """A task whose advance of a cursor was dropped.
    `by` is the run or person that had moved the cursor from `version`."""

    task: str
    cursor: str
    version: int
    by: str

    @property
    def text(self) -> str:
        return (
            f"its new value for cursor `{self.cursor}` was dropped: {self.by} had moved the cursor on from version"
            f" {self.version} meanwhile"
        )


def overtaken(views: Views, run: str) -> list[Overtaken]:
    """Return the advances of a run that were dropped. They are found by comparing the cursors' versions with the values
    that tasks asked to set."""
    if not views.cursors():
        return []  # so that the events of a large run are not read for nothing
    advances = {
        (event.task, each.name): each
        for event in (decode_event(body) for body in views.bodies(run) if _ADVANCE in body)
        if isinstance(event, Succeeded)
        for each in event.intents
        if isinstance(each, Advance)
    }
    dropped = []
    for (task, name), advance in advances.items():
        since = [each for each in views.cursors(name) if each.version > advance.version]
        if since and not any(_has_set(each, run, task, advance) for each in since):
            first = since[-1]
            by = f"run `{first.run}`" if first.run else f"`{first.by}`"
            dropped.append(Overtaken(task=task, cursor=name, version=advance.version, by=by))
    return dropped


def _has_set(version: CursorView, run: str, task: str, advance: Advance) -> bool:
    """Return whether a version was set by this task. Return True if the ledger is so old that it doesn't record who set
    the version."""
    if version.run is None and version.by is None:
        return True
    return (version.run, version.task, version.value.digest) == (run, task, advance.value.digest)
