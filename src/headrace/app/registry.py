"""Models and datasets by name: their versions, who made them, and what their reports say; new ones by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
from headrace.errors import LedgerError, NotFoundError, RefusedError, StoreError, UsageError
from headrace.record import registry
from headrace.record.lineage import Lineage
from headrace.spec.artifact import Ref
from headrace.spec.intent import PREPARATION, Register, unlike
from headrace.spec.report import Report

DATA = ("ingest", "prepare")
"""The kinds of stages whose reports are on data."""


class Version(Struct, frozen=True, kw_only=True):
    """A version of a model or dataset. `passed` is what its report says of it, None where it has none, or says nothing.

    `run` and `task` gave the artifact, as far as that is known; `origin` says so of one that was registered by hand.
    `preparation` is the digest of what prepares rows for it. `forced` says why an alias points at it though its report
    says no.
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
    preparation: str | None = None
    forced: dict[str, str] = {}


class Wanted(NamedTuple):
    """What is to be registered: the artifact, its report's and its preparation's, where it comes from, and all reports
    that judge it."""

    out: Ref
    report: Ref | None
    origin: str
    preparation: Ref | None = None
    judged: Sequence[Ref] = ()


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
        preparation=None if view.preparation is None else view.preparation.digest,
        forced=view.forced,
    )


def register(
    project: Project,
    words: tuple[str, str | None],
    kind: named.Kind,
    name: str,
    *,
    note: str = "",
    aliases: Sequence[str] = (),
    preparation: str | None = None,
    forced: str | None = None,
) -> Version:
    """Make an artifact the next version of a model or dataset; one that is registered already keeps its number.

    `words` are a run and a task (or its part), a digest, or the address of another version. A run alone means the model
    that it made. `preparation` is the task, or part of one, that gave what prepares rows for it; not told, it is the
    only one that the model was made from. `forced` is why aliases point at it though a report says no, or why it is
    registered though it is nothing of this kind.

    Raises:
        NotFoundError: there is no such artifact.
        RefusedError: aliases of what a report says no to.
        UsageError: a name can't be one, the preparation is none, or a table or a report is to be a model.
    """
    load = loader(reading_store(project))
    with read(project) as views:
        wanted = _wanted(views, words, kind)
        if preparation is not None:
            wanted = wanted._replace(preparation=_named_preparation(views, words[0], preparation))
        before = [each.report for each in views.versions(kind, name) if each.out.identity == wanted.out.identity]
    note = "; ".join(filter(None, (note, _as_it_were(kind, wanted, forced))))
    judged = [each for each in (*before, *wanted.judged, wanted.report) if each is not None]
    why = _allowed(f"`{wanted.origin}`", aliases, judged, load, forced)
    with open_ledger(project) as ledger:
        found = Register(
            kind=kind,
            name=name,
            out=wanted.out,
            report=wanted.report,
            note=note,
            aliases=tuple(aliases),
            preparation=wanted.preparation,
        )
        number = registry.register(ledger, found, by=user(), origin=wanted.origin, why=why)
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
        preparation=None if wanted.preparation is None else wanted.preparation.digest,
        forced={} if why is None else dict.fromkeys(aliases, why),
    )
    return _as_it_is(project, known)


def _as_it_is(project: Project, known: Version) -> Version:
    """Return a version as the ledger has it now, or as far as it is known: what was asked for is done already."""
    try:
        with read(project) as views:
            return shown(views.resolve(known.kind, f"{known.name}:{known.version}"), loader(reading_store(project)))
    except (LedgerError, StoreError):
        return known


def point(project: Project, word: str, alias: str, *, remove: bool = False, forced: str | None = None) -> Version:
    """Point an alias at the version that an address names, or take it away. `forced` is why, where its report says no.

    Raises:
        NotFoundError: there is no such version, or no such alias to take away.
        RefusedError: a report on it says no.
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
        judged = [] if remove else _judging(views, version)
    called = f"{version.kind} `{version.name}:{version.version}`"
    load = loader(reading_store(project))
    why = _allowed(called, [alias], judged, load, forced)
    kept = tuple(each for each in version.aliases if each != alias)
    reasons = {each: reason for each, reason in version.forced.items() if each != alias}
    known = replace(
        shown(version, load),
        aliases=kept if remove else (*kept, alias),
        forced=reasons if remove or why is None else {**reasons, alias: why},
    )
    with open_ledger(project) as ledger:
        if remove:
            registry.unpoint(ledger, version.kind, version.name, alias)
        else:
            registry.point(ledger, version.kind, version.name, alias, version.version, by=user(), why=why)
    return _as_it_is(project, known)


def _as_it_were(kind: named.Kind, wanted: Wanted, forced: str | None) -> str:
    """Return what is to be noted of an artifact that is nothing of its kind; nothing of one that may be.

    Raises:
        UsageError: it is none, and nobody has said why it should be.
    """
    what = unlike(kind, wanted.out)
    if what is None:
        return ""
    if forced is None:
        other: named.Kind = "dataset" if kind == "model" else "model"
        instead = f"register it as that: `--{other} NAME`" if unlike(other, wanted.out) is None else f"name a {kind}"
        raise UsageError(
            f"`{wanted.origin}` is {what}, so it isn't registered as a {kind}",
            hint=f'{instead}; or say why it is one: `--force --why "..."`, which is recorded',
        )
    return f"{what} as a {kind}: {forced}"


def _allowed(called: str, aliases: Sequence[str], judged: Sequence[Ref], load: Load, forced: str | None) -> str | None:
    """Return why aliases may point at what a report says no to, or can't be heard on; None where none is such.

    Raises:
        RefusedError: one is, and nobody has said why it should be so anyway.
    """
    found = [load(ref) for each in judged for ref in report_refs(each)]
    said = [report for report in found if isinstance(report, Report) and report.passed is False]
    unread = [report for report in found if not isinstance(report, Report)]
    if not aliases or not (said or unread):
        return None
    if forced is None:
        broken = dict.fromkeys(each.rule for report in said for each in report.verdicts if each.holds is not True)
        why = f"its report says not passed: {'; '.join(broken)}".rstrip(": ") if said else "its report can't be read"
        raise RefusedError(
            f"`{aliases[0]}` wasn't pointed at {called}: {why}",
            hint='say why it should be anyway: `--force --why "..."`, which is recorded',
        )
    return forced


def _named_preparation(views: Views, run: str, task: str) -> Ref:
    """Return the preparation that a task of a run gave, or a part of it.

    Raises:
        UsageError: it is none.
    """
    whole, _ = _exactly(material(views, run), task, "dataset")
    found = list(_preparations(whole))
    if len(found) != 1:
        raise UsageError(f"`{task}` gave no preparation", hint="name a task of `prepare.clean`")
    return found[0]


def _preparations(ref: Ref | None) -> Iterator[Ref]:
    """Go over the preparations in an output."""
    if ref is not None and ref.type == PREPARATION:
        yield ref
    elif ref is not None and ref.names:
        yield from (part for part in ref.parts or () if part.type == PREPARATION)


def _wanted(views: Views, words: tuple[str, str | None], kind: named.Kind) -> Wanted:
    word, task = words
    version = named.version(views, word)
    if version is not None:
        part = part_of(version.out, task or "", word)
        origin = f"{version.kind}:{version.name}:{version.version}"
        return Wanted(part, version.report, origin, version.preparation, _judging(views, version))
    if task is None and not _is_run(views, word):
        ref = views.artifact(word)
        if kind == "model" and ref.codec == "record" and "model" in (ref.names or ()):
            ref = part_of(ref, "model", word)
        return Wanted(ref, None, f"artifact {ref.digest[:12]}", judged=_judging_artifact(views, ref, kind))
    run = material(views, word)
    if task is None and kind == "dataset":
        names = ", ".join(f"`{row.name}`" for row in run.rows.values() if row.out)
        raise UsageError(
            f"run `{run.view.run}` gave more than one thing", hint=f"name the task that gave the dataset: {names}"
        )
    chosen = choose(run, task)
    ref, called = (chosen.ref, chosen.words) if task is None else _exactly(run, task, kind)
    found = _reports_of_data(run, chosen.task) if kind == "dataset" else _reports_of_model(run, chosen.task)
    origin = f"{run.view.run} {called}"
    if kind == "dataset":
        return Wanted(ref, next(found, None), origin)
    before = [each for name in run.walk([chosen.task], run.needed) for each in _preparations(run.out(name))]
    different = {each.identity: each for each in before}
    preparation = next(iter(different.values())) if len(different) == 1 else None
    return Wanted(ref, next(found, None), origin, preparation, _judging_task(run, chosen.task))


def _judging_task(run: Material, task: str) -> list[Ref]:
    """Return the reports of all that judged what a task gave, in its run."""
    judges = [name for name in run.walk([task], run.needing) if run.rows[name].kind == "evaluate"]
    return [each for name in judges for each in report_refs(run.out(name))]


def _judging_artifact(views: Views, ref: Ref, kind: named.Kind) -> list[Ref]:
    """Return the reports of all that judged an artifact, in the runs that gave it; of a small one that stands in the
    ledger's rows nobody knows these."""
    if kind == "model":
        with suppress(NotFoundError):
            made = Lineage(views).of_artifact(ref.digest).made
            return [each for step in made for each in _judging_task(material(views, step.run), step.task)]
    return []


def _judging(views: Views, version: VersionView) -> list[Ref]:
    """Return the reports on a version: the one that it has, and those of all that judged a model in its run."""
    made = named.maker(views, version) if version.kind == "model" else None
    own = [] if version.report is None else [version.report]
    if made is None:
        return [*own, *_judging_artifact(views, version.out, version.kind)]
    return [*own, *_judging_task(material(views, made[0]), made[1])]


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
