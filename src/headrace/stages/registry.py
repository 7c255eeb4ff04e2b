"""Stages that register models and datasets under names, with numbered versions.

    before = registry.find("model", "delays@production")
    report = judge(model, table, before)
    registry.model("delays", model, report=report, aliases=["production"], when=report.passed)

A version is an artifact. An artifact that is registered again under the same name keeps its number, also in retries and
resumed runs. Numbers are assigned and aliases are set in the transaction that records the task's success. The
command `headrace register` registers an artifact too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from headrace.codec.classes import resolve
from headrace.define.attempt import attempt
from headrace.define.handle import measured
from headrace.define.ports import current
from headrace.define.stage import ready
from headrace.define.version import Version as Version
from headrace.define.version import find as find
from headrace.errors import CodecError, UsageError
from headrace.models.signature import signature_for
from headrace.spec.artifact import Ref
from headrace.spec.intent import PREPARATION, Register, RegistryKind, check_alias, check_name, unlike
from headrace.spec.noun import Noun
from headrace.spec.signature import Signature

_NOTHING = "builtins.NoneType"
_HINT = "give the {}; or, to register this value anyway, use `headrace register RUN TASK --force --why ...`"


class Entry(Noun, frozen=True):
    """A registered version: its kind, its name, and the digest of its artifact (None outside of a run)."""

    kind: RegistryKind
    name: str
    digest: str | None


def check_model(given: Mapping[str, Any]) -> None:
    """Check the arguments of a call of the stage `model`: the name, the aliases and the model.

    Raises:
        UsageError: the name or an alias isn't valid, or the model is the result of an evaluation.
    """
    _check("model", given)
    stage = measured(given.get("model"))
    if stage is not None:
        raise UsageError(
            f"`model` holds the measurements of the evaluation `{stage}`, so it can't be registered as a model",
            hint=_HINT.format("model"),
        )


def _check_dataset(given: Mapping[str, Any]) -> None:
    _check("dataset", given)


def _check(kind: RegistryKind, given: Mapping[str, Any]) -> None:
    if isinstance(name := given.get("name"), str):
        check_name(kind, name)
    for alias in _listed(given.get("aliases", ())):
        if isinstance(alias, str):
            check_alias(alias)


@ready(
    "registry.model",
    version=1,
    kind="deploy",
    name="register_model",
    cache=False,
    portable=True,
    unread=("model", "report", "preparation"),
    check=check_model,
)
def model(
    name: str,
    model: Any,
    *,
    report: Any = None,
    aliases: str | Sequence[str] = (),
    note: str = "",
    preparation: Any = None,
    signature: pa.Table | None = None,
) -> Entry:
    """Register a model as the next version under a name, and point `aliases` at it. A model that is already registered
    under this name keeps its version.

    If a stage has several outputs (a named tuple), such as `train.sklearn`, its field `model` is registered. `report`
    is any value that says how good the model is. `preparation` is the preparation that `prepare.clean` returned for the
    rows that the model learned from. The report and the preparation are stored with the version. `signature` is a table
    with the columns that the model takes; its types and categories become the model's signature. Models that ready-made
    stages trained have a signature already. If the version is already registered with a signature, it keeps that
    signature. The stage loads only the table `signature`, not the model, the report or the preparation. Outside of a
    run, nothing is registered.

    Raises:
        UsageError: (1) the name or an alias is invalid; (2) `preparation` isn't a preparation; or (3) `model` isn't a
            model, but a text, a number, a table, a report, a page, a result of an evaluation, a named tuple without a
            field `model`, or a list of several artifacts.
    """
    del model, report, preparation
    return _register("model", name, aliases, note, None if signature is None else signature_for(signature))


@ready(
    "registry.dataset",
    version=1,
    kind="ingest",
    name="register_dataset",
    cache=False,
    portable=True,
    unread=("dataset", "report"),
    check=_check_dataset,
)
def dataset(name: str, dataset: Any, *, report: Any = None, aliases: str | Sequence[str] = (), note: str = "") -> Entry:
    """Register a dataset as the next version under a name, and point `aliases` at it. A dataset that is already
    registered under this name keeps its version.

    `report` is any value that says how good the dataset is, such as the result of a contract. The other parameters mean
    the same as for the stage `model`.

    Raises:
        UsageError: the name or an alias is invalid, or the dataset is a model, a report, or made of several artifacts.
    """
    del dataset, report
    return _register("dataset", name, aliases, note)


def _register(
    kind: RegistryKind, name: str, aliases: str | Sequence[str], note: str, signature: Signature | None = None
) -> Entry:
    asked = registration(kind, name, aliases, note, signature)
    if asked is not None:
        attempt().intend(asked)
    return Entry(kind=kind, name=name, digest=None if asked is None else asked.out.digest)


def registration(
    kind: RegistryKind, name: str, aliases: str | Sequence[str], note: str, signature: Signature | None = None
) -> Register | None:
    """Return the intent to register an artifact: the one that the current stage call got as the argument `kind`
    (`model` or `dataset`). The intent also has the artifacts of the arguments `report` and `preparation`. Outside of a
    run, return None.

    Raises:
        UsageError: the name or an alias is invalid, or an argument can't be registered as the parameter requires.
    """
    names = _listed(aliases)
    _check(kind, {"name": name, "aliases": names})
    if current() is None:
        return None
    out = _artifact(kind)
    if signature is not None:
        out = msgspec.structs.replace(out, signature=encoded(signature))
    report, preparation = _given("report"), _given("preparation")
    if preparation is not None:
        preparation = _preparation_in(preparation)
    return Register(kind, name, out, report, note, names, preparation)


def encoded(signature: Signature) -> bytes:
    """Return a signature as bytes, in the form that is stored with a version.

    Raises:
        UsageError: the signature has too many columns.
    """
    data = signature.encoded()
    if data is None:
        raise UsageError(
            f"the signature has {len(signature.takes):,} columns, which are too many to be recorded",
            hint="leave `signature=` out, or let the model take fewer columns, such as lists",
        )
    return data


def _listed(aliases: str | Sequence[str]) -> tuple[str, ...]:
    return (aliases,) if isinstance(aliases, str) else tuple(aliases)


def _artifact(parameter: str) -> Ref:
    found = attempt().ref(parameter)
    if found is None:
        raise UsageError(
            f"`{parameter}` is made of several artifacts, so it can't be registered as one",
            hint="register the output of one stage, or combine the parts in a stage",
        )
    if parameter == "model":
        found = _model_in(found)
    what = unlike("model" if parameter == "model" else "dataset", found)
    if what is not None:
        raise UsageError(
            f"`{parameter}` is {what}, so it can't be registered as a {parameter}",
            hint=_HINT.format(parameter),
        )
    return found


def _given(parameter: str) -> Ref | None:
    ref = attempt().ref(parameter)
    return None if ref is None or ref.type == _NOTHING else ref


def _preparation_in(ref: Ref) -> Ref:
    """Return the artifact `ref` if it is a preparation; otherwise return the preparation among its parts (a stage's
    several outputs)."""
    for each in (ref, *(ref.parts or ())):
        if each.type == PREPARATION:
            return each
    raise UsageError(
        f"`preparation` is a `{ref.type.partition('@')[0]}`",
        hint="give what `prepare.clean` made: `preparation=cleaned.preparation`",
    )


def _model_in(ref: Ref) -> Ref:
    """Return the model in the artifact `ref`: the field `model` if `ref` is a stage's several outputs, otherwise `ref`
    itself."""
    if ref.codec != "record" or not ref.names or not ref.parts:
        return ref
    try:
        is_several = issubclass(resolve(ref.type), tuple)
    except CodecError:
        return ref  # the class can't be imported, so nobody knows whether it is a tuple
    if not is_several:
        return ref
    if "model" not in ref.names:
        fields = ", ".join(f"`{name}`" for name in ref.names)
        raise UsageError(
            f"`model` is a `{ref.type.partition('@')[0]}` of several outputs, and none of these is called `model`,"
            " so it can't be registered as a model",
            hint=f"register one of its fields: {fields}",
        )
    return ref.parts[ref.names.index("model")]
