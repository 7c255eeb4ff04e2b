"""The names of types in contracts. Arrow isn't imported here, because that takes long."""

from __future__ import annotations

import re

from headrace.errors import meant

FAMILY_NAMES = ("integer", "number", "text", "date", "timestamp", "boolean")
PLAIN = (
    *("null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("halffloat", "float", "double", "float16", "float32", "float64"),
    *("string", "large_string", "string_view", "binary", "large_binary", "binary_view"),
    *("date32", "date32[day]", "date64[ms]", "month_day_nano_interval"),
)
OF_TIME = tuple(
    f"{kind}[{unit}]"
    for kind, units in (
        ("time32", ("s", "ms")),
        ("time64", ("us", "ns")),
        ("timestamp", ("s", "ms", "us", "ns")),
        ("duration", ("s", "ms", "us", "ns")),
    )
    for unit in units
)
_NESTED = re.compile(
    r"(?:list|large_list|list_view|large_list_view|fixed_size_list|struct|map|dictionary|sparse_union|dense_union"
    r"|run_end_encoded|extension)<.*"
    r"|decimal(?:32|64|128|256)\(.+\)|fixed_size_binary\[\d+\]|timestamp\[(?:s|ms|us|ns), tz=.+\]",
    re.DOTALL,
)


def hint_of_type(name: str) -> str | None:
    """Return a hint if no column type has this name, or None if the name is known.

    >>> hint_of_type("double"), hint_of_type("list<item: int64>"), hint_of_type("duoble")
    (None, None, 'did you mean `double`?')
    """
    known = (*FAMILY_NAMES, *PLAIN, *OF_TIME)
    if name in known or _NESTED.fullmatch(name):
        return None
    return meant(name, known, f"the types are {', '.join(known)}, and Arrow's nested types")
