"""Models and datasets by name: their versions, who made them, and what their reports say; new ones by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from headrace.app import named
from headrace.app.card_reading import together
from headrace.app.choosing import choose
from headrace.app.getting import part_of
from headrace.app.project import Project
from headrace.app.reading import VersionView, Views, read
from headrace.app.readings import Load, loader, report_refs, reports
from headrace.app.run_material import Material, material
from headrace.app.state import open_ledger, reading_store, user
from headrace.errors import LedgerError, NotFoundError, StoreError, UsageError
from headrace.record import registry
from headrace.spec.artifact import Ref
from headrace.spec.intent import Register

DATA = ("ingest", "prepare")
"""The kinds of stages whose reports are on data."""


class Version(Struct, frozen=True, kw_only=True):
    """A version of a model or dataset. `passed` is what its report says of it, None where it has none, or says nothing.

    `run` and `task` gave the artifact, as far as that is known; `origin` says so of one that was registered by hand.
    `at` is when it was registered (Unix seconds).
    """

    kind: named.Kind
    name: str
    version: int
    aliases: tuple[str, ...]
    digest: str
    type: str
    bytes: int
    run: str | None
    task: str | None
    origin: str | None
    at: float
    by: str
    note: str
    passed: bool | None
    verdict: str


class Wanted(NamedTuple):
    """What is to be registered: the artifact, its report's, and where it comes from."""

    out: Ref
    report: Ref | None
    origin: str


def versions(project: Project, views: Views, kind: named.Kind, name: str | None = None) -> list[Version]:
    """Give the versions of a model or dataset, or of all, by name, the newest first.

    Raises:
        NotFoundError: there is none of that name.
    """
    if name is not None:
        name = views.resolve(kind, name).name
    load = loader(reading_store(project))
    return [shown(each, load) for each in views.versions(kind, name)]


def shown(view: VersionView, load: Load) -> Version:
    """Give a version as it is shown."""
    found = [] if view.report is None else list(reports(view.report, load))
    passed = together(each.passed for each in found)
    failed = [each.rule for report in found for each in report.verdicts if each.holds is not True]
    return Version(
        kind=view.kind,
        name=view.name,
        version=view.version,
        aliases=view.aliases,
        digest=view.out.digest,
        type=view.out.type.partition("@")[0].removeprefix("builtins."),
        bytes=view.out.size,
        run=view.run,
        task=view.task,
        origin=view.origin,
        at=view.at,
        by=view.by,
        note=view.note,
        passed=passed,
        verdict={True: "passed", False: f"not passed: {'; '.join(failed)}".rstrip(": "), None: ""}[passed],
    )


def register(
    project: Project,
    words: tuple[str, str | None],
    kind: named.Kind,
    name: str,
    *,
    note: str = "",
    aliases: Sequence[str] = (),
) -> Version:
    """Make an artifact the next version of a model or dataset; one that is registered already keeps its number.

    `words` are a run and a task (or its part), a digest, or the address of another version. A run alone means the model
    that it made.

    Raises:
        NotFoundError: there is no such artifact.
        UsageError: a name can't be one.
    """
    with read(project) as views:
        wanted = _wanted(views, words, kind)
    with open_ledger(project) as ledger:
        found = Register(kind=kind, name=name, out=wanted.out, report=wanted.report, note=note, aliases=tuple(aliases))
        number = registry.register(ledger, found, by=user(), origin=wanted.origin)
    known = Version(
        kind=kind,
        name=name,
        version=number,
        aliases=tuple(aliases),
        digest=wanted.out.digest,
        type=wanted.out.type.partition("@")[0].removeprefix("builtins."),
        bytes=wanted.out.size,
        run=None,
        task=None,
        origin=wanted.origin,
        at=time.time(),
        by=user(),
        note=note,
        passed=None,
        verdict="",
    )
    return _as_it_is(project, known)


def _as_it_is(project: Project, known: Version) -> Version:
    """Return a version as the ledger has it now, or as far as it is known: what was asked for is done already."""
    try:
        with read(project) as views:
            return shown(views.resolve(known.kind, f"{known.name}:{known.version}"), loader(reading_store(project)))
    except (LedgerError, StoreError):
        return known


def point(project: Project, word: str, alias: str, *, remove: bool = False) -> Version:
    """Point an alias at the version that an address names, or take it away.

    Raises:
        NotFoundError: there is no such version, or no such alias to take away.
        UsageError: it is no address.
    """
    address = named.must_be_address(word)
    with read(project) as views:
        version = views.resolve(address.kind, address.name)
        if remove and alias not in version.aliases:
            others = ", ".join(f"`{each}`" for each in version.aliases) or "none"
            raise NotFoundError(
                f"{version.kind} `{version.name}:{version.version}` has no alias `{alias}`", hint=f"it has {others}"
            )
        before = shown(version, loader(reading_store(project)))
    kept = tuple(each for each in version.aliases if each != alias)
    known = replace(before, aliases=kept if remove else (*kept, alias))
    with open_ledger(project) as ledger:
        if remove:
            registry.unpoint(ledger, version.kind, version.name, alias)
        else:
            registry.point(ledger, version.kind, version.name, alias, version.version, by=user())
    return _as_it_is(project, known)


def _wanted(views: Views, words: tuple[str, str | None], kind: named.Kind) -> Wanted:
    word, task = words
    version = named.version(views, word)
    if version is not None:
        part = part_of(version.out, task or "", word)
        return Wanted(part, version.report, f"{version.kind}:{version.name}:{version.version}")
    if task is None and not _is_run(views, word):
        ref = views.artifact(word)
        return Wanted(ref, None, f"artifact {ref.digest[:12]}")
    run = material(views, word)
    if task is None and kind == "dataset":
        names = ", ".join(f"`{row.name}`" for row in run.rows.values() if row.out)
        raise UsageError(
            f"run `{run.view.run}` gave more than one thing", hint=f"name the task that gave the dataset: {names}"
        )
    chosen = choose(run, task)
    ref, called = (chosen.ref, chosen.words) if task is None else _exactly(run, task, kind)
    found = _reports_of_data(run, chosen.task) if kind == "dataset" else _reports_of_model(run, chosen.task)
    return Wanted(ref, next(found, None), f"{run.view.run} {called}")


def _exactly(run: Material, task: str, kind: named.Kind) -> tuple[Ref, str]:
    """Give a task's output, or the part of it that is named, and the words for it. Of several outputs that have a
    field `model`, a model is that field, as in `registry.model`."""
    whole, name, path = run.out(task), task, ""
    if whole is None:
        name, _, path = task.partition(".")
        whole = run.out(name)
        assert whole is not None  # `choose` has found it
    elif kind == "model" and whole.codec == "record" and "model" in (whole.names or ()):
        path = "model"
    return part_of(whole, path, name), f"{name}.{path}" if path else name


def _is_run(views: Views, word: str) -> bool:
    try:
        views.find(word)
    except NotFoundError:
        return False
    return True


def _reports_of_data(run: Material, task: str) -> Iterator[Ref]:
    """Go over the reports that tell of data: the task's own, then those of such tasks after it, the last first."""
    yield from report_refs(run.out(task))
    for name in sorted(run.walk([task], run.needing), key=lambda name: -run.rows[name].ordinal):
        if run.rows[name].kind in DATA:
            yield from report_refs(run.out(name))


def _reports_of_model(run: Material, task: str) -> Iterator[Ref]:
    """Go over the reports that tell how good a model is: those of tasks after it that evaluate, the nearest first, then
    its own (of what it was fitted to), then those of other tasks after it, the last first."""
    after = run.walk([task], run.needing)
    judges = [name for name in after if run.rows[name].kind == "evaluate"]
    others = sorted((name for name in after if name not in judges), key=lambda name: -run.rows[name].ordinal)
    for name in (*judges, task, *others):
        yield from report_refs(run.out(name))
