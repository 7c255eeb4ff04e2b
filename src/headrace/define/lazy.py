"""Values that a pipeline's body is given by name, and that are loaded only where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from headrace.define.ports import current, resolver
from headrace.errors import UsageError
from headrace.spec.artifact import Ref

L = TypeVar("L", bound="Late")


class Late:
    """A record some of whose last fields are loaded when a pipeline's body asks for them; a stage is given it whole."""

    __slots__ = ("__dict__", "_headrace_late")  # not among the fields, which are what is saved of it

    def __getattr__(self, name: str) -> Any:
        values = late_of(self)
        if values is None or name not in values:
            raise AttributeError(f"a {type(self).__name__} has no attribute `{name}`")
        ref, found = values[name], resolver.get()
        value = None if ref is None or found is None else found.load(ref)
        object.__setattr__(self, name, value)
        return value


def late(kind: type[L], values: Mapping[str, Ref | None], /, **fields: object) -> L:
    """Make a record of these fields, and of those whose values are those of artifacts, or None."""
    made = object.__new__(kind)
    for field, value in {**fields, "_headrace_late": values}.items():
        object.__setattr__(made, field, value)
    return made


def refuse_in_stage(what: str) -> None:
    """Refuse to be asked by a stage, where the answer would be in no key.

    Raises:
        UsageError: a stage asks.
    """
    if current() is not None:
        raise UsageError(
            f"{what} was called in a stage", hint="call it in the pipeline's body, and pass the result to the stage"
        )


def late_of(record: Late) -> Mapping[str, Ref | None] | None:
    """Return the artifacts of a record's late fields, in their order; None where it is an ordinary one."""
    try:
        found: Mapping[str, Ref | None] = object.__getattribute__(record, "_headrace_late")
    except AttributeError:
        return None
    return found
