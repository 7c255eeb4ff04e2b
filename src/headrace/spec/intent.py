"""Intents: changes of Headrace's own state that a task asks for, applied as its success is stored."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from msgspec import Struct

from headrace.errors import UsageError
from headrace.spec.artifact import Ref, gather

RegistryKind = Literal["model", "dataset"]
REPORT = "headrace.spec.report.Report"
PREPARATION = "headrace.stages.prepare.Preparation"
PREPARED = "headrace.version"
TABLES = frozenset({"arrow", "arrow-stream", "joined", "pandas", "polars"})
"""Codecs of tables, columns and batches."""
MODELS = frozenset({"lightgbm", "safetensors", "skops"})
"""Codecs of models and nothing else."""
NOTHING = frozenset({"builtins.NoneType", "builtins.bool"})
PAPERS = {
    **dict.fromkeys(("html", "htm", "md", "pdf"), "a page"),
    **dict.fromkeys(("png", "svg", "jpg", "jpeg"), "a figure"),
    **dict.fromkeys(("csv", "tsv", "parquet", "arrow", "feather", "xlsx"), "a table"),
}
"""What a file is that nobody means by a model, by the end of its name."""
MEASURED = frozenset({"file", "json", "parts", "text"})
"""Codecs of what an evaluation measures; a model that it has chosen is saved by another."""
PointKind = Literal["cursor", "model", "dataset"]
"""What a pipeline's body may ask for by name."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}")
_NAMED = re.compile(r"(?P<name>[^:@]+)(?::(?P<version>[0-9]{1,9})|@(?P<alias>[^:@]+))?")
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


class Advance(Struct, frozen=True, array_like=True, gc=False, tag="advance"):
    """Give a cursor its next value, if its latest version is still `version`; else it is left as it is.

    The value that is set so is version `version + 1`. A task that is run again in its run may have set that before:
    then it is the version after, unless another task has set one since.
    """

    name: str
    version: int
    value: Ref


class Register(Struct, frozen=True, array_like=True, gc=False, tag="register"):
    """Make an artifact the next version of a model or dataset, unless it is one already; point the `aliases` at it.

    `report` is the artifact that says how good it is, `preparation` the one of what prepares rows for it.
    """

    kind: RegistryKind
    name: str
    out: Ref
    report: Ref | None = None
    note: str = ""
    aliases: tuple[str, ...] = ()
    preparation: Ref | None = None


Intent = Advance | Register


def unlike(kind: RegistryKind, ref: Ref, *, judges: bool = False) -> str | None:
    """Return what an artifact is that nobody means by a model, or by a dataset; None of what may be one.

    Of several outputs, none may be one. `judges`: an evaluation gave it, so that plain values in it are no model.
    """
    if ref.type == REPORT:
        return "a report"
    if kind == "dataset":
        return "a model" if ref.codec in MODELS else None
    if ref.type == PREPARATION:
        return "a preparation"
    if ref.codec in TABLES:
        return "a table"
    if ref.codec == "svg":
        return "a figure"
    if ref.type.partition("@")[0] in NOTHING:
        return f"a `{ref.type.removeprefix('builtins.')}`"
    if ref.codec == "file" and ref.names and (paper := PAPERS.get(ref.names[0].rpartition(".")[2].lower())):
        return paper
    if judges and ref.codec in MEASURED:
        return "what an evaluation measured"
    if ref.codec == "record" and ref.parts:
        called = f"a `{ref.type.partition('@')[0].rpartition('.')[2]}`"
        inner = [unlike(kind, part) for part in ref.parts]
        if None not in inner:
            return f"{called} of {inner[0]} and more"
        if "a report" in inner and "model" not in (ref.names or ()):
            return f"{called}, a report with what belongs to it"
    return None


def with_preparation(out: Ref, preparation: Ref | None) -> Ref:
    """Name the artifact of a version, with that of what prepares rows for it if there is one."""
    return out if preparation is None else gather((out, preparation), codec=PREPARED, type=PREPARED)


def without_preparation(ref: Ref) -> tuple[Ref, Ref | None]:
    """Return the two again."""
    if ref.codec != PREPARED or ref.parts is None:
        return ref, None
    out, preparation = ref.parts
    return out, preparation


def check_name(kind: RegistryKind, name: str) -> None:
    """Refuse a name that no model or dataset can have.

    Raises:
        UsageError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"a {kind} can't be called `{name}`", hint="use letters, digits and `_ . / -`")


def check_alias(alias: str) -> None:
    """Refuse an alias that could be taken for a number or can't be written after a name.

    Raises:
        UsageError: it is none.
    """
    if not _ALIAS.fullmatch(alias):
        raise UsageError(f"an alias can't be called `{alias}`", hint="use letters, digits and `_ . -`, a letter first")


class Wanted(NamedTuple):
    """Which version of a model or dataset is meant: the newest where neither a number nor an alias is told."""

    name: str
    version: int | None
    alias: str | None


def wanted(kind: RegistryKind, text: str) -> Wanted:
    """Read what names a version: `NAME` (the newest), `NAME:3` or `NAME@ALIAS`.

    Raises:
        UsageError: it is none of these.
    """
    found = _NAMED.fullmatch(text)
    if found is None:
        raise UsageError(f"`{text}` names no version of a {kind}", hint="write NAME, NAME:3 or NAME@ALIAS")
    return Wanted(found["name"], None if found["version"] is None else int(found["version"]), found["alias"])
