"""What goes up through nested values when one inside of them isn't saved, gathering the way to it."""

from __future__ import annotations

from headrace.errors import CodecError


class Misfit(Exception):
    """A value that no codec takes: its class, why, what to do instead, and where it stands."""

    def __init__(self, kind: str, why: str, hint: str) -> None:
        super().__init__(kind, why, hint)
        self.kind = kind
        self.why = why
        self.hint = hint
        self.where: list[str] = []

    def inside(self, step: str) -> Misfit:
        """Note one step of the way from the whole value to this one; steps come innermost first."""
        self.where.append(step)
        return self

    def error(self) -> CodecError:
        """Say it to the user."""
        where = "".join(reversed(self.where))
        place = f" (at `{where}` of the value)" if where else ""
        return CodecError(f"a `{self.kind}`{place} can't be saved: {self.why}", hint=self.hint)


class Declined(Exception):
    """Raised by a codec that on a closer look doesn't take a value after all; the last resort gets it."""


class CallerFailed(Exception):
    """The user's own code, run while its value was saved (a generator), raised `error`; that is what counts."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error
