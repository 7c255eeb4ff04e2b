"""Exceptions for a value that can't be saved. While a `Misfit` passes up through nested values, it collects the path to
the value."""

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
        """Add one step to the path from the whole value to this value, and return this exception. Inner steps are added
        before outer ones."""
        self.where.append(step)
        return self

    def error(self) -> CodecError:
        """Return the error to show to the user."""
        where = "".join(reversed(self.where))
        place = f" (at `{where}` of the value)" if where else ""
        return CodecError(f"a `{self.kind}`{place} can't be saved: {self.why}", hint=self.hint)


class Declined(Exception):
    """Raised by a codec that finds only while saving that it can't save a value. The value is then pickled."""


class CallerFailed(Exception):
    """The user's own code, such as a generator, raised `error` while a value was saved. The user is shown `error`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error
