"""`evaluate.generation`: texts that a model wrote, judged by references."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.codec.values import File
from headrace.define.stage import ready
from headrace.errors import UsageError
from headrace.spec.report import Grid, Report
from headrace.stages.evaluate._gate.promises import COUNTED, Promises, check_numbers
from headrace.stages.evaluate.claims import Cases, cases
from headrace.stages.evaluate.findings import BASELINE, MODEL, PREVIOUS, Findings
from headrace.stages.evaluate.hearing import codes
from headrace.stages.evaluate.judgement import Closing, counted, unwrapped
from headrace.stages.evaluate.leaks import leaks
from headrace.stages.evaluate.metrics import textual
from headrace.stages.evaluate.metrics.resamples import Resamples
from headrace.stages.evaluate.metrics.textual import TextPart
from headrace.stages.evaluate.metrics.wording import Wording, wording
from headrace.stages.evaluate.predictions import check_column
from headrace.stages.evaluate.slices import Slice
from headrace.stages.evaluate.slices import slices as slices_of
from headrace.stages.tables.columns import listed

SHOWN, LONGEST = 5, 300


class Generation(NamedTuple):
    """What was found of texts.

    `passed` says whether the gates hold. `metrics` has the value of each metric. `slices` has a row for each slice,
    `predictions` one for each text, with its scores. `report` has it all, `page` shows it.
    """

    passed: bool
    metrics: dict[str, float]
    slices: pa.Table
    predictions: pa.Table
    report: Report
    page: File


PROMISES = Promises(textual.METRICS, textual.MAIN, counts=COUNTED, own_baseline=False)


def _check(given: Mapping[str, Any]) -> None:
    PROMISES.check(given)
    _check_written(*(given.get(name, "given") for name in ("texts", "prompt", "generate")))


def _check_written(texts: Any, prompt: Any, generate: Any) -> None:
    if texts is None and (generate is None or prompt is None):
        raise UsageError("there is nothing to judge", hint="give `texts=`, a column; or `generate=` and `prompt=`")


@ready(
    "evaluate.generation",
    version=12,
    on=("numpy", "pandas"),
    kind="evaluate",
    name="generation",
    check=_check,
)
def generation(
    model: Any,
    table: pa.Table,
    *,
    references: str,
    texts: str | None = None,
    prompt: str | None = None,
    generate: Any = None,
    train: pa.Table | None = None,
    key: str | Sequence[str] | None = None,
    baseline: str | None = None,
    previous: str | None = None,
    slices: str | Sequence[str] = (),
    groups: str | None = None,
    gates: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    min_group: int = 30,
    seed: int = 0,
) -> Generation:
    """Judge texts by references.

    Args:
        model: what `generate` takes; None where `texts` are given.
        table: the rows to judge by. Those without a reference are left out, and counted.
        references: the column with what was expected: a text, or a list of texts of which the best counts.
        texts: the column with what the model wrote.
        prompt: the column that `generate` is given.
        generate: a function of the model and a list of prompts that gives a list of texts.
        train: the rows that the model learned from: those judged that stand among them are counted and named.
        key: the columns that tell a row for that; all columns that both tables have.
        baseline: a column with texts to stand beside, such as the base model's. Without it there is none.
        previous: a column with the texts of the model's previous version.
        slices: columns to look at the texts by, each and in pairs.
        groups: a column of what is drawn as one in a resample, such as a document.
        gates: what must hold, such as `"token F1 >= 0.5 and chrF > baseline with 95% confidence"`. Not told, token F1
            must be surely above the baseline's, if there is one. `""` asks nothing.
        confidence: that of all intervals.
        resamples: how many bootstrap resamples.
        min_group: how many rows a slice needs to be told of.
        seed: what resamples are drawn by.

    Raises:
        UsageError: a column isn't there, no row has a reference, the function gives no text for each prompt, the gate
            can't be read or asks for what isn't measured.
    """
    closing = Closing(gates, confidence)
    slices = listed(slices)
    key = listed(key) or None
    check_numbers(confidence, resamples, min_group, seed)
    model = unwrapped(model)
    rows = cases(None, table, references, [], [])
    expected = [_listed(each) for each in rows.table[references].to_pylist()]
    written = {MODEL: _written(model, rows, texts, prompt, generate)}
    for name, column in ((BASELINE, baseline), (PREVIOUS, previous)):
        if column is not None:
            written[name] = _column(rows, column)
    compared = {name: [wording(*each) for each in zip(own, expected, strict=True)] for name, own in written.items()}
    drawn = Resamples(rows.rows, count=resamples, seed=seed, groups=None if groups is None else codes(rows, groups))
    found = _measured(compared, slices_of(rows.table, slices), drawn, confidence, min_group)
    closing.count(found.known, rows, None if train is None else leaks(rows.table, train, key))
    empty = sum(not each.strip() for each in written[MODEL])
    closing.measure(found.known, "empty texts", counted("empty texts", empty, better="lower"))
    sliced = found.table()
    closing.grids = [*([found.beside()] if len(written) > 1 else []), *found.grids(sliced)]
    closing.grids += list(_examples(written[MODEL], expected, compared[MODEL]))
    closing.drawings = list(found.forest(sliced))
    closing.limits = list(_limits(drawn, groups))
    default = f"{textual.MAIN} > baseline with 95% confidence" if baseline is not None else ""
    about = f"Judged on {rows.rows:,} texts by the references in `{references}`. BLEU and chrF are from 0 to 100."
    made = closing.report(found, "Texts" if texts is None else f"Texts in `{texts}`", about, default)
    extra = [*slices, *([groups] if groups else [])]
    predictions = _predictions(rows, written[MODEL], compared[MODEL], references, extra)
    return Generation(made.passed, made.metrics, sliced, predictions, made.report, made.page)


def _measured(
    compared: Mapping[str, Sequence[Wording]], cuts: Sequence[Slice], drawn: Resamples, level: float, least: int
) -> Findings:
    """Take all numbers from one set of resamples: the whole and the slices."""
    mine = compared[MODEL]
    return Findings(
        textual.METRICS,
        textual.MAIN,
        {name: TextPart(each) for name, each in compared.items()},
        cuts,
        [TextPart([mine[place] for place in each.rows], rows=each.rows) for each in cuts],
        drawn,
        level=level,
        least=least,
        more={},
    )


def _listed(given: Any) -> list[str]:
    several = given if isinstance(given, list) else []
    found = [given] if isinstance(given, str) else [each for each in several if isinstance(each, str)]
    if not found:
        raise UsageError(f"a reference is {given!r}", hint="give a text, or a list of texts, in each row")
    return found


def _column(rows: Cases, name: str) -> list[str]:
    check_column(rows.table, name)
    return [
        each if isinstance(each, str) else "" if each is None else str(each) for each in rows.table[name].to_pylist()
    ]


def _written(
    model: Any, rows: Cases, texts: str | None, prompt: str | None, generate: Callable[..., Any] | None
) -> list[str]:
    """Read what the model wrote, or let it write.

    Raises:
        UsageError: it gives no text for each prompt.
    """
    if texts is not None:
        return _column(rows, texts)
    _check_written(texts, prompt, generate)
    assert generate is not None
    assert prompt is not None
    found = list(generate(model, _column(rows, prompt)))
    if len(found) != rows.rows or not all(isinstance(each, str) for each in found):
        raise UsageError(
            f"`generate` gives {len(found):,} answers to {rows.rows:,} prompts", hint="it must give a text for each"
        )
    return found


def _examples(written: Sequence[str], expected: Sequence[Sequence[str]], found: Sequence[Wording]) -> Iterator[Grid]:
    """Show the worst and the best."""
    order = np.argsort([each.token_f1 for each in found], kind="stable")
    for title, places in (("The worst texts", order[:SHOWN]), ("The best texts", order[::-1][:SHOWN])):
        yield Grid(
            title=title,
            columns=("row", "written", "expected", "token F1"),
            rows=tuple(
                (f"{place:,}", _short(written[place]), _short(expected[place][0]), round(found[place].token_f1, 3))
                for place in places
            ),
        )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _limits(drawn: Resamples, groups: str | None) -> Iterator[str]:
    yield "These scores count words and characters that agree with a reference: a good text in other words scores low."
    yield from drawn.limits(groups)


def _predictions(
    rows: Cases, written: Sequence[str], found: Sequence[Wording], references: str, extra: Sequence[str]
) -> pa.Table:
    columns: dict[str, Any] = {"row": pa.array(rows.places, pa.int64()), references: rows.table[references]}
    columns |= {name: rows.table[name] for name in extra if name not in columns}
    columns |= {
        "written": pa.array(written, pa.string()),
        "exact match": pa.array([bool(each.exact) for each in found]),
        "token F1": pa.array([each.token_f1 for each in found]),
        "ROUGE-L": pa.array([each.rouge_l for each in found]),
    }
    return pa.table(columns)
