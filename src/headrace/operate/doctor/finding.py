"""A finding: one thing that `headrace doctor` has looked at."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

State = Literal["well", "doubtful", "wrong"]

SKEW_S = 5.0
"""A clock that is off by more is worth a word: times of runs and ages of blobs are compared across machines."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `hint` says what to do about it, where there is something to do."""

    about: str
    state: State
    found: str
    hint: str | None = None


Answer = tuple[State, str, str | None]
"""What a look gives: a finding's `state`, `found` and `hint`."""
