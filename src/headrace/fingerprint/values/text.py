"""Makes a short text that shows a constant to people."""

from __future__ import annotations

import re
import reprlib
import types
from collections.abc import Iterable
from typing import Any

from headrace.fingerprint.project_roots import ProjectRoots
from headrace.fingerprint.python_objects import is_thing, thing_name

LONGEST = 200


class _Short(reprlib.Repr):
    """Shows plain values, and some elements of each container. Other values are shown only by their type, since `repr`
    may run user code."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = LONGEST
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = self.maxdeque = 10

    def repr_set(self, x: set[Any], level: int) -> str:
        return self._in_order(x, level, "{", "}") if x else "set()"

    def repr_frozenset(self, x: frozenset[Any], level: int) -> str:
        return self._in_order(x, level, "frozenset({", "})") if x else "frozenset()"

    def _in_order(self, x: Iterable[Any], level: int, left: str, right: str) -> str:
        shown = sorted(self.repr1(item, level - 1) for item in x)
        return left + ", ".join(shown[: self.maxset]) + (", ..." if len(shown) > self.maxset else "") + right

    def repr_instance(self, x: object, level: int) -> str:
        kind = type(x)
        if is_thing(x):
            return thing_name(x)
        if isinstance(x, types.MethodType):
            return thing_name(x.__func__)
        if kind.__module__.startswith("pandas._libs") or (kind.__module__ == "numpy" and kind.__name__ != "ndarray"):
            return super().repr_instance(x, level)
        if kind.__module__ in (
            "builtins",
            "datetime",
            "decimal",
            "fractions",
            "pathlib",
            "pathlib._local",
            "re",
            "uuid",
        ):
            return super().repr_instance(x, level)
        shape = getattr(x, "shape", None) if kind.__module__.partition(".")[0] in ("numpy", "pandas", "torch") else None
        return f"<{kind.__qualname__} {shape}>" if shape else f"<{kind.__qualname__}>"


_SHORT = _Short()


def shown(value: object, roots: ProjectRoots) -> str:
    """Return a text that shows a value in up to 200 characters. The text is the same in every process."""
    try:
        text = _SHORT.repr(value)
    except Exception:  # noqa: BLE001  the user's class may raise anything while it is shown
        text = f"<{type(value).__qualname__}>"
    text = roots.neutral(text).replace("\0root\0", ".")
    return re.sub(r" at 0x[0-9a-f]+", "", text)[:LONGEST]
