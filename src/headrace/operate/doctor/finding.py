"""A finding: the result of one check of `headrace doctor`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

State = Literal["well", "doubtful", "wrong"]

SKEW_S = 5.0
"""If two clocks differ by more than this many seconds, that is reported, because times of runs and ages of blobs are
compared across machines."""


class Finding(Struct, frozen=True, kw_only=True):
    """The result of a check. `about` is the check's name, `found` what was found, and `hint` what to do, or None."""

    about: str
    state: State
    found: str
    hint: str | None = None


Answer = tuple[State, str, str | None]
"""The return value of a check: the finding's `state`, `found` and `hint`."""
