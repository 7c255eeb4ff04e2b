"""Cursors: named values that live between runs, such as how far a source has been read."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from headrace.define.lazy import Late, late, refuse_in_stage
from headrace.define.ports import current, resolver
from headrace.errors import UsageError
from headrace.spec.intent import Advance

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:@-]*")
OURS = "headrace."
"""The prefix of the names of cursors that Headrace itself uses."""


@dataclasses.dataclass(frozen=True, repr=False)
class Cursor(Late):
    """A cursor with the version and value that a run has read. In version 0, the cursor has no value yet: `value` is
    None.

    A stage takes the cursor as an argument, so the cursor is part of the key. The stage sets the next value by
    `hr.advance`. In a pipeline's body, `value` is loaded when the body reads it.
    """

    name: str
    version: int
    value: Any

    def __repr__(self) -> str:
        return f"<cursor {self.name}:{self.version}>"


def cursor(name: str) -> Cursor:
    """Return the cursor of this name with its newest version. If the run is resumed, it gets this version again.

    Outside of a pipeline the cursor has version 0 and no value.

    Raises:
        UsageError: the name isn't allowed, or the function is called in a stage.
    """
    if not _NAME.fullmatch(str(name)) or name.startswith(OURS):
        raise UsageError(
            f"a cursor can't be called `{name}`",
            hint="use letters, digits and `_ . / : @ -`, such as `orders/day`; names that begin with `headrace.` are"
            " reserved",
        )
    active = resolver.get()
    if active is None:
        refuse_in_stage(f"`hr.cursor({name!r})`")
        return Cursor(name, 0, None)
    version, ref = active.point("cursor", name)
    return late(Cursor, {"value": ref}, name=name, version=version)


def advance(cursor: Cursor, value: object) -> None:
    """Set a cursor's next value when the calling stage succeeds. One transaction stores the value and the success.

    If another run has set the cursor in the meantime, the other run's value stays, and this run shows a note. If an
    attempt calls this function several times, the last call counts. Outside of a run, the function does nothing.
    """
    attempt = current()
    if attempt is not None:
        attempt.intend(Advance(cursor.name, cursor.version, attempt.artifact(value)))
