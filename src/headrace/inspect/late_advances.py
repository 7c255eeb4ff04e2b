"""What a run did after another run or a person had moved a cursor: which of its advances were dropped, and which
outputs it reused from the other run."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from headrace.errors import NotFoundError
from headrace.inspect.views import CursorView, Views
from headrace.plan.keys import told
from headrace.run.events import Event, Launched, Reused, Succeeded, stored_event
from headrace.spec.intent import CURSOR, Advance

_ADVANCE = msgspec.msgpack.encode(Advance.__struct_config__.tag)
_CURSOR = f":{CURSOR}:".encode()
"""The encoded inputs of a task contain these bytes if one of its arguments is a cursor."""


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


class PassedAgain(Struct, frozen=True, kw_only=True):
    """A task that reused its output from `run`, which overlaps with the task's own run. The task that made the output
    asked to advance a cursor, and the cursor has been moved on from `version`."""

    task: str
    cursor: str
    version: int
    run: str

    @property
    def text(self) -> str:
        return (
            f"its output was reused from run `{self.run}`, and cursor `{self.cursor}` was moved on from version"
            f" {self.version} meanwhile: both runs pass this output on"
        )


def overtaken(views: Views, run: str) -> list[Overtaken]:
    """Return the advances of a run that were dropped. They are found by comparing the cursors' versions with the values
    that tasks asked to set."""
    if not views.cursors():
        return []  # so that the events of a large run are not read for nothing
    advances = {
        (event.task, each.name): each
        for event in _with(views, run, _ADVANCE)
        if isinstance(event, Succeeded)
        for each in _advances(event)
    }
    dropped = []
    for (task, name), advance in advances.items():
        since = [each for each in views.cursors(name) if each.version > advance.version]
        if since and not any(_has_set(each, run, task, advance) for each in since):
            first = since[-1]
            by = f"run `{first.run}`" if first.run else f"`{first.by}`"
            dropped.append(Overtaken(task=task, cursor=name, version=advance.version, by=by))
    return dropped


def passed_again(views: Views, run: str) -> list[PassedAgain]:
    """Return the outputs that a run reused from runs that overlap with it, so that both runs pass the same output on.

    The version of a cursor is in the key of a task that gets the cursor. So if such a task's output is reused from
    another run, both runs have read the same version, before either advanced the cursor.
    """
    newest = {each.name: each.version for each in views.cursors()}
    if not newest:
        return []  # as above
    latest = {event.task: event for event in _with(views, run, _CURSOR) if isinstance(event, Launched | Reused)}
    reused = {task: event for task, event in latest.items() if isinstance(event, Reused) and event.run not in ("", run)}
    made = {maker: _advancing(views, maker) for maker in {event.run for event in reused.values()}}
    return [
        PassedAgain(task=task, cursor=advance.name, version=advance.version, run=event.run)
        for task, event in reused.items()
        for inputs, success in made[event.run]
        if success.out.identity == event.out.identity and inputs == told(event.inputs)
        for advance in _advances(success)
        if newest.get(advance.name, 0) > advance.version
    ]


def _advancing(views: Views, run: str) -> list[tuple[dict[str, str], Succeeded]]:
    """Return the successes of a run's tasks that asked to advance a cursor, each with the identities of the inputs that
    the task has read. Return nothing if the run was deleted."""
    inputs: dict[str, bytes] = {}
    successes: list[tuple[dict[str, str], Succeeded]] = []
    try:
        for event in _with(views, run, _CURSOR, _ADVANCE):
            if isinstance(event, Launched):
                inputs[event.task] = event.inputs
            elif isinstance(event, Succeeded) and event.task in inputs:
                successes.append(({**told(inputs[event.task]), **dict(event.saw)}, event))
    except NotFoundError:  # the garbage collector deleted it
        return []
    return successes


def _with(views: Views, run: str, *marks: bytes) -> Iterator[Event]:
    """Yield the events of a run whose encoded form contains one of these marks. All other events aren't even
    decoded."""
    return (stored_event(body) for body in views.bodies(run) if any(mark in body for mark in marks))


def _advances(success: Succeeded) -> list[Advance]:
    return [each for each in success.intents if isinstance(each, Advance)]


def _has_set(version: CursorView, run: str, task: str, advance: Advance) -> bool:
    """Return whether a version was set by this task. Return True if the ledger is so old that it doesn't record who set
    the version."""
    if version.run is None and version.by is None:
        return True
    return (version.run, version.task, version.value.digest) == (run, task, advance.value.digest)
