"""Values that a pipeline's body is given by name, and that are loaded only where they are used."""

from __future__ import annotations

from typing import Any, TypeVar

from headrace.define.ports import current, resolver
from headrace.errors import UsageError
from headrace.spec.artifact import Ref

L = TypeVar("L", bound="Late")


class Late:
    """A record whose last field, `value`, is loaded when a pipeline's body asks for it; a stage is given it whole."""

    __slots__ = ("__dict__", "_headrace_value")  # not among the fields, which are what is saved of it

    def __getattr__(self, name: str) -> Any:
        is_late, ref = value_of(self) if name == "value" else (False, None)
        if not is_late:
            raise AttributeError(f"a {type(self).__name__} has no attribute `{name}`")
        found = resolver.get()
        value = None if ref is None or found is None else found.load(ref)
        object.__setattr__(self, "value", value)
        return value


def late(kind: type[L], ref: Ref | None, /, **fields: object) -> L:
    """Make a record of these fields, whose value is that of an artifact, or None."""
    made = object.__new__(kind)
    for field, value in {**fields, "_headrace_value": ref}.items():
        object.__setattr__(made, field, value)
    return made


def refuse_in_stage(what: str) -> None:
    """Refuse to be asked by a stage, where the answer would be in no key.

    Raises:
        UsageError: a stage asks.
    """
    if current() is not None:
        raise UsageError(
            f"{what} was called in a stage", hint="ask in the pipeline's body, and give it to the stage as an argument"
        )


def value_of(record: Late) -> tuple[bool, Ref | None]:
    """Say whether a record is one that a pipeline's body was given, and its value's artifact."""
    try:
        return True, object.__getattribute__(record, "_headrace_value")
    except AttributeError:
        return False, None
