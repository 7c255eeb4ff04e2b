"""Finds the module that binds a global name, by following imports from module to module."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from headrace.fingerprint.names import MISSING
from headrace.fingerprint.source.files import Source, Sources
from headrace.fingerprint.source.imports import Imported, absolute

Scope = dict[str, Any]


class Origin(NamedTuple):
    """A global name, and the module that binds it. `source` is None if this module has no source."""

    scope: Scope
    name: str
    source: Source | None

    @property
    def module(self) -> str:
        """The module's name."""
        name = self.scope.get("__name__")
        return name if isinstance(name, str) else ""


def origin(sources: Sources, scope: Scope, name: str, value: object) -> Origin:
    """Return the module that binds a value, and the value's name in it. To find it, `from ... import` is followed from
    module to module, beginning with `name` in `scope`, as long as the next module holds the same value."""
    seen = set()
    while True:
        source = sources.of_globals(scope)
        seen.add((id(scope), name))
        step = _before(source, scope, name, value) if source is not None else None
        if step is None or (id(step[0]), step[1]) in seen:
            return Origin(scope, name, source)
        scope, name = step


def _before(source: Source, scope: Scope, name: str, value: object) -> tuple[Scope, str] | None:
    imported = source.top.imported(name) or []
    if name not in source.top.binders:
        imported = [Imported(name, origin.module, origin.level, name) for origin in source.top.stars]
    for origin in imported:
        module = sys.modules.get(absolute(origin.module, origin.level, scope.get("__package__") or ""))
        if module is not None and origin.attribute and vars(module).get(origin.attribute, MISSING) is value:
            return vars(module), origin.attribute
    return None
