"""Versions of models and datasets, as a pipeline's body asks for them."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

from headrace.define.lazy import Late, late, refuse_in_stage
from headrace.define.ports import resolver
from headrace.errors import UsageError
from headrace.spec.intent import RegistryKind, wanted, without_preparation


@dataclasses.dataclass(frozen=True, repr=False)
class Version(Late):
    """A version of a model or dataset, as a run has found it; where there is none, it is number 0 and has no value.

    `preparation` is what was registered with a model to prepare rows for it, or None.

    It is given to a stage as an argument, and so is part of its key. In a pipeline's body, `value` and `preparation`
    are loaded when they are asked for.
    """

    kind: RegistryKind
    name: str
    version: int
    value: Any
    preparation: Any = dataclasses.field(default_factory=lambda: None)  # a plain default would hide what comes late

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}:{self.version}>"


def find(kind: RegistryKind, name: str) -> Version:
    """Return the version that `NAME` (the newest), `NAME:3` or `NAME@ALIAS` names; a run that is resumed gets the one
    that it got first.

    Outside of a pipeline there is none.

    Raises:
        UsageError: the kind is none there is, the name is none of these, or it is called in a stage.
    """
    if kind not in get_args(RegistryKind):
        raise UsageError(f"there is no kind `{kind}` of version", hint='give "model" or "dataset"')
    of = wanted(kind, name).name
    found = resolver.get()
    if found is None:
        refuse_in_stage(f"`registry.find({kind!r}, {name!r})`")
        return Version(kind, of, 0, None)
    version, ref = found.point(kind, name)
    value, preparation = (None, None) if ref is None else without_preparation(ref)
    return late(Version, {"value": value, "preparation": preparation}, kind=kind, name=of, version=version)
