"""Addresses of models and datasets: `model:delays`, `model:delays:3`, `dataset:flights@frozen`."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from msgspec import Struct

from headrace.errors import NotFoundError, UsageError
from headrace.inspect.views import VersionView, Views
from headrace.ledger.views.lineage import Lineage
from headrace.spec.artifact import Ref, decode_ref, within

Kind = Literal["model", "dataset"]
KINDS: tuple[Kind, ...] = ("model", "dataset")
BY_DIGEST = "artifact"
"""The first word of the origin of a version whose artifact was named by its digest."""


class Address(Struct, frozen=True):
    """An address: a kind, and the name of a version as `NAME`, `NAME:VERSION` or `NAME@ALIAS`."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def address(word: str) -> Address | None:
    """Return a word as an address, or None if it is not one.

    >>> address("model:delays@best")
    Address(kind='model', name='delays@best')
    >>> address("20261125-flow-aeda") is None
    True
    """
    for kind in KINDS:
        if word.startswith(f"{kind}:"):
            return Address(kind, word.removeprefix(f"{kind}:"))
    return None


def version(views: Views, word: str) -> VersionView | None:
    """Return the version that an address names, or None if the word is no address.

    Raises:
        NotFoundError: there is no such name, version or alias.
        UsageError: the word begins like an address, but is not one.
    """
    parsed = address(word)
    return None if parsed is None else views.resolve(parsed.kind, parsed.name)


def must_be_address(word: str) -> Address:
    """Return a word as an address.

    Raises:
        UsageError: the word is not an address.
    """
    parsed = address(word)
    if parsed is None:
        raise UsageError(
            f"`{word}` is not an address of a model or dataset",
            hint="write `model:NAME`, `model:NAME:VERSION`, `model:NAME@ALIAS`, or `dataset:...`",
        )
    return parsed


def maker(views: Views, version: VersionView) -> tuple[str, str] | None:
    """Return the run and the task that made a version's artifact, or None if that is no longer known.

    The run is the one that `_run_of` returns. The task is the first task of that run whose output is or contains the
    artifact.
    """
    run = _run_of(views, version)
    try:
        rows = views.rows(run) if run else []
    except NotFoundError:
        return None
    holding = [row for row in rows if row.out is not None and _holds(decode_ref(row.out), version.out.digest)]
    parents = {row.parent for row in holding}
    makers = [row for row in holding if row.name not in parents and row.name != version.task] or holding
    return (run, min(makers, key=lambda row: row.ordinal).name) if makers else None


def no_maker(views: Views, version: VersionView) -> NotFoundError:
    """Return the error to raise for a version of which `maker` finds no task. Its run is forgotten, or was only given
    the artifact, or made it before the run got new code."""
    word = f"{version.kind}:{version.name}:{version.version}"
    run = _run_of(views, version)
    try:
        story = views.story(run) if run else None
    except NotFoundError:
        story = None
    if story is not None:
        present = " under its present code" * story.renewed
        return NotFoundError(
            f"`{word}` is registered from run `{run}`, and no task of that run made it{present}: it has no card",
            hint=f"`headrace lineage {word}` shows the tasks that made it",
        )
    return NotFoundError(
        f"the run that made `{word}` is no longer known",
        hint=f"`{word}` was registered from {version.run or version.origin or 'elsewhere'}",
    )


def is_by_digest(views: Views, version: VersionView) -> bool:
    """Return whether a version's artifact was named by its digest when a user registered it, maybe under another name
    first."""
    return _origin(views, version) == BY_DIGEST


def _run_of(views: Views, version: VersionView) -> str:
    """Return the run that registered a version. If a user registered it on the command line, return the run that the
    artifact was taken from, through other versions if need be; for an artifact that was named by its digest, return the
    newest of the runs that made it. Return an empty text if that is no longer known."""
    origin = _origin(views, version)
    if origin != BY_DIGEST:
        return origin
    with suppress(NotFoundError):
        made = [step.run for step in Lineage(views).makers(version.out.digest) if not step.earlier]
        return max(made, key=lambda run: views.find(run).created, default="")
    return ""


def _origin(views: Views, version: VersionView) -> str:
    """Return the run from which a version was registered, through other versions if need be, or `BY_DIGEST`. Return an
    empty text if that is no longer known."""
    seen = set[str]()
    while True:
        origin = version.run or (version.origin or "").partition(" ")[0]
        source = address(origin)
        if source is None:
            return origin
        if origin in seen:  # a merged archive may bring versions that name each other
            return ""
        seen.add(origin)
        try:
            version = views.resolve(source.kind, source.name)
        except (NotFoundError, UsageError):
            return ""


def _holds(ref: Ref, digest: str) -> bool:
    return any(each.digest == digest for each in within(ref))
