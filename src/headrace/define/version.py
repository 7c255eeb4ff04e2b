"""Versions of models and datasets, for a pipeline's body."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

from headrace.define.lazy import Late, late, refuse_in_stage
from headrace.define.ports import resolver
from headrace.errors import UsageError
from headrace.spec.intent import RegistryKind, own_code_name, wanted, without_preparation


@dataclasses.dataclass(frozen=True, repr=False)
class Version(Late):
    """A version of a registered model or dataset. If no version is registered, `version` is 0 and `value` is None.

    `preparation` is the preparation of rows that was registered with a model, or None.

    A stage takes the version as an argument, so the version is part of the key. In a pipeline's body, `value` and
    `preparation` are loaded when the body reads them.
    """

    kind: RegistryKind
    name: str
    version: int
    value: Any
    preparation: Any = dataclasses.field(default_factory=lambda: None)  # a plain default would hide the late value

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}:{self.version}>"


def find(kind: RegistryKind, name: str) -> Version:
    """Return a version of a model or dataset; `name` is `NAME` (the newest version), `NAME:3` or `NAME@ALIAS`.

    If the run is resumed, it gets this version again. Outside of a pipeline the result is version 0, without a value.

    Raises:
        UsageError: there is no such kind, the name has none of these forms, or the function is called in a stage.
    """
    if kind not in get_args(RegistryKind):
        raise UsageError(f"there is no kind `{kind}` of version", hint='give "model" or "dataset"')
    of = wanted(kind, name).name
    active = resolver.get()
    if active is None:
        refuse_in_stage(f"`registry.find({kind!r}, {name!r})`")
        return Version(kind, of, 0, None)
    version, ref = active.point(kind, name)
    value, preparation = (None, None) if ref is None else without_preparation(ref)
    own_code = None if ref is None else own_code_name(ref)
    late_values = {"value": value, "preparation": preparation}
    return late(Version, late_values, kind=kind, name=of, version=version, _own_code=own_code)


def own_code_of(version: Version) -> str | None:
    """Return the name of the project's own function that a version needs to answer rows that clients send, such as
    `delays.to_features`. Return None if there is none, or if the version isn't from `find` in a pipeline's body."""
    found: str | None = getattr(version, "_own_code", None)  # no field: it isn't saved, so stages don't see it
    return found
