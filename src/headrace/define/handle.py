"""A handle: the result of a stage call inside a pipeline, in place of a value that doesn't exist yet."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

from headrace.codec.values import File
from headrace.define.ports import resolver
from headrace.errors import TraceError
from headrace.spec.graph import Out

T = TypeVar("T")
UNKNOWN = typing.Any


class Handle:
    """A placeholder for a task's output or a part of it. Pass a handle to other stages. Each field of a handle is a
    handle too."""

    __slots__ = ("_headrace_hint", "_headrace_kind", "_headrace_out", "_headrace_stage")

    def __init__(self, out: Out, hint: Any, stage: str, kind: str = "stage") -> None:
        self._headrace_out = out
        self._headrace_hint = hint
        self._headrace_stage = stage
        self._headrace_kind = kind

    def value(self) -> Any:
        """Run the tasks traced so far and return the output itself, for control flow that depends on it.

        Raises:
            TaskFailed: the handle's task failed or was skipped.
            TraceError: no pipeline is being traced.
        """
        active = resolver.get()
        if active is None:
            raise TraceError(
                "`.value()` was called outside a running pipeline", hint='after a run, use run["task"].value()'
            )
        return active.value(self._headrace_out)

    def __getattr__(self, name: str) -> Handle:
        if name.startswith("__"):
            raise AttributeError(name)
        fields = named_fields(self._headrace_hint)
        if fields is None:
            raise TraceError(
                f"the output of `{self._headrace_stage}` is not known yet, so it has no `.{name}`",
                hint="annotate the stage's return type with a NamedTuple or dataclass, or use `.value()`",
            )
        if name not in fields:
            raise TraceError(
                f"the output of `{self._headrace_stage}` has no field `{name}`", hint=f"it has: {', '.join(fields)}"
            )
        position = list(fields).index(name)
        return self._part(position, fields[name])

    def __getitem__(self, index: object) -> Handle:
        items = tuple_items(self._headrace_hint)
        if items is None or not isinstance(index, int):
            self._unknown(f"[{index!r}]")
        position = index + len(items) if index < 0 else index
        if not 0 <= position < len(items):
            raise TraceError(
                f"the output of `{self._headrace_stage}` has {len(items)} parts, so there is no part {index}",
                hint="count from 0",
            )
        return self._part(position, items[position])

    def __iter__(self) -> Iterator[Handle]:
        items = tuple_items(self._headrace_hint)
        if items is None:
            self._unknown("length")
        return iter([self._part(position, hint) for position, hint in enumerate(items)])

    def __len__(self) -> int:
        items = tuple_items(self._headrace_hint)
        return len(items) if items is not None else self._unknown("length")

    def _part(self, position: int, hint: Any) -> Handle:
        out = self._headrace_out
        return Handle(Out(out.task, (*out.path, position)), hint, self._headrace_stage, self._headrace_kind)

    def _unknown(self, what: str) -> NoReturn:
        raise TraceError(
            f"the output of `{self._headrace_stage}` is not known while the pipeline is traced, so it has no {what}",
            hint="use `.map()` for lists, `when=` for conditions, or `.value()` for the object itself",
        )

    def __bool__(self) -> bool:  # noqa: PLE0304  it has none: that is the point
        self._unknown("truth")

    def _refuse(self, *_: object) -> Any:
        self._unknown("value to compute with")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __contains__ = __call__ = __int__ = __float__ = __index__ = _refuse

    def __eq__(self, other: object) -> bool:
        return self._unknown("value to compare") if not isinstance(other, Handle) else self is other

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        return str(self._unknown("text"))

    def __format__(self, _: str) -> str:
        return str(self._unknown("text"))

    def __repr__(self) -> str:
        path = "".join(f"[{position}]" for position in self._headrace_out.path)
        return f"<handle to {self._headrace_out.task}{path}>"

    def __reduce__(self) -> NoReturn:
        raise TraceError(
            f"a handle to `{self._headrace_stage}` is inside a value that is given as an argument",
            hint="handles may be in lists, tuples and dictionaries; not in other objects",
        )


def measured(handle: object) -> str | None:
    """Return the name of a handle's stage if the stage is of kind `evaluate` and the handle's value is of a plain type
    or a file; else return None."""
    if not isinstance(handle, Handle) or handle._headrace_kind != "evaluate":
        return None
    hint = handle._headrace_hint
    plain = (typing.get_origin(hint) or hint) in (dict, list, int, float, str, File)
    return handle._headrace_stage if plain else None


def value(handle: T) -> T:
    """Return the value of a handle. This is `handle.value()`, but type checkers know the type of the result.

    An argument that isn't a handle is returned unchanged.
    """
    return handle.value() if isinstance(handle, Handle) else handle


def named_fields(hint: Any) -> dict[str, Any] | None:
    """Return the fields of a NamedTuple, dataclass or msgspec struct, with their types; None for other types. If the
    annotations can't be evaluated, the types are `UNKNOWN`."""
    origin = typing.get_origin(hint) or hint
    if not isinstance(origin, type):
        return None
    if issubclass(origin, tuple) and hasattr(origin, "_fields"):
        names = list(origin._fields)
    elif dataclasses.is_dataclass(origin):
        names = [field.name for field in dataclasses.fields(origin)]
    elif hasattr(origin, "__struct_fields__"):
        names = list(origin.__struct_fields__)
    else:
        return None
    try:
        hints = typing.get_type_hints(origin)
    except Exception:  # noqa: BLE001  an annotation is user code: types that can't be read are not known
        hints = {}
    return {name: hints.get(name, UNKNOWN) for name in names}


def tuple_items(hint: Any) -> list[Any] | None:
    """Return the types of the items if `hint` is a tuple of known length or a NamedTuple, else None."""
    fields = named_fields(hint)
    if fields is not None and issubclass(typing.get_origin(hint) or hint, tuple):
        return list(fields.values())
    if typing.get_origin(hint) is tuple:
        items = list(typing.get_args(hint))
        return None if Ellipsis in items else items
    return None
