"""Tables among the arguments of a ready-made stage: what is none is told in our words, not in those of what breaks."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.errors import UsageError


def is_table(kind: Any) -> bool:
    """Tell whether a type is Arrow's table; Arrow needn't be imported."""
    return getattr(kind, "__module__", "").startswith("pyarrow") and getattr(kind, "__name__", "") == "Table"


def check_tables(
    stage: str, signature: inspect.Signature, hints: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Refuse what is given for a table and is none.

    Raises:
        UsageError: it names the parameter.
    """
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return  # Python says it of the call itself
    for name, value in given.items():
        kind, several = hints.get(name), signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        if is_table(kind) or any(is_table(each) for each in typing.get_args(kind)):
            for each_name, each in value.items() if several else [(name, value)]:
                if not (is_table(type(each)) or (each is None and not is_table(kind))):
                    raise UsageError(
                        f"parameter `{each_name}` of `{stage}` takes a `pyarrow.Table`, and was given a"
                        f" `{type(each).__name__}`",
                        hint=_hint(each),
                    )


def _hint(value: Any) -> str:
    if type(value).__module__.partition(".")[0] == "pandas":
        return "`pyarrow.Table.from_pandas(frame)` makes one"
    if hasattr(value, "to_arrow"):
        return "its `to_arrow()` makes one"
    fields = [name for name in getattr(value, "_fields", ()) if is_table(type(getattr(value, name)))]
    if fields:
        return f"give one of its fields: {', '.join(f'`.{name}`' for name in fields)}"
    return "give a table: `pyarrow.table({...})` makes one"
