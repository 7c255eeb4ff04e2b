"""The records, such as cursors, that a pipeline's body asks for by name. The values in a record are loaded only when
they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from headrace.define.ports import current, resolver
from headrace.errors import UsageError
from headrace.spec.artifact import Ref

L = TypeVar("L", bound="Late")


class Late:
    """The base of a record whose last fields may be late. In a pipeline's body, a late field is loaded when it is first
    read. A stage gets the record with all fields loaded."""

    __slots__ = ("__dict__", "_headrace_late")  # no field: only a record's fields are saved

    def __getattr__(self, name: str) -> Any:
        values = late_of(self)
        if values is None or name not in values:
            raise AttributeError(f"a {type(self).__name__} has no attribute `{name}`")
        ref, active = values[name], resolver.get()
        value = None if ref is None or active is None else active.load(ref)
        object.__setattr__(self, name, value)
        return value


def late(kind: type[L], values: Mapping[str, Ref | None], /, **fields: object) -> L:
    """Return a new record. `fields` are set now. `values` has the artifact from which each late field will be loaded,
    by the field's name. If there is no artifact, the field's value is None."""
    made = object.__new__(kind)
    for field, value in {**fields, "_headrace_late": values}.items():
        object.__setattr__(made, field, value)
    return made


def refuse_in_stage(what: str) -> None:
    """Raise an error if a stage is running. Functions that only a pipeline's body may call use this: if a stage called
    them, their result would be missing in the stage's key.

    `what` is the call that is refused, for the message.

    Raises:
        UsageError: a stage is running.
    """
    if current() is not None:
        raise UsageError(
            f"{what} was called in a stage", hint="call it in the pipeline's body, and pass the result to the stage"
        )


def late_of(record: Late) -> Mapping[str, Ref | None] | None:
    """Return the artifacts of a record's late fields, by field name and in order; None if no field is late."""
    try:
        values: Mapping[str, Ref | None] = object.__getattribute__(record, "_headrace_late")
    except AttributeError:
        return None
    return values
