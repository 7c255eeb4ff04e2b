"""Exceptions for a value that can't be saved; `Misfit` collects the path to the value while the exception passes up
through nested values."""

from __future__ import annotations

from headrace.errors import CodecError


class Misfit(Exception):
    """A value that no codec takes: its class, the reason, what to do instead, and the path to it."""

    def __init__(self, kind: str, why: str, hint: str) -> None:
        super().__init__(kind, why, hint)
        self.kind = kind
        self.why = why
        self.hint = hint
        self.where: list[str] = []

    def inside(self, step: str) -> Misfit:
        """Add one step of the path from the whole value to this value (innermost step first), and return this
        exception."""
        self.where.append(step)
        return self

    def error(self) -> CodecError:
        """Return the error to show to the user."""
        where = "".join(reversed(self.where))
        place = f" (at `{where}` of the value)" if where else ""
        return CodecError(f"a `{self.kind}`{place} can't be saved: {self.why}", hint=self.hint)


class Declined(Exception):
    """Raised by a codec that finds, while saving, that it doesn't take a value after all; the value is then pickled."""


class CallerFailed(Exception):
    """The user's own code (a generator) raised `error` while its value was saved; the user is shown this error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error
