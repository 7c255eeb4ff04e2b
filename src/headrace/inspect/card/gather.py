"""Makes a model card from the record of a run."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property

from headrace.errors import LedgerError, NotFoundError, UsageError
from headrace.inspect.card.approvals import agreed
from headrace.inspect.card.facts import Agreed, Card, Made, Named, Source, Training
from headrace.inspect.card.limits import erased, forgotten, held_back, limits, not_passed
from headrace.inspect.gates import asked
from headrace.inspect.get import addresses as named
from headrace.inspect.history import differing
from headrace.inspect.logs import maker
from headrace.inspect.metrics.curves import lines
from headrace.inspect.metrics.metrics import Load, Reading, loader, readings, report_refs
from headrace.inspect.model_choice import Chosen, about, choose, trained
from headrace.inspect.reports import Judged, Logged
from headrace.inspect.run_record import Material, material
from headrace.inspect.value_text import cut, value_text
from headrace.inspect.views import VersionView, Views, judged
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.spec.artifact import Ref, blobs
from headrace.spec.bundle import name_of_preparation, own_code_in
from headrace.spec.fleet import HOME
from headrace.spec.graph import Const, Secret
from headrace.spec.intent import TABLES, unlike
from headrace.spec.report import Report
from headrace.spec.signature import signature_in
from headrace.spec.stage import Stage

COUNTED_BYTES = 1 << 28
COUNTED_AFAR_BYTES = 1 << 24
SEEDS = ("seed", "random_state")
PARAMETERS = ("parameter", "value")
"""The columns of the table of parameters in a training report."""
MAX_PARTS = 200
MAX_NUMBERS = 60


class CardMaker:
    """Reads what a card needs. Each run is read once."""

    def __init__(self, project: Project, views: Views) -> None:
        self._views = views
        self._load: Load = loader(reading_store(project))
        self._is_afar = project.region(HOME).store.is_remote
        self._runs: dict[str, Material] = {}
        self._readings: dict[str, list[Reading]] = {}
        self._unread: dict[str, None] = {}

    def card_of(self, word: str | None, words: str | None = None) -> Card:
        """Return a model's card. `word` is a run (by default the last one) or an address, such as `model:churn:3`.

        `words` names the run's task that made the model, or a part of the task's output; by default the card is about
        the run's last model.

        Raises:
            NotFoundError: there is no such run, task or version, or it has no model.
        """
        version = None if word is None else named.version(self._views, word)
        if version is None:
            return self.card(word, words)
        made = named.maker(self._views, version)
        if made is None:
            raise named.no_maker(self._views, version)
        return self.card(made[0], self._words(*made, version.out), version)

    def _words(self, run: str, task: str, ref: Ref) -> str:
        """Return an artifact's name in commands: its task (`fit`), or a part of the task's output (`fit.model`)."""
        rest = [(task, self.run(run).out(task))]
        for words, each in rest:
            if each is not None and each.digest == ref.digest:
                return words
            names = () if each is None else each.names or tuple(map(str, range(len(each.parts or ()))))
            rest += [
                (f"{words}.{name}", part) for name, part in zip(names, each.parts or () if each else (), strict=True)
            ]
        return task

    def card(self, run_id: str | None, words: str | None = None, version: VersionView | None = None) -> Card:
        """Return the card of a run's model. `words` are as in `card_of`. `version` is the registered version that the
        user asked for, or None.

        Raises:
            NotFoundError: there is no such run or task, or it has no model.
            UsageError: the named artifact is a table, or something else that is not a model.
        """
        run = self.run(self._views.find(run_id).run)
        chosen = choose(run, words or self._registered_by(run))
        maker_of = trained(run, chosen)
        above = [name for name in run.walk([chosen.task, maker_of], run.needed) if name != maker_of]
        below = about(run, chosen.task, chosen.ref)
        data = tuple(self._made(run, name, count=True) for name in _in_order(run, above))
        checks = tuple(self._judged(run, _in_order(run, above)))
        results = tuple(self._judged(run, [maker_of, *_in_order(run, {chosen.task, *below})]))
        training = self._training(run, maker_of)
        registered = self._registered(chosen.ref, version)
        what = None if words is None or registered else unlike("model", chosen.ref)
        if what is not None:
            raise UsageError(
                f"`{chosen.words}` of run `{run.view.run}` is {what}, so it has no model card",
                hint="name a task that made a model; without a task, the card is about the run's last model",
            )
        preparation = None if version is None else version.preparation
        own = None
        with suppress(LedgerError):  # a newer Headrace wrote it, or it is damaged
            own = own_code_in(preparation)
        whole = (*data, training.task, *(self._made(run, name) for name in below))
        title = registered[0].name if registered else chosen.task
        return Card(
            title=f"{title} {registered[0].version}" if registered else f"{title} of {run.view.pipeline}",
            pipeline=run.view.pipeline,
            run=run.view.run,
            task=chosen.words,
            type=chosen.ref.type.partition("@")[0],
            codec=chosen.ref.codec,
            bytes=chosen.ref.size,
            digest=chosen.ref.digest,
            passed=together(each.report.passed for each in results),
            names=registered,
            data=data,
            checks=checks,
            training=training,
            results=results,
            numbers=tuple(self._numbers(run, {maker_of, chosen.task, *below})),
            code=self._source(run, maker_of),
            seconds=_sum(each.seconds for each in whole),
            cpu_s=_sum(each.cpu_s for each in whole),
            usd=_sum(each.usd for each in whole),
            limits=(
                *erased(data, {each.erasure: each.at for each in self._views.erasures()}),
                *not_passed(checks),
                *limits(chosen.ref, run, results),
                *held_back(run, below),
                *forgotten(whole),
                *(f"A report of `{task}` is not shown: it can't be read." for task in self._unread),
            ),
            get=tuple(_ways(chosen, run, registered)),
            signature=signature_in((version and version.out.signature) or chosen.ref.signature),
            is_prepared=preparation is not None,
            sent=None if own is None else own.signature,
            approvals=tuple(self._agreed(run, below, registered)),
        )

    def _registered_by(self, run: Material) -> str | None:
        """Return the name in commands, such as `fit.model`, of the model that a run registered last, or None."""
        versions = [each for each in self._views.versions("model") if each.run == run.view.run]
        newest = max(versions, key=lambda each: each.at, default=None)
        made = None if newest is None else named.maker(self._views, newest)
        return None if newest is None or made is None else self._words(*made, newest.out)

    def _registered(self, ref: Ref, first: VersionView | None) -> tuple[Named, ...]:
        """Return the versions that an artifact is registered as, with the requested one first."""
        kinds: tuple[named.Kind, ...] = named.KINDS
        versions = [each for kind in kinds for each in self._views.versions(kind) if each.out.identity == ref.identity]
        versions.sort(key=lambda each: first is None or (each.name, each.version) != (first.name, first.version))
        return tuple(
            Named(
                kind=each.kind,
                name=each.name,
                version=each.version,
                aliases=each.aliases,
                note=each.note,
                preparation=name_of_preparation(each.preparation),
                forced=each.forced,
            )
            for each in versions
        )

    def _agreed(self, run: Material, tasks: Container[str], registered: Sequence[Named]) -> Iterator[Agreed]:
        """Yield the decisions about these tasks of a run, and about the tasks of other runs that registered the
        model."""
        yield from agreed(run, tasks)
        for each in registered:
            version = named.version(self._views, f"{each.kind}:{each.name}:{each.version}")
            where, task = (None, None) if version is None else (version.run, version.task)
            if where is not None and task is not None and where != run.view.run:
                with suppress(NotFoundError):  # it was imported without its run
                    yield from agreed(self.run(where), {task})

    def run(self, run_id: str) -> Material:
        """Return the record of a run."""
        if run_id not in self._runs:
            self._runs[run_id] = material(self._views, run_id)
        return self._runs[run_id]

    def _origin(self, run: Material, task: str) -> tuple[Material, str] | str:
        """Return the run that made a task's output, and the task's name in that run. If the run is forgotten, return
        only the run's name."""
        if run.rows[task].state != "reused":
            return run, task
        found = maker(self._views, run.view.run, task)
        if found is None:
            return run, task
        return (self.run(found[0]), found[1]) if found[1] else found[0]

    def _took(self, run: Material, task: str) -> tuple[str, tuple[float, float, float] | tuple[None, None, None]]:
        """Return the run in which a task really ran, and the task's seconds, cpu seconds and US dollars in that run.

        For a map, each number is the sum over the map's elements. If a run that did some of the work is forgotten, that
        run is returned without numbers.
        """
        took, runs = [], set()
        for each in run.elements.get(task, [task]):
            origin = self._origin(run, each)
            if isinstance(origin, str):
                return origin, (None, None, None)
            there, name = origin
            runs.add(there.view.run)
            row = there.rows[name]
            took.append((row.seconds, sum(use.cpu_s for use in there.story.uses(name)), row.usd))
        seconds, cpu_s, usd = (sum(each) for each in zip(*took, strict=True))
        return runs.pop() if len(runs) == 1 else run.view.run, (seconds, cpu_s, usd)

    def _made(self, run: Material, task: str, *, count: bool = False) -> Made:
        origin = self._origin(run, task)
        there, name = (run, task) if isinstance(origin, str) else origin
        row, stage, ref = there.rows[name], there.stage(name), run.out(task)
        ran_in, (seconds, cpu_s, usd) = self._took(run, task)
        tables = _tables(ref) if count and ref is not None else {}
        erased = tuple(name for name, part in tables.items() if self._erasures(part))
        shapes = self._shapes({name: part for name, part in tables.items() if name not in erased})
        single = next(iter(shapes.values()), None) if len(tables) == 1 else None
        return Made(
            task=task,
            stage=row.stage,
            kind=row.kind,
            function="" if stage is None else stage.function.partition("#")[0],
            run=ran_in,
            state=run.rows[task].state,
            arguments=_arguments(there, name, self._load),
            needs=tuple(run.needed(task)),
            type="" if ref is None else ref.type.partition("@")[0].removeprefix("builtins."),
            bytes=0 if ref is None else ref.size,
            digest="" if ref is None else ref.digest,
            seconds=seconds,
            cpu_s=cpu_s,
            usd=usd,
            rows=None if single is None else single[0],
            columns=None if single is None else single[1],
            tables={name: shapes[name][0] if name in shapes else None for name in tables}
            if len(tables) > 1 and (shapes or erased)
            else {},
            erased=erased,
            erasures=tuple(sorted(self._erasures(ref))) if count and ref is not None else (),
        )

    @cached_property
    def _gone(self) -> dict[tuple[str, str | None], str]:
        """The erasure that erased each generation, by digest and nonce."""
        every = (row for each in self._views.erasures() for row in self._views.erased_by(each.erasure))
        return {(row.digest, row.nonce): row.erasure for row in every}

    def _erasures(self, ref: Ref) -> set[str]:
        """Return the ids of the erasures that erased an artifact or parts of it."""
        generations = ((each.digest, each.nonce) for each in blobs(ref)) if self._gone else ()
        return {self._gone[each] for each in generations if each in self._gone}

    def _shapes(self, tables: Mapping[str, Ref]) -> dict[str, tuple[int, int]]:
        """Return the numbers of rows and columns of tables. Return an empty dict if it would take long to read the
        tables."""
        if sum(part.size for part in tables.values()) > (COUNTED_AFAR_BYTES if self._is_afar else COUNTED_BYTES):
            return {}
        shapes = {name: getattr(self._load(part), "shape", None) for name, part in tables.items()}
        return {name: shape for name, shape in shapes.items() if isinstance(shape, tuple) and len(shape) == 2}

    def _judged(self, run: Material, tasks: Iterable[str]) -> Iterator[Judged]:
        """Yield the reports and gates of tasks. If several tasks returned the same report, it is yielded only for the
        first of them. The gate of a map is yielded only for the first of its elements."""
        seen: list[Report] = []
        gated: set[str] = set()
        tasks = list(tasks)
        subjects = judged(self._views, run.view.run, tasks)
        for task in tasks:
            for ref in report_refs(run.out(task)):
                report = self._load(ref)
                if not isinstance(report, Report):
                    self._unread[task] = None
                elif report not in seen:
                    seen.append(report)
                    yield Judged(task=task, report=report, of=subjects.get(task, ""))
            node = run.node(task)
            gate = asked(node, run.out, self._load) if run.out(task) is not None else None
            if node is not None and gate is not None and node.name not in gated:
                gated.add(node.name)
                yield Judged(task=task, report=gate)

    def _numbers(self, run: Material, tasks: Container[str]) -> list[Reading]:
        if run.view.run not in self._readings:
            self._readings[run.view.run] = readings(self._views, run.view.run, self._load)
        return [each for each in self._readings[run.view.run] if each.source != "report" and each.task in tasks][
            :MAX_NUMBERS
        ]

    def _seeds(self, run: Material, task: str) -> dict[str, str]:
        """Return the seeds among a task's arguments and among the parameters that the task's report lists."""
        arguments = _arguments(run, task, self._load)
        seeds = {key: value for key, value in arguments.items() if key.endswith(SEEDS)}
        for ref in report_refs(run.out(task)):
            report = self._load(ref)
            for grid in report.grids if isinstance(report, Report) else ():
                for name, value in grid.rows if grid.columns == PARAMETERS else ():
                    if str(name).endswith(SEEDS) and str(value) != "None":
                        seeds.setdefault(str(name), str(value))
        return seeds

    def _training(self, run: Material, task: str) -> Training:
        origin_or_run = self._origin(run, task)
        if isinstance(origin_or_run, str):
            return self._forgotten_training(run, task)
        origin, name = origin_or_run
        row, opened, bundle = origin.rows[name], origin.story.opened, origin.story.bundle
        return Training(
            task=self._made(run, task),
            at=row.started or origin.view.created,
            parameters={key: str(value) for key, value in origin.view.params.items()},
            seeds=self._seeds(origin, name),
            attempts=row.attempts,
            load_s=row.load_s,
            save_s=row.save_s,
            peak_gib=max((use.peak_gib for use in origin.story.uses(name)), default=0.0),
            pool=row.pool or "",
            user="" if opened is None else opened.user,
            headrace="" if opened is None else opened.headrace,
            platform="" if bundle is None else bundle.platform or "",
            lock="" if bundle is None else bundle.lock or "",
            packages=_packages(origin.stage(name)),
            curves=tuple(self._curves(origin, name)),
        )

    def _forgotten_training(self, run: Material, task: str) -> Training:
        """Return what is known about a training whose output was reused, and whose own run is no longer in the ledger:
        the inputs of the training's key, and what the training logged."""
        return Training(
            task=self._made(run, task),
            at=None,
            parameters={},
            seeds=self._seeds(run, task),
            attempts=None,
            load_s=None,
            save_s=None,
            peak_gib=None,
            pool="",
            user="",
            headrace="",
            platform="",
            lock="",
            packages=_packages(run.stage(task)),
            curves=tuple(self._curves(run, task)),
        )

    def _curves(self, run: Material, task: str) -> Iterator[Logged]:
        for (_, name), line in lines(self._views, run.view.run, task).items():
            if line.is_curve:
                yield Logged(task=task, name=name, line=line)

    def _source(self, run: Material, task: str) -> Source:
        found = self._origin(run, task)
        origin, name = (run, task) if isinstance(found, str) else found
        stage = origin.stage(name)
        earlier = None if isinstance(found, str) else self._views.earlier(origin.view.run, name)
        then = None if earlier is None or stage is None else self.run(earlier.run).story.stages.get(stage.function)
        parts = () if stage is None else stage.code.parts
        changed = () if then is None or stage is None else differing(then.code, stage.code)
        return Source(
            bundle="" if origin.story.bundle is None or isinstance(found, str) else origin.story.bundle.digest,
            parts=tuple(part.name for part in parts if part.kind not in ("distribution", "environment"))[:MAX_PARTS],
            changed=tuple(part.name for part, _ in changed),
            against=None if then is None or earlier is None else earlier.run,
            notes=() if stage is None else stage.code.notes,
        )


def _tables(ref: Ref) -> dict[str, Ref]:
    """Return the tables in an output by name. An output that is a table has the name ""."""
    named_parts = zip(ref.names, ref.parts, strict=True) if ref.names and ref.parts else ()
    return {name: part for name, part in (("", ref), *named_parts) if part.codec in TABLES}


def _packages(stage: Stage | None) -> dict[str, str]:
    """Return the versions of the packages that a stage's code depends on."""
    parts = () if stage is None else stage.code.parts
    return {part.name: part.text for part in parts if part.kind in ("distribution", "environment") and part.text}


def _sum(numbers: Iterable[float | None]) -> float | None:
    """Return a sum, or None if one of the numbers is unknown.

    >>> _sum([1.5, 2]), _sum([1.5, None])
    (3.5, None)
    """
    found = list(numbers)
    known = [each for each in found if each is not None]
    return sum(known) if len(known) == len(found) else None


def _arguments(run: Material, task: str, load: Load) -> dict[str, str]:
    """Return the values that a task was called with, as short texts. Outputs of other tasks are left out.

    Defaults of arguments that were not passed are added if the record of the stage's code has them.
    """
    node, stage = run.node(task), run.stage(task)
    arguments: dict[str, str] = {}
    if stage is not None:
        texts = {part.name: part.text for part in stage.code.parts if part.kind == "constant"}
        prefix = stage.function.partition("#")[0].replace(":", ".")
        defaults = {name: texts.get(f"{prefix}.{name}") for name in stage.defaults}
        arguments |= {name: text for name, text in defaults.items() if text is not None}
    for name, arg in () if node is None else node.args:
        match arg:
            case Const(ref=whole):
                ref = run.element(task, name, whole)
                arguments[name] = (
                    cut(value_text(ref, load) or "", 400) or f"{ref.type.partition('@')[0]} {ref.digest[:12]}"
                )
            case Secret(name=secret):
                arguments[name] = f"secret `{secret}`"
            case _:
                arguments.pop(name, None)
    return arguments


def _in_order(run: Material, names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: run.rows[name].ordinal)


def together(passed: Iterable[bool | None]) -> bool | None:
    """Return whether all reports passed, or None if no report has a verdict."""
    verdicts = [each for each in passed if each is not None]
    return all(verdicts) if verdicts else None


def _ways(chosen: Chosen, run: Material, names: Sequence[Named]) -> Iterator[str]:
    address = next((f"{each.kind}:{each.name}:{each.version}" for each in names), None)
    if address is not None:
        yield f"headrace get {address}"
    yield f"headrace get {run.view.run} {_quoted(chosen.words)}"
    if address is not None or chosen.ref.nonce is not None:
        yield f'headrace.load("{address or chosen.ref.digest[:16]}")'


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set("[]#()* ") else word
