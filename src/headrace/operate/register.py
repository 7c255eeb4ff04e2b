"""Registers artifacts as versions of models and datasets, and points aliases at versions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from msgspec import structs

from headrace.errors import FEW, LedgerError, NotFoundError, RefusedError, UsageError, listed
from headrace.inspect.endpoints.routes import endpoints
from headrace.inspect.get import addresses
from headrace.inspect.get.get import part_of, task_and_path
from headrace.inspect.metrics.metrics import loader, report_refs
from headrace.inspect.model_choice import about, choose
from headrace.inspect.run_record import Material, material
from headrace.inspect.views import Views, read
from headrace.ledger import registry
from headrace.models.answering import lacking
from headrace.operate.endpoints.routes import main, moved, unable
from headrace.operate.versions import (
    Registered,
    Version,
    allowed,
    judging,
    judging_artifact,
    judging_task,
    reread,
    shown,
)
from headrace.project.project import Project
from headrace.project.state import open_ledger, reading_store
from headrace.spec.artifact import Ref
from headrace.spec.bundle import name_of_preparation
from headrace.spec.endpoint import MAIN
from headrace.spec.intent import PREPARATION, Register, unlike

DATA = ("ingest", "prepare")
"""The kinds of stages whose reports are about data."""


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
) -> Registered:
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
        RefusedError: aliases are given, and a report on the artifact didn't pass; or an endpoint would get the artifact
            as `production`, and the artifact can't answer requests.
        UsageError: a name isn't allowed, `preparation` isn't one, or the artifact can't be of this kind.
    """
    load = loader(reading_store(project))
    with read(project) as views:
        wanted = _wanted(views, words, kind)
        if preparation is not None:
            wanted = wanted._replace(preparation=_named_preparation(views, words[0], preparation))
        before = [each.report for each in views.versions(kind, name) if each.out.identity == wanted.out.identity]
        serving = _serving(views, kind, name, aliases)
    if wanted.preparation is not None and (gone := lacking(load(wanted.preparation), wanted.out.signature)):
        unfit = f"its preparation doesn't give {listed(gone, FEW)}, which the model takes"
        if preparation is not None:
            raise UsageError(unfit, hint="name the task that prepared the model's training rows")
        wanted, note = wanted._replace(preparation=None), "; ".join(filter(None, (note, f"{unfit}: it is left out")))
    if serving is not None:
        _check_answers(project, name, wanted.out, wanted.preparation, f"`{wanted.origin}`")
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
    return _registered(project, known, serving)


def point(
    project: Project,
    word: str,
    alias: str,
    *,
    remove: bool = False,
    why: str | None = None,
    forced: str | None = None,
) -> Registered:
    """Point an alias at the version that an address names, or with `remove`, remove the alias from it. Return the
    version.

    `word` is the address. `why` is recorded with the move. `forced` is the reason to point the alias at the version
    although the version's report didn't pass.

    Raises:
        NotFoundError: there is no such version, or it has no such alias to remove.
        RefusedError: a report on the version didn't pass, and `forced` is None; or an endpoint would get the version as
            `production`, and the version can't answer requests.
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
        serving = _serving(views, version.kind, version.name, () if remove else (alias,))
    if serving is not None:
        _check_answers(project, version.name, version.out, version.preparation, f"version {version.version}")
    called = f"{version.kind} `{version.name}:{version.version}`"
    load = loader(reading_store(project))
    forced = allowed(called, [alias], judged, load, forced)
    kept = tuple(each for each in version.aliases if each != alias)
    reasons = {each: reason for each, reason in version.forced.items() if each != alias}
    known = structs.replace(
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
    return _registered(project, known, serving)


def _serving(views: Views, kind: addresses.Kind, name: str, aliases: Sequence[str]) -> int | None:
    """If moving these aliases of a model also moves the route of an endpoint, return the version that is `production`
    there, otherwise None."""
    if kind != "model" or MAIN not in aliases:
        return None
    return next((main(each) for each in endpoints(views) if each.endpoint == name), None)


def _check_answers(project: Project, endpoint: str, out: Ref, preparation: Ref | None, called: str) -> None:
    """Check that a model can answer the requests of an endpoint, as far as its artifacts show.

    Raises:
        RefusedError: it can't.
    """
    with read(project) as views:
        trouble = unable(views, out, preparation)
    if trouble is not None:
        why, hint = trouble
        raise RefusedError(f"the requests of endpoint `{endpoint}` would go to {called}, and {why}", hint=hint)


def _registered(project: Project, known: Version, serving: int | None) -> Registered:
    """Return the version `known` as it is now.

    `serving` is the version that was `production` of the model's endpoint before the change, or None if the change
    couldn't move the endpoint's route. If `serving` is another version than `known`, the result has the warnings of the
    route's last move.
    """
    warnings: tuple[str, ...] = ()
    if serving not in (None, known.version):
        with suppress(LedgerError), read(project) as views:
            warnings = moved(views, known.name).warnings
    return Registered(**structs.asdict(reread(project, known)), warnings=warnings)


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
        return Wanted(ref, None, f"{addresses.BY_DIGEST} {ref.digest[:12]}", judged=judging_artifact(views, ref, kind))
    run = material(views, word)
    if task is None and kind == "dataset":
        names = ", ".join(f"`{row.name}`" for row in run.rows.values() if row.out)
        raise UsageError(
            f"run `{run.view.run}` has more than one output", hint=f"name the task that made the dataset: {names}"
        )
    chosen = choose(run, task)
    ref, called = (chosen.ref, chosen.words) if task is None else _exactly(run, task, kind)
    candidates = _reports_of_data(run, chosen.task) if kind == "dataset" else _reports_of_model(run, chosen.task, ref)
    origin = f"{run.view.run} {called}"
    if kind == "dataset":
        return Wanted(ref, next(candidates, None), origin)
    before = [each for name in run.walk([chosen.task], run.needed) for each in _preparations(run.out(name))]
    different = {each.identity: each for each in before}
    preparation = next(iter(different.values())) if len(different) == 1 else None
    is_measured = run.rows[chosen.task].kind == "evaluate"
    return Wanted(ref, next(candidates, None), origin, preparation, judging_task(run, chosen.task, ref), is_measured)


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


def _reports_of_model(run: Material, task: str, model: Ref) -> Iterator[Ref]:
    """Yield the reports about a model, the most relevant first.

    First come the reports of evaluations after the task, the nearest first. Then comes the task's own report, which is
    about its training data. Last come the reports of other tasks after the task, the latest task first.
    """
    after = about(run, task, model)
    judges = [name for name in after if run.rows[name].kind == "evaluate"]
    others = sorted((name for name in after if name not in judges), key=lambda name: -run.rows[name].ordinal)
    for name in (*judges, task, *others):
        yield from report_refs(run.out(name))
