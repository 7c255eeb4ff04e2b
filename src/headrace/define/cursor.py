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
"""Cursors whose names begin so are Headrace's own notes."""


@dataclasses.dataclass(frozen=True, repr=False)
class Cursor(Late):
    """A cursor as a run has read it: version 0 has no value (None) yet.

    A stage takes it as an argument, so it is part of the stage's key. The stage sets its next value by
    `hr.advance`. In a pipeline's body, `value` is loaded when it is asked for.
    """

    name: str
    version: int
    value: Any

    def __repr__(self) -> str:
        return f"<cursor {self.name}:{self.version}>"


def cursor(name: str) -> Cursor:
    """Return a cursor as it is now; a run that is resumed gets the answer that it got first.

    Outside of a pipeline it has version 0 and no value.

    Raises:
        UsageError: it can't be called so.
    """
    if not _NAME.fullmatch(str(name)) or name.startswith(OURS):
        raise UsageError(
            f"a cursor can't be called `{name}`",
            hint="use letters, digits and `_ . / : @ -`, such as `orders/day`; `headrace.` as a beginning is reserved",
        )
    found = resolver.get()
    if found is None:
        refuse_in_stage(f"`hr.cursor({name!r})`")
        return Cursor(name, 0, None)
    version, ref = found.point("cursor", name)
    return late(Cursor, {"value": ref}, name=name, version=version)


def advance(cursor: Cursor, value: object) -> None:
    """Give a cursor its next value once the stage that calls this has succeeded, in the same transaction.

    If another run has set one in the meantime, that one stays, and this run says so: nothing is overwritten. Of
    several calls in one attempt the last counts. Outside of a run, nothing is done.
    """
    attempt = current()
    if attempt is not None:
        attempt.intend(Advance(cursor.name, cursor.version, attempt.artifact(value)))
