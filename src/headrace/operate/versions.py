"""Registered models and datasets: list versions with what their reports say, register versions, and set aliases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import FEW, LedgerError, NotFoundError, RefusedError, StoreError, UsageError, listed
from headrace.inspect.card.gather import together
from headrace.inspect.get import addresses
from headrace.inspect.get.get import part_of, task_and_path
from headrace.inspect.metrics.metrics import Load, loader, report_refs, reports
from headrace.inspect.model_choice import choose
from headrace.inspect.run_record import Material, material
from headrace.inspect.views import VersionView, Views, read
from headrace.ledger import registry
from headrace.ledger.views.lineage import Lineage
from headrace.project.project import Project
from headrace.project.state import open_ledger, reading_store
from headrace.spec.artifact import Ref
from headrace.spec.bundle import name_of_preparation
from headrace.spec.endpoint import MAIN, UNSERVABLE_HINT, unservable
from headrace.spec.intent import PREPARATION, Register, unlike
from headrace.spec.report import Report

DATA = ("ingest", "prepare")
"""The kinds of stages whose reports are about data."""


class Version(Struct, frozen=True, kw_only=True):
    """A version of a model or dataset, for display.

    `run` and `task` made the artifact; they are None if not known. If a user registered the version, `origin` says
    where the artifact comes from. `at` is when the version was registered (Unix seconds), and `by` is who registered
    it. `passed` is whether the version's report passed; it is None if there is no report or no verdict. `verdict` says
    the same in words. `preparation` is the digest of the preparation of rows for a model, or the name of the function
    that prepares them (with dots). `forced` has each alias that a user pointed at the version although a report didn't
    pass or couldn't be read, with the user's reason.
    """

    kind: addresses.Kind
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
    """The version that a user wants to register: the artifact `out`, its report, its preparation, and its origin in
    words.

    `judged` are all reports that judge the artifact. `is_measured` is True if an evaluation stage made the artifact.
    """

    out: Ref
    report: Ref | None
    origin: str
    preparation: Ref | None = None
    judged: Sequence[Ref] = ()
    is_measured: bool = False


def versions(project: Project, views: Views, kind: addresses.Kind, name: str | None = None) -> list[Version]:
    """Return the versions of all models or datasets, or of the one named, sorted by name and the newest first.

    Raises:
        NotFoundError: there is no model or dataset of that name.
    """
    if name is not None:
        name = views.resolve(kind, name).name
    load = loader(reading_store(project))
    return [shown(each, load) for each in views.versions(kind, name)]


def shown(view: VersionView, load: Load) -> Version:
    """Return a version for display. `load` reads its report."""
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
        preparation=name_of_preparation(view.preparation),
        forced=view.forced,
    )


def register(
    project: Project,
    words: tuple[str, str | None],
    kind: addresses.Kind,
    name: str,
    *,
    note: str = "",
    aliases: Sequence[str] = (),
    preparation: str | None = None,
    why: str | None = None,
    forced: str | None = None,
) -> Version:
    """Register an artifact as the next version of a model or dataset, and return the version. An artifact that is
    registered under this name already keeps its number.

    Args:
        project: the project.
        words: a run and a task (or `TASK.PART`), or a digest and None, or the address of another version and None. A
            run and None mean the model that the run made.
        kind: `model` or `dataset`.
        name: the name of the model or dataset.
        note: a note on the version.
        aliases: aliases to point at the version.
        preparation: the task, or `TASK.PART`, that made the preparation of rows for a model. None means the preparation
            that the model was made from, if it is the only one.
        why: the reason to move the aliases.
        forced: the reason to do what would be refused otherwise: to point aliases at an artifact whose report didn't
            pass, or to register an artifact of another kind.

    Raises:
        NotFoundError: there is no such artifact.
        RefusedError: aliases are given, and a report on the artifact didn't pass.
        UsageError: a name isn't allowed, `preparation` isn't one, or the artifact can't be of this kind.
    """
    load = loader(reading_store(project))
    with read(project) as views:
        wanted = _wanted(views, words, kind)
        if preparation is not None:
            wanted = wanted._replace(preparation=_named_preparation(views, words[0], preparation))
        before = [each.report for each in views.versions(kind, name) if each.out.identity == wanted.out.identity]
    from headrace.models.answering import lacking  # noqa: PLC0415  it imports Arrow, and lists of versions do without

    if wanted.preparation is not None and (gone := lacking(load(wanted.preparation), wanted.out.signature)):
        unfit = f"its preparation doesn't give {listed(gone, FEW)}, which the model takes"
        if preparation is not None:
            raise UsageError(unfit, hint="name the task that prepared the model's training rows")
        wanted, note = wanted._replace(preparation=None), "; ".join(filter(None, (note, f"{unfit}: it is left out")))
    note = "; ".join(filter(None, (note, _as_it_were(kind, wanted, forced))))
    judged = [each for each in (*before, *wanted.judged, wanted.report) if each is not None]
    forced = allowed(f"`{wanted.origin}`", aliases, judged, load, forced, registers=True)
    with open_ledger(project) as ledger:
        request = Register(
            kind=kind,
            name=name,
            out=wanted.out,
            report=wanted.report,
            note=note,
            aliases=tuple(aliases),
            preparation=wanted.preparation,
        )
        number = registry.register(
            ledger, request, by=ledger.user, origin=wanted.origin, why=why, is_forced=forced is not None
        )
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
        by=ledger.user,
        note=note,
        passed=None,
        verdict="",
        preparation=name_of_preparation(wanted.preparation),
        forced={} if forced is None else dict.fromkeys(aliases, forced),
    )
    return _as_it_is(project, known)


def _as_it_is(project: Project, known: Version) -> Version:
    """Return a version as the ledger has it now, or `known` if the ledger or store can't be read.

    If the version can't be read, that isn't an error here, because the caller's change is already stored.
    """
    try:
        with read(project) as views:
            return shown(views.resolve(known.kind, f"{known.name}:{known.version}"), loader(reading_store(project)))
    except (LedgerError, StoreError):
        return known


def point(
    project: Project,
    word: str,
    alias: str,
    *,
    remove: bool = False,
    why: str | None = None,
    forced: str | None = None,
) -> Version:
    """Point an alias at the version that an address names, or with `remove`, remove the alias from it. Return the
    version.

    `word` is the address. `why` is recorded with the move. `forced` is the reason to point the alias at the version
    although the version's report didn't pass.

    Raises:
        NotFoundError: there is no such version, or it has no such alias to remove.
        RefusedError: a report on the version didn't pass, and `forced` is None.
        UsageError: `word` isn't an address.
    """
    address = addresses.must_be_address(word)
    with read(project) as views:
        version = views.resolve(address.kind, address.name)
        if remove and alias not in version.aliases:
            others = ", ".join(f"`{each}`" for each in version.aliases) or "none"
            raise NotFoundError(
                f"{version.kind} `{version.name}:{version.version}` has no alias `{alias}`", hint=f"it has {others}"
            )
        judged = [] if remove else judging(views, version)
        serves = version.kind == "model" and alias == MAIN and not remove and _has_endpoint(views, version.name)
    if serves and (why_not := unservable(version.out, version.preparation)) is not None:
        raise RefusedError(
            f"the requests of endpoint `{version.name}` would go to version {version.version}, and {why_not}",
            hint=UNSERVABLE_HINT,
        )
    called = f"{version.kind} `{version.name}:{version.version}`"
    load = loader(reading_store(project))
    forced = allowed(called, [alias], judged, load, forced)
    kept = tuple(each for each in version.aliases if each != alias)
    reasons = {each: reason for each, reason in version.forced.items() if each != alias}
    known = replace(
        shown(version, load),
        aliases=kept if remove else (*kept, alias),
        forced=reasons if remove or forced is None else {**reasons, alias: forced},
    )
    with open_ledger(project) as ledger:
        if remove:
            registry.unpoint(ledger, version.kind, version.name, alias, by=ledger.user, why=why)
        else:
            of, number = version.name, version.version
            registry.point(
                ledger, version.kind, of, alias, number, by=ledger.user, why=why, is_forced=forced is not None
            )
    return _as_it_is(project, known)


def _has_endpoint(views: Views, name: str) -> bool:
    return any(row.name == name and row.route is not None for row in views.routes())


def _as_it_were(kind: addresses.Kind, wanted: Wanted, forced: str | None) -> str:
    """If the version's artifact can't be of this kind, return a note that says so and gives the reason `forced`. Else
    return an empty text.

    Raises:
        UsageError: the artifact can't be of this kind, and `forced` is None.
    """
    what = unlike(kind, wanted.out, judges=wanted.is_measured)
    if what is None:
        return ""
    if forced is None:
        other: addresses.Kind = "dataset" if kind == "model" else "model"
        instead = f"register it as that: `--{other} NAME`" if unlike(other, wanted.out) is None else f"name a {kind}"
        raise UsageError(
            f"`{wanted.origin}` is {what}, so it can't be registered as a {kind}",
            hint=f'{instead}; or give the reason to do it anyway: `--force --why "..."`, which is recorded',
        )
    return f"{what} as a {kind}: {forced}"


def allowed(
    called: str,
    aliases: Sequence[str],
    judged: Sequence[Ref],
    load: Load,
    forced: str | None,
    *,
    registers: bool = False,
) -> str | None:
    """If a report didn't pass or can't be read, return `forced`, the reason to set aliases. Otherwise no reason is
    needed: return None. `registers` is True if the aliases belong to a version that is about to be registered.

    Raises:
        RefusedError: a report didn't pass or can't be read, and `forced` is None.
    """
    loaded = [load(ref) for each in judged for ref in report_refs(each)]
    refusing = [report for report in loaded if isinstance(report, Report) and report.passed is False]
    unread = [report for report in loaded if not isinstance(report, Report)]
    if not aliases or not (refusing or unread):
        return None
    if forced is None:
        broken = dict.fromkeys(each.rule for report in refusing for each in report.verdicts if each.holds is not True)
        why = f"its report didn't pass: {'; '.join(broken)}".rstrip(": ") if refusing else "its report can't be read"
        anyway = 'give the reason to point the alias at it anyway: `--force --why "..."`, which is recorded'
        raise RefusedError(
            f"`{aliases[0]}` wasn't pointed at {called}{', so nothing was registered' if registers else ''}: {why}",
            hint=f"register it without `--alias`; or {anyway}" if registers else anyway,
        )
    return forced


def _named_preparation(views: Views, run: str, task: str) -> Ref:
    """Return the preparation in the output of a run's task, or of `TASK.PART`.

    Raises:
        UsageError: the output doesn't have exactly one preparation.
    """
    whole, _ = _exactly(material(views, run), task, "dataset")
    preparations = list(_preparations(whole))
    if len(preparations) != 1:
        raise UsageError(f"the output of `{task}` is not a preparation", hint="name a task of `prepare.clean`")
    return preparations[0]


def _preparations(ref: Ref | None) -> Iterator[Ref]:
    """Yield the preparations in an output: the output itself, or its parts."""
    if ref is not None and ref.type == PREPARATION:
        yield ref
    elif ref is not None and ref.names:
        yield from (part for part in ref.parts or () if part.type == PREPARATION)


def _wanted(views: Views, words: tuple[str, str | None], kind: addresses.Kind) -> Wanted:
    word, task = words
    version = addresses.version(views, word)
    if version is not None:
        part = part_of(version.out, task or "", word)
        origin = f"{version.kind}:{version.name}:{version.version}"
        return Wanted(part, version.report, origin, version.preparation, judging(views, version))
    if task is None and not _is_run(views, word):
        ref = views.artifact(word)
        if kind == "model" and ref.codec == "record" and "model" in (ref.names or ()):
            ref = part_of(ref, "model", word)
        return Wanted(ref, None, f"artifact {ref.digest[:12]}", judged=_judging_artifact(views, ref, kind))
    run = material(views, word)
    if task is None and kind == "dataset":
        names = ", ".join(f"`{row.name}`" for row in run.rows.values() if row.out)
        raise UsageError(
            f"run `{run.view.run}` has more than one output", hint=f"name the task that made the dataset: {names}"
        )
    chosen = choose(run, task)
    ref, called = (chosen.ref, chosen.words) if task is None else _exactly(run, task, kind)
    candidates = _reports_of_data(run, chosen.task) if kind == "dataset" else _reports_of_model(run, chosen.task)
    origin = f"{run.view.run} {called}"
    if kind == "dataset":
        return Wanted(ref, next(candidates, None), origin)
    before = [each for name in run.walk([chosen.task], run.needed) for each in _preparations(run.out(name))]
    different = {each.identity: each for each in before}
    preparation = next(iter(different.values())) if len(different) == 1 else None
    is_measured = run.rows[chosen.task].kind == "evaluate"
    return Wanted(ref, next(candidates, None), origin, preparation, _judging_task(run, chosen.task), is_measured)


def _judging_task(run: Material, task: str) -> list[Ref]:
    """Return the reports of a run's evaluations that depend on a task's output."""
    judges = [name for name in run.walk([task], run.needing) if run.rows[name].kind == "evaluate"]
    return [each for name in judges for each in report_refs(run.out(name))]


def _judging_artifact(views: Views, ref: Ref, kind: addresses.Kind) -> list[Ref]:
    """Return the reports of all evaluations of the model `ref` in the runs that made this model.

    The result is empty for a dataset, and for a small artifact that is kept in the ledger's rows, because the runs that
    made it aren't known.
    """
    if kind == "model":
        with suppress(NotFoundError):
            made = Lineage(views).makers(ref.digest)
            return [each for step in made for each in _judging_task(material(views, step.run), step.task)]
    return []


def judging(views: Views, version: VersionView) -> list[Ref]:
    """Return the reports on a version: its own and, for a model, those of all evaluations in its run."""
    made = addresses.maker(views, version) if version.kind == "model" else None
    own = [] if version.report is None else [version.report]
    if made is None:
        return [*own, *_judging_artifact(views, version.out, version.kind)]
    return [*own, *_judging_task(material(views, made[0]), made[1])]


def _exactly(run: Material, task: str, kind: addresses.Kind) -> tuple[Ref, str]:
    """Return the artifact that `task` names (as `TASK` or `TASK.PART`), and the artifact's name in words.

    If a model is wanted and the output has several fields, the field `model` is returned.
    """
    whole, name, path = run.out(task), task, ""
    if whole is None:
        name, path = task_and_path(task)
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
    """Yield the reports about the dataset that a task made: the task's own, then those of later tasks that depend on
    it and whose stages ingest or prepare data, the latest task first."""
    yield from report_refs(run.out(task))
    for name in sorted(run.walk([task], run.needing), key=lambda name: -run.rows[name].ordinal):
        if run.rows[name].kind in DATA:
            yield from report_refs(run.out(name))


def _reports_of_model(run: Material, task: str) -> Iterator[Ref]:
    """Yield the reports about a model, the most relevant first.

    First come the reports of evaluations after the task, the nearest first. Then comes the task's own report, which is
    about its training data. Last come the reports of other tasks after the task, the latest task first.
    """
    after = run.walk([task], run.needing)
    judges = [name for name in after if run.rows[name].kind == "evaluate"]
    others = sorted((name for name in after if name not in judges), key=lambda name: -run.rows[name].ordinal)
    for name in (*judges, task, *others):
        yield from report_refs(run.out(name))
