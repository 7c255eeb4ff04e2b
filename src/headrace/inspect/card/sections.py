"""A model card as sections that the renderer of reports shows as a page or as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from headrace import report as renderer
from headrace.errors import listed
from headrace.inspect.card.facts import Card, Made, Named
from headrace.inspect.metrics.metrics import Reading
from headrace.inspect.page.curves import picture
from headrace.inspect.reports import Judged
from headrace.inspect.value_text import cut
from headrace.report.measures import bytes_text, seconds_text, usd_text
from headrace.spec.report import Cell, Drawing, Fact, Grid, Report, Verdict
from headrace.spec.signature import Signature

CODECS = {
    "skops": "skops, a safe form of scikit-learn",
    "lightgbm": "LightGBM's own text",
    "safetensors": "safetensors",
    "pickle": "pickle, which runs code when it is loaded",
    "folder": "a folder of files",
    "json": "JSON",
    "record": "several parts",
    "parts": "several parts",
}

UNKNOWN = "not known any more"
MOST_ROWS, MOST_CATEGORIES, MOST_LETTERS = 100, 8, 600
"""How much is shown of a model's signature: columns, categories of a column, and letters of the example."""
Number = TypeVar("Number", int, float)

NOTHING = ("null", "{}", "[]")
"""Values of arguments that are not worth showing."""


def html(card: Card) -> str:
    """Return the card as one self-contained page."""
    head, *rest = sections(card)
    bodies = [renderer.html_body(head), *(renderer.html_body(each, level=2) for each in rest)]
    return renderer.document(head.title, bodies)


def markdown(card: Card) -> str:
    """Return the card as Markdown. Figures are replaced by their captions."""
    head, *rest = sections(card)
    parts = [renderer.markdown(head), *(renderer.markdown(each, level=2) for each in rest)]
    return "\n".join(parts)


def sections(card: Card) -> list[Report]:
    """Return the card as reports: the model, its results, its data with its checks, its training,
    its code and its cost."""
    return [
        _model(card),
        *_results(card),
        *_approvals(card),
        *_data(card),
        _training(card),
        *_own(card),
        _code(card),
        _cost(card),
    ]


def _model(card: Card) -> Report:
    told: dict[Verdict, list[str]] = {}
    for each in card.results:
        for verdict in each.report.verdicts:
            told.setdefault(verdict, []).append(f"`{each.task}`")
    verdicts = tuple(
        msgspec.structs.replace(verdict, why=f"{verdict.why} ({', '.join(tasks)})") for verdict, tasks in told.items()
    )
    training = card.training
    reused = f", reused in `{card.run}`" if training.task.run != card.run else ""
    pairs: list[tuple[str, Cell]] = [
        ("class", f"`{card.type}`"),
        ("size", bytes_text(card.bytes)),
        ("form", CODECS.get(card.codec, card.codec)),
        ("digest (BLAKE3)", f"`{card.digest}`"),
        *(("registered as", _named(named)) for named in card.names),
        ("made by", f"task `{training.task.task}` of pipeline `{card.pipeline}`"),
        ("passed on by", "" if card.task.startswith(training.task.task) else f"`{card.task}`"),
        ("run", f"`{training.task.run}`{' (forgotten)' * training.task.is_forgotten}{reused}"),
        ("made at", _shown(training.at, lambda at: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC")),
        *(("how to get it", f"`{way}`") for way in card.get),
    ]
    return Report(
        title=f"Model card: {card.title}",
        about="Made from the record of the run alone: nothing here was written by hand.",
        passed=card.passed,
        verdicts=verdicts,
        grids=(_pairs("The model", pairs), *_signature(card)),
        limits=(*card.limits, *_limits(card.results)),
    )


def _signature(card: Card) -> Iterator[Grid]:
    """Yield tables of what clients send, and of what the model takes and gives, as far as that is recorded."""
    if card.sent is not None:
        yield _columns("What clients send for each row", card.sent)
    if card.signature is not None:
        yield _columns("What it takes from its preparation" if card.is_prepared else "What it takes", card.signature)
        if gives := card.signature.gives[:MOST_ROWS]:
            rows = tuple((f"`{each.name}`", f"`{each.type}`") for each in gives)
            yield Grid(title="What it gives for each row", columns=("column", "type"), rows=rows)


def _columns(title: str, signature: Signature) -> Grid:
    """Return a table of the columns that a signature takes, with its example."""
    takes = signature.takes[:MOST_ROWS]
    notes = [f"{len(signature.takes):,} columns in all."] if len(signature.takes) > MOST_ROWS else []
    if signature.example:
        row = msgspec.json.encode(signature.example).decode()
        notes.append(f"A row that is made up, as an example: {cut(row, MOST_LETTERS)}")
    return Grid(
        title=title,
        columns=("column", "type", "categories"),
        rows=tuple((f"`{each.name}`", f"`{each.type}`", _some(each.categories)) for each in takes),
        note=" ".join(notes),
    )


def _some(categories: tuple[str, ...] | None) -> str:
    return "" if categories is None else listed(categories, MOST_CATEGORIES)


def _named(named: Named) -> str:
    aliases = f" ({', '.join(named.aliases)})" if named.aliases else ""
    remarks = [named.note] if named.note else []
    remarks += [
        f"`{alias}` points to it although its report did not pass: {why}" for alias, why in named.forced.items()
    ]
    if named.preparation:
        by = named.preparation if "." in named.preparation else named.preparation[:12]  # a function, or a digest
        remarks.append(f"rows are prepared for it by `{by}`")
    return f"`{named.kind}:{named.name}:{named.version}`{aliases}{': ' if remarks else ''}{'; '.join(remarks)}"


def _limits(judged: Iterable[Judged]) -> Iterator[str]:
    yield from dict.fromkeys(limit for each in judged for limit in each.report.limits)


def _results(card: Card) -> Iterator[Report]:
    """Yield the reports on the model, without their rules and limits, which are at the top of the card."""
    for each in card.results:
        if each.is_bare:
            continue
        if each.task != card.training.task.task or card.is_judged_by_training:
            title = f"Results: {each.report.title}{f' ({each.of})' if each.of else ''}"
            yield msgspec.structs.replace(each.report, title=title, verdicts=(), limits=())
    tasks: dict[str, list[Reading]] = {}
    for number in card.numbers:
        tasks.setdefault(number.task, []).append(number)
    for task, numbers in tasks.items():
        yield Report(
            title=f"Numbers of {task}",
            about=f"Numbers that `{task}` returned or logged. Of logged numbers, the last value is shown.",
            facts=tuple(_fact(each) for each in numbers),
        )


def _own(card: Card) -> Iterator[Report]:
    """Yield what the training itself reports, if other tasks have judged the model."""
    for each in card.results:
        if each.task == card.training.task.task and not card.is_judged_by_training:
            title = f"What the training reports: {each.report.title}"
            yield msgspec.structs.replace(each.report, title=title, verdicts=(), limits=())


def _approvals(card: Card) -> Iterator[Report]:
    """Yield a table of the decisions about tasks that used the model, if such a task waited for an approval."""
    if not card.approvals:
        return
    rows: list[tuple[Cell, ...]] = [
        (
            f"`{each.task}`",
            each.asked,
            " and ".join(each.authors),
            f"{each.decision} by {each.by}" if each.by else each.decision,
            f"{datetime.fromtimestamp(each.at, UTC):%Y-%m-%d %H:%M:%S} UTC",
            each.why,
            "; ".join(f"{name} `{digest[:12]}`" for name, digest in each.of.items()),
            f"`{each.run}`",
        )
        for each in card.approvals
    ]
    columns = ("task", "to be approved by", "started by", "decision", "at", "why", "of", "run")
    yield Report(
        title="Approvals",
        about="Tasks that waited until a person decided. A decision holds only for the code and inputs that the task"
        " had then. The column `of` has the digests of the inputs.",
        grids=(Grid(title="Decisions", columns=columns, rows=tuple(rows)),),
    )


def _fact(number: Reading) -> Fact:
    best = "" if number.best is None or number.best == number.value else f", best {number.best:.6g}"
    name = f"{number.name} (step {number.step}{best})" if number.step is not None else number.name
    return Fact(
        name=name,
        value=number.value,
        low=number.low,
        high=number.high,
        unit=number.unit,
        better=number.better,
        why=number.why,
    )


def _data(card: Card) -> Iterator[Report]:
    if not card.data:
        yield Report(title="Data", about="The model was made from no other task's output.")
        return
    counted = any(each.rows is not None or each.tables or each.erased for each in card.data)
    elsewhere = any(each.run != card.run for each in card.data)
    columns = (
        "task", "from", "what it gave", *(("rows", "columns") if counted else ()), "size",
        *(("done by run",) if elsewhere else ()), "digest",
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (
            each.task,
            _origin(each),
            each.type.rpartition(".")[2],
            *((_rows(each), each.columns) if counted else ()),
            bytes_text(each.bytes),
            *(("" if each.run == card.run else each.run,) if elsewhere else ()),
            each.digest[:12],
        )
        for each in card.data
    ]
    note = "Each task with what it was made from, in the order of the run."
    if elsewhere:
        note += " Where an earlier run did the work, it is named."
    if any(each.erased for each in card.data):
        note += " `erased`: the table was erased after the training, together with a person's data."
    yield Report(
        title="Data, and where it comes from",
        about=f"The model was made from the outputs of {len(card.data)} task{'' if len(card.data) == 1 else 's'}.",
        grids=(Grid(title="Lineage", columns=columns, rows=tuple(rows), note=note), *_arguments(card.data)),
    )
    for check in card.checks:
        yield msgspec.structs.replace(check.report, title=f"Data, {check.task}: {check.report.title}")


def _rows(made: Made) -> Cell:
    """Return the number of rows of an output. If the output has several tables, return the number of rows of each. A
    table that was erased has the word "erased" in place of the number."""
    if made.erased and not made.tables:
        return "erased"
    texts = {name: "not known" if rows is None else f"{rows:,}" for name, rows in made.tables.items()}
    texts.update(dict.fromkeys(made.erased, "erased"))
    return ", ".join(f"{name} {text}" for name, text in texts.items()) or made.rows


def _origin(made: Made) -> str:
    if made.needs:
        return ", ".join(f"`{need}`" for need in made.needs)
    return "outside" if made.kind == "ingest" else "its arguments"


def _arguments(data: Sequence[Made]) -> Iterator[Grid]:
    rows = [(each.task, name, value) for each in data for name, value in each.arguments.items() if value not in NOTHING]
    if rows:
        yield Grid(title="What these tasks were given", columns=("task", "argument", "value"), rows=tuple(rows))


def _training(card: Card) -> Report:
    training = card.training
    made = training.task
    pairs: list[tuple[str, Cell]] = [
        ("stage", f"`{made.function}`"),
        ("took", _shown(made.seconds, seconds_text)),
        ("loading its inputs", _shown(training.load_s, seconds_text)),
        ("saving its output", _shown(training.save_s, seconds_text)),
        ("attempts", _shown(training.attempts, str)),
        ("processor time", _shown(made.cpu_s, seconds_text)),
        ("peak of memory", f"{training.peak_gib:.2f} GiB" if training.peak_gib else ""),
        ("pool", training.pool),
        ("by", training.user),
        ("seeds", ", ".join(f"{name}={value}" for name, value in training.seeds.items()) or "none was given"),
    ]
    environment: list[tuple[str, Cell]] = [
        *training.packages.items(),
        ("Headrace", training.headrace),
        ("platform", training.platform),
        ("lock", f"`{training.lock[:16]}`" if training.lock else UNKNOWN if made.is_forgotten else "none"),
    ]
    parameters = (
        *(("pipeline", *pair) for pair in training.parameters.items()),
        *((made.task, *pair) for pair in made.arguments.items()),
    )
    grids = [_pairs("How it was trained", pairs)]
    if parameters:
        grids.append(Grid(title="Parameters", columns=("of", "name", "value"), rows=tuple(parameters)))
    grids.append(_pairs("Environment", environment))
    return Report(
        title="Training",
        about=f"Task `{made.task}` of run `{made.run}`.",
        grids=tuple(grids),
        drawings=tuple(
            Drawing(title=each.name, svg=picture(each.line, each.name), caption=f"what `{made.task}` logged, by step")
            for each in training.curves
        ),
    )


def _code(card: Card) -> Report:
    code = card.code
    pairs: list[tuple[str, Cell]] = [("bundle (BLAKE3)", f"`{code.bundle}`" if code.bundle else UNKNOWN)]
    if code.against is not None:
        changed = ", ".join(f"`{name}`" for name in code.changed) or "nothing"
        pairs.append((f"changed since run `{code.against}`", changed))
    rows = tuple((f"`{name}`",) for name in code.parts)
    return Report(
        title="Code",
        about="The run pinned its source files as a bundle, named by their digest; a commit isn't part of it.",
        grids=(
            _pairs("The code of the training", pairs),
            *((Grid(title="What it reaches", columns=("function, class or constant",), rows=rows),) if rows else ()),
        ),
        limits=code.notes,
    )


def _cost(card: Card) -> Report:
    return Report(
        title="Cost",
        about="The sum over all tasks that made or judged the model, in the runs in which they really ran.",
        grids=(
            _pairs(
                "What it took",
                [
                    ("seconds of the stages", _shown(card.seconds, seconds_text)),
                    ("processor hours", _shown(card.cpu_s, lambda cpu_s: f"{cpu_s / 3600:.4g}")),
                    ("cost", _shown(card.usd, lambda usd: usd_text(usd) if usd else "$0: the pool has no price")),
                ],
            ),
        ),
    )


def _shown(number: Number | None, text: Callable[[Number], str]) -> str:
    """Return a number as text, or a text saying that it is unknown."""
    return UNKNOWN if number is None else text(number)


def _pairs(title: str, pairs: Iterable[tuple[str, Cell]]) -> Grid:
    """Return names and values as a table, without empty values."""
    return Grid(title=title, columns=("", "value"), rows=tuple((name, value) for name, value in pairs if value != ""))
