"""Versions of registered models and datasets, and what their reports say. `register` makes versions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct

from headrace.errors import LedgerError, NotFoundError, RefusedError, StoreError
from headrace.inspect.card.gather import together
from headrace.inspect.get import addresses
from headrace.inspect.metrics.metrics import Load, loader, report_refs, reports
from headrace.inspect.model_choice import about
from headrace.inspect.run_record import Material, material, material_before
from headrace.inspect.views import VersionView, Views, read
from headrace.ledger.views.lineage import Lineage
from headrace.ledger.views.steps import Step
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.spec.artifact import Ref
from headrace.spec.bundle import name_of_preparation
from headrace.spec.report import Report


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


class Registered(Version, frozen=True, kw_only=True):
    """A version that was registered, or at which an alias was pointed. If the alias `production` was moved, `warnings`
    says which requests of the model's endpoint will be refused because of the move."""

    warnings: tuple[str, ...] = ()


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


def reread(project: Project, known: Version) -> Version:
    """Return a version as the ledger has it now, or `known` if the ledger or store can't be read.

    If the version can't be read, that isn't an error here, because the caller's change is already stored.
    """
    try:
        with read(project) as views:
            return shown(views.resolve(known.kind, f"{known.name}:{known.version}"), loader(reading_store(project)))
    except (LedgerError, StoreError):
        return known


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


def judging(views: Views, version: VersionView) -> list[Ref]:
    """Return the reports on a version: its own and, for a model, those of all evaluations in the run that it was
    registered from. If the artifact was registered by its digest, those in all runs that made it count."""
    made = addresses.maker(views, version) if version.kind == "model" else None
    own = [] if version.report is None else [version.report]
    if made is None or addresses.is_by_digest(views, version):
        return [*own, *judging_artifact(views, version.out, version.kind)]
    return [*own, *judging_task(material(views, made[0]), made[1], version.out)]


def judging_task(run: Material, task: str, ref: Ref) -> list[Ref]:
    """Return the reports of a run's evaluations that depend on a task's output, and don't only compare another model
    with `ref`, which is this output or a part of it."""
    judges = [name for name in about(run, task, ref) if run.rows[name].kind == "evaluate"]
    return [each for name in judges for each in report_refs(run.out(name))]


def _record(views: Views, step: Step, digest: str) -> Material:
    """Return the record of a step's run under the code that made the artifact `digest`."""
    run = material(views, step.run)
    return (material_before(views, run, step.task, digest) or run) if step.earlier else run


def judging_artifact(views: Views, ref: Ref, kind: addresses.Kind) -> list[Ref]:
    """Return the reports of all evaluations of the model `ref` in the runs that made this model.

    The result is empty for a dataset, and for a small artifact that is kept in the ledger's rows, because the runs that
    made it aren't known.
    """
    if kind == "model":
        with suppress(NotFoundError):
            made = Lineage(views).makers(ref.digest)
            return [each for step in made for each in judging_task(_record(views, step, ref.digest), step.task, ref)]
    return []
