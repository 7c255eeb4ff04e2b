"""The stage `evaluate.generation`: it judges texts that a model wrote by comparing them with reference texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.codec.values import File
from headrace.define.stage import ready
from headrace.errors import UsageError
from headrace.models.frames import check_column
from headrace.spec.report import Grid, Report
from headrace.stages.evaluate._gate.promises import COUNTED, Promises
from headrace.stages.evaluate.claims import Cases
from headrace.stages.evaluate.findings import BASELINE, MODEL, PREVIOUS
from headrace.stages.evaluate.judge import Judge, counted
from headrace.stages.evaluate.metrics import textual
from headrace.stages.evaluate.metrics.textual import TextPart
from headrace.stages.evaluate.metrics.wording import Wording, wording
from headrace.stages.evaluate.options import GenerationCall
from headrace.stages.options import refuse, takes

SHOWN, LONGEST = 5, 300
WORDS = "These scores count words and characters that agree with a reference: a good text in other words scores low."


class Generation(NamedTuple):
    """The results of judging texts.

    `passed` is True if the gates hold. `metrics` has the value of each metric. `slices` is a table with a row for each
    slice. `predictions` is a table with the texts and their scores, one text in each row. `report` holds all results,
    and `page` shows them as HTML.
    """

    passed: bool
    metrics: dict[str, float]
    slices: pa.Table
    predictions: pa.Table
    report: Report
    page: File


PROMISES = Promises(textual.METRICS, textual.MAIN, counts=COUNTED, own_baseline=False)


def _check(given: Mapping[str, Any]) -> None:
    refuse(GenerationCall, given)
    PROMISES.check(given)
    _check_written(*(given.get(name, "given") for name in ("texts", "prompt", "generate")))


def _check_written(texts: Any, prompt: Any, generate: Any) -> None:
    if texts is None and (generate is None or prompt is None):
        raise UsageError("there is nothing to judge", hint="give `texts=`, a column; or `generate=` and `prompt=`")


@ready(
    "evaluate.generation",
    version=17,
    on=("numpy", "pandas"),
    kind="evaluate",
    name="generation",
    check=_check,
)
@takes(GenerationCall)
def generation(call: GenerationCall) -> Generation:
    """Judge texts that a model wrote, by comparing them with reference texts.

    Raises:
        UsageError: a column is missing, no row has a reference, `generate` doesn't return a text for each prompt, or a
            gate can't be read or asks for something that isn't measured.
    """
    judge = Judge(call)
    rows = judge.cases(call.references, [])
    judge.take(rows)
    expected = [_listed(each) for each in rows.table[call.references].to_pylist()]
    written = {MODEL: _written(judge.model, rows, call.texts, call.prompt, call.generate)}
    for name, column in ((BASELINE, call.baseline), (PREVIOUS, call.previous)):
        if column is not None:
            written[name] = _column(rows, column)
    compared = {name: [wording(*each) for each in zip(own, expected, strict=True)] for name, own in written.items()}
    mine = compared[MODEL]
    found = judge.findings(
        textual.METRICS,
        textual.MAIN,
        {name: TextPart(each) for name, each in compared.items()},
        lambda rows: TextPart([mine[place] for place in rows], rows=rows),
        {},
    )
    judge.count()
    empty = sum(not each.strip() for each in written[MODEL])
    judge.measure("empty texts", counted("empty texts", empty, better="lower"))
    judged = judge.report(
        found,
        "Texts" if call.texts is None else f"Texts in `{call.texts}`",
        f"Judged on {rows.rows:,} texts by the references in `{call.references}`. BLEU and chrF are from 0 to 100.",
        f"{textual.MAIN} > baseline with 95% confidence" if call.baseline is not None else "",
        grids=[],
        more=_examples(written[MODEL], expected, mine),
        drawings=[],
        limits=[WORDS, *judge.drawn.limits(call.groups)],
    )
    said = {
        "written": pa.array(written[MODEL], pa.string()),
        "exact match": pa.array([bool(each.exact) for each in mine]),
        "token F1": pa.array([each.token_f1 for each in mine]),
        "ROUGE-L": pa.array([each.rouge_l for each in mine]),
    }
    return Generation(**judged._asdict(), predictions=judge.predictions(said))


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
    """Return the texts of the model: those in the column `texts`, or those that `generate` writes now.

    Raises:
        UsageError: `generate` doesn't return a text for each prompt.
    """
    if texts is not None:
        return _column(rows, texts)
    _check_written(texts, prompt, generate)
    assert generate is not None
    assert prompt is not None
    found = list(generate(model, _column(rows, prompt)))
    if len(found) != rows.rows or not all(isinstance(each, str) for each in found):
        raise UsageError(
            f"`generate` gives {len(found):,} answers to {rows.rows:,} prompts",
            hint="it must give one text for each prompt",
        )
    return found


def _examples(written: Sequence[str], expected: Sequence[Sequence[str]], found: Sequence[Wording]) -> Iterator[Grid]:
    """Yield a grid of the texts with the lowest token F1, and a grid of the texts with the highest."""
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
