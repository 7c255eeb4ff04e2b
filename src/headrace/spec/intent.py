"""Intents: changes of Headrace's own state that a task asks for. They are applied when the task's success is stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import count
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import UsageError
from headrace.spec.artifact import Ref, gather
from headrace.spec.bundle import OWN_CODE, masked_own_code, name_of_preparation
from headrace.spec.signature import masked_signature

RegistryKind = Literal["model", "dataset"]
REPORT = "headrace.spec.report.Report"
PREPARATION = "headrace.stages.prepare.Preparation"
CURSOR = "headrace.Cursor"
PREPARED = "headrace.version"
OWNED = "headrace.version.own"
TABLES = frozenset({"arrow", "arrow-stream", "joined", "pandas", "polars"})
"""Codecs of tables, columns and batches."""
MODELS = frozenset({"lightgbm", "safetensors", "skops"})
"""Codecs that save only models."""
NOTHING = frozenset({"builtins.NoneType", "builtins.bool"})
PLAIN = {"builtins.str": "a text", **dict.fromkeys(("builtins.int", "builtins.float", "builtins.complex"), "a number")}
"""Types of plain values, with what a message calls their values. A plain value alone isn't a model, but it may be a
field of a model."""
PAPERS = {
    **dict.fromkeys(("html", "htm", "md", "pdf"), "a page"),
    **dict.fromkeys(("png", "svg", "jpg", "jpeg"), "a figure"),
    **dict.fromkeys(("csv", "tsv", "parquet", "arrow", "feather", "xlsx"), "a table"),
}
"""The suffixes of files that aren't models, with what a message calls such a file."""
MEASURED = frozenset({"file", "json", "parts", "text"})
"""Codecs that save the measurements of an evaluation. If an evaluation returns a model, another codec saves it."""
PointKind = Literal["cursor", "model", "dataset", "predictions"]
"""The kinds of values that a pipeline's body may ask for by name. For predictions, the name is `ENDPOINT:NUMBER`. It
means the predictions in all parts of the endpoint's log that have a larger number."""

NAME = "[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}"
"""The form of the name of a model or dataset, and of a source of labels."""
_NAME = re.compile(NAME)
_NAMED = re.compile(r"(?P<name>[^:@]+)(?::(?P<version>[0-9]{1,9})|@(?P<alias>[^:@]+))?")
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


class Advance(Struct, frozen=True, array_like=True, gc=False, tag="advance"):
    """A change of a cursor: add `value` as its next version.

    The change is made if `version` is still the cursor's latest version, or if the task that asks for the change set
    all later versions itself, in the same run. Otherwise nothing changes.
    """

    name: str
    version: int
    value: Ref


class Register(Struct, frozen=True, array_like=True, gc=False, tag="register"):
    """A change of the registry: make `out` the next version of the model or dataset `name`, and point the `aliases` at
    this version.

    If `out` is a version of that model or dataset already, no version is added. `report` is the artifact of the
    report that says how good the model is. `preparation` is the artifact that prepares rows for the model: that of a
    preparation of `prepare.clean`, or of the project's own code (`spec.bundle.OwnCode`).
    """

    kind: RegistryKind
    name: str
    out: Ref
    report: Ref | None = None
    note: str = ""
    aliases: tuple[str, ...] = ()
    preparation: Ref | None = None

    @property
    def identity(self) -> str:
        """The text that identifies the version among all versions of the same name."""
        return identity_of(self.out, self.preparation)

    def masked(self, mask: Callable[[str], str]) -> Register:
        """Return this intent, with `mask` applied to the note and to the texts in signatures."""
        signature = self.out.signature and masked_signature(self.out.signature, mask)
        preparation = self.preparation and masked_own_code(self.preparation, mask)
        out = replace(self.out, signature=signature)
        return replace(self, note=mask(self.note), out=out, preparation=preparation)


class Deploy(Struct, frozen=True, array_like=True, gc=False, tag="deploy"):
    """A change of the route of the endpoint `name`: send requests to the version of its model that has this `identity`
    (`identity_of`). The version must be registered before, or by the same task.

    `variant` is the variant that the version becomes: `production`, `shadow`, or another one, which gets the share
    `share` (0 to 1) of the requests. `key` is the column that says whom an answer is about, and `time` the column that
    says which time it is about. None keeps the route's present column.
    """

    name: str
    identity: str
    variant: str
    share: float | None = None
    key: str | None = None
    time: str | None = None


class Tell(Struct, frozen=True, array_like=True, gc=False, tag="tell"):
    """A record of labels, which say what really came of predictions of the endpoint `name`. The table `out` has `count`
    labels, recorded at the time `at` (Unix seconds). `part` is the position of this record among those of its task (set
    by `numbered`). So the record is stored only once, even if the task is tried several times."""

    name: str
    out: Ref
    count: int
    at: float
    part: int = 0


class LogBatch(Struct, frozen=True, array_like=True, gc=False, tag="log"):
    """A new entry of a prediction log: a model answered for all rows of the artifact `rows`, as the table `out`.

    `name` is the endpoint whose log gets the entry. If `name` is empty, it is the endpoint that has the name under
    which the model is registered. `model` is the identity of the model's artifact. There are `count` rows; the model's
    preparation refused `refused` of them, so these have no answer. `first` and `last` are the times (Unix seconds) at
    which the work began and ended.
    """

    name: str
    model: str
    rows: Ref
    out: Ref
    count: int
    refused: int
    first: float
    last: float


Intent = Advance | Register | Deploy | Tell | LogBatch


def numbered(intents: Iterable[Intent]) -> tuple[Intent, ...]:
    """Return the intents of a task. In each `Tell`, `part` is set to its position among those of the task: 0, 1, 2
    ..."""
    parts = count()
    return tuple(replace(each, part=next(parts)) if isinstance(each, Tell) else each for each in intents)


def unlike(kind: RegistryKind, ref: Ref, *, judges: bool = False) -> str | None:
    """If an artifact clearly isn't of the kind `kind`, return what it is instead, such as "a report". Else return None.

    An artifact of several outputs isn't of the kind `model` if none of the outputs can be a model. It isn't of the kind
    `dataset` if one of the outputs is a model. `judges` is true if an evaluation made the artifact: then plain values
    in it are measurements, not a model.
    """
    if ref.type == REPORT:
        return "a report"
    if kind == "dataset":
        if ref.codec == "record" and any(part.type != REPORT and unlike(kind, part) for part in ref.parts or ()):
            return f"a `{ref.type.partition('@')[0].rpartition('.')[2]}` of a model and more"
        return "a model" if ref.codec in MODELS else None
    if ref.type == PREPARATION:
        return "a preparation"
    if ref.codec in TABLES:
        return "a table"
    if ref.codec == "svg":
        return "a figure"
    if ref.type.partition("@")[0] in NOTHING:
        return f"a `{ref.type.removeprefix('builtins.')}`"
    if plain := PLAIN.get(ref.type):
        return plain
    if ref.codec == "file" and ref.names and (paper := PAPERS.get(ref.names[0].rpartition(".")[2].lower())):
        return paper
    if judges and ref.codec in MEASURED:
        return "a result of an evaluation"
    if ref.codec == "record" and ref.parts:
        called = f"a `{ref.type.partition('@')[0].rpartition('.')[2]}`"
        inner = [None if part.type in PLAIN else unlike(kind, part) for part in ref.parts]
        if None not in inner:
            return f"{called} of {inner[0]} and more"
        if "a report" in inner and "model" not in (ref.names or ()):
            return f"{called}, a report with what belongs to it"
    return None


def identity_of(out: Ref, preparation: Ref | None) -> str:
    """Return the text that identifies a version among all versions of the same name. It has the identity of the
    version's artifact and, if the version needs the project's own code, the identity of this code. So the same model
    with another function is another version."""
    if preparation is None or preparation.codec != OWN_CODE:
        return out.identity
    return f"{out.identity}+{preparation.content}"


def with_preparation(out: Ref, preparation: Ref | None) -> Ref:
    """Return the artifact of a version: `out` alone, or `out` together with its preparation if there is one. If the
    preparation is the project's own code, only the code's name is included, because only model processes run this
    code."""
    if preparation is None:
        return out
    if preparation.codec == OWN_CODE:
        return gather((out,), codec=OWNED, type=OWNED, names=(name_of_preparation(preparation) or "",))
    return gather((out, preparation), codec=PREPARED, type=PREPARED)


def without_preparation(ref: Ref) -> tuple[Ref, Ref | None]:
    """Return the two artifacts that `with_preparation` put together: the output, and the preparation or None."""
    if ref.codec not in (PREPARED, OWNED) or ref.parts is None:
        return ref, None
    out, *preparation = ref.parts
    return out, preparation[0] if preparation else None


def own_code_name(ref: Ref) -> str | None:
    """Return the name of the own code that a version needs; None if it needs none. `ref` is the version's artifact, as
    `with_preparation` made it."""
    return ref.names[0] if ref.codec == OWNED and ref.names else None


def is_name(name: str) -> bool:
    """Return whether a text is a valid name of a model or dataset."""
    return _NAME.fullmatch(name) is not None


def is_alias(alias: str) -> bool:
    """Return whether a text is a valid alias: it can't be read as a number, and can be written after a name and `@`."""
    return _ALIAS.fullmatch(alias) is not None


def check_name(kind: RegistryKind, name: str) -> None:
    """Check that `name` is a valid name of a model or dataset.

    Raises:
        UsageError: the name isn't valid.
    """
    if not is_name(name):
        raise UsageError(f"a {kind} can't be called `{name}`", hint="use letters, digits and `_ . / -`")


def check_alias(alias: str) -> None:
    """Check that `alias` is a valid alias.

    Raises:
        UsageError: the alias isn't valid.
    """
    if not is_alias(alias):
        raise UsageError(f"an alias can't be called `{alias}`", hint="use letters, digits and `_ . -`, a letter first")


class Wanted(NamedTuple):
    """A version of a model or dataset, given by `version` or `alias`. If both are None, it is the newest version."""

    name: str
    version: int | None
    alias: str | None


def wanted(kind: RegistryKind, text: str) -> Wanted:
    """Return the version that a text names: `NAME` (the newest version), `NAME:3` or `NAME@ALIAS`.

    Raises:
        UsageError: the text has none of these forms.
    """
    matched = _NAMED.fullmatch(text)
    if matched is None:
        raise UsageError(f"`{text}` names no version of a {kind}", hint="write NAME, NAME:3 or NAME@ALIAS")
    return Wanted(matched["name"], None if matched["version"] is None else int(matched["version"]), matched["alias"])
