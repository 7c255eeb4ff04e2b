"""How an attempt is told to end."""

from __future__ import annotations


class StopAttempt(BaseException):
    """The attempt is told to end: raised in the user's code, so that its `finally` blocks run."""
