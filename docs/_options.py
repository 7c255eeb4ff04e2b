"""An extension of griffe: a function whose options are declared once, as a noun, is shown as it is called."""

from __future__ import annotations

import inspect
from typing import Any

import griffe


class Options(griffe.Extension):
    """Takes signature and docs of what `@takes(...)` makes from the code itself: its source shows neither."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Lay what `inspect` says over what the source says."""
        if not any(str(each.value).startswith("takes(") for each in func.decorators):
            return
        made = griffe.dynamic_import(func.path)
        shown = inspect.signature(made)
        func.parameters = griffe.Parameters(*map(_parameter, shown.parameters.values()))
        if func.docstring is not None:
            func.docstring.value = inspect.getdoc(made) or ""


def _parameter(each: inspect.Parameter) -> griffe.Parameter:
    return griffe.Parameter(
        each.name,
        annotation=inspect.formatannotation(each.annotation),
        kind=griffe.ParameterKind[each.kind.name.lower()],
        default=None if each.default is each.empty else repr(each.default),
    )
