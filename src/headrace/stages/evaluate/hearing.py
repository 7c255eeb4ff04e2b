"""A hearing: what a classifier and those it stands beside say of the rows that are judged, ready to be scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.codec.classes import is_a
from headrace.errors import UsageError, listed
from headrace.stages.columns import rows_at, to_codes
from headrace.stages.evaluate.binary import BinaryPart
from headrace.stages.evaluate.claims import (
    Cases,
    Claim,
    aligned,
    claim,
    classes_told,
    constant,
    in_order,
    labels,
    scores_of,
    with_target,
)
from headrace.stages.evaluate.findings import BASELINE, MODEL, PREVIOUS
from headrace.stages.evaluate.leaks import leaks
from headrace.stages.evaluate.multiclass import ManyPart
from headrace.stages.evaluate.part import Part
from headrace.stages.evaluate.predicting import BOOSTER, check_values, column, features_of
from headrace.stages.evaluate.thresholds import Threshold, threshold_of


class Hearing(NamedTuple):
    """What was said.

    `truth` is an array of class numbers, `classes` says what they stand for; of two, `positive` is the second. `known`
    are all classes, in the order of the model's own scores. `claims` has the model's first. Rows are in the order of
    the model's score, where there are two classes.
    """

    cases: Cases
    truth: Any
    classes: Sequence[Any]
    known: Sequence[Any]
    claims: Mapping[str, Claim]
    threshold: Threshold | None
    rates_of: str

    @property
    def mine(self) -> Claim:
        """What the model claims."""
        return self.claims[MODEL]

    @property
    def names(self) -> list[str]:
        """What the classes are called."""
        return [str(each) for each in self.classes]

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes, or one against the rest."""
        return len(self.classes) == 2

    def whole(self, claim: Claim) -> Part:
        """Score a claim on all rows."""
        return self._part(claim, None, whole=True, ranked=True)

    def part(self, rows: Any, *, ranked: bool = False) -> Part:
        """Score the model on some rows."""
        return self._part(self.mine, rows, whole=False, ranked=ranked)

    def two_sided(self, rows: Any) -> BinaryPart:
        """Score the model's decisions between two classes on some rows, without looking at how it ranks them."""
        return self._binary(self.mine, rows, whole=False, ranked=False)

    def _part(self, claim: Claim, rows: Any, *, whole: bool, ranked: bool) -> Part:
        if self.is_binary:
            return self._binary(claim, rows, whole=whole, ranked=ranked)
        some = slice(None) if rows is None else rows
        chances = None if claim.chances is None else claim.chances[some]
        decided = None if claim.decided is None else claim.decided[some]
        return ManyPart(
            self.truth[some], chances, decided, len(self.classes), rows=rows, probable=claim.probable, whole=whole
        )

    def _binary(self, claim: Claim, rows: Any, *, whole: bool, ranked: bool) -> BinaryPart:
        some = slice(None) if rows is None else rows
        truth, scored = self.truth[some] == 1, claim.chances is not None
        return BinaryPart(
            truth,
            np.zeros(len(truth)) if claim.chances is None else claim.chances[some, 1],
            None if claim.decided is None else claim.decided[some] == 1,
            rows=rows,
            probable=claim.probable and scored,
            ranked=ranked and scored,
            whole=whole,
        )


class Asked(NamedTuple):
    """How a model is asked: the arguments of the stage that say so."""

    positive: Any = None
    scores: str | Mapping[Any, str] | None = None
    decisions: str | None = None
    predict: Callable[..., Any] | None = None
    threshold: str | float | None = None
    probabilities: bool = True


def hear(
    model: Any,
    cases: Cases,
    asked: Asked,
    *,
    valid: pa.Table | None,
    train: pa.Table | None,
    baseline: Any,
    previous: Any,
) -> Hearing:
    """Hear the model, the baseline and the previous version.

    Raises:
        UsageError: one can't speak about the rows, or it can't be told which class is looked for.
    """
    said = scores_of(model, cases, asked.scores, asked.predict)
    values = labels(cases)
    if is_a(model, BOOSTER) and asked.scores is None and asked.predict is None:
        _check_numbered(values, cases.target)
    classes = classes_told(said, values)
    positive = _positive(classes, asked.positive, values)
    mine = claim(MODEL, said, classes, positive)
    if not asked.probabilities:
        mine = mine._replace(probable=False)
    told = (
        classes
        if positive is None
        else [f"not {positive}" if len(classes) > 2 else _other(classes, positive), positive]
    )
    truth = _numbers(values, classes, positive)
    cutting = None
    if asked.decisions is not None:
        mine = mine._replace(decided=_decisions(cases, asked.decisions, classes, positive))
    elif positive is not None and mine.chances is not None and (mine.probable or asked.threshold is not None):
        cutting = _cutting(model, cases, asked, valid, classes, positive)
        mine = mine._replace(decided=(mine.chances[:, 1] >= cutting.value).astype(int))
    rates, rates_of = _rates(train, valid, cases, classes, positive, truth)
    claims = {MODEL: mine}
    for name, other in ((BASELINE, baseline), (PREVIOUS, previous)):
        if other is not None:
            claims[name] = _other_claim(name, other, cases, classes, positive, cutting)
        elif name == BASELINE:
            claims[name] = constant(rates, cases.rows, name)
    heard = Hearing(cases, truth, told, classes, claims, cutting, rates_of if baseline is None else "")
    return _arranged(heard) if positive is not None and mine.chances is not None else heard


def _check_numbered(values: Any, target: str) -> None:
    """Refuse texts as classes of a model of LightGBM: it learned numbers, and nothing tells which text is which.

    Raises:
        UsageError: it names the column, and a step that numbers them.
    """
    texts = sorted({each for each in values.tolist() if isinstance(each, str)})
    if texts:
        raise UsageError(
            f"the target `{target}` holds texts, such as `{texts[0]}`, and the model learned classes that are numbers",
            hint=f"{to_codes(target, texts)} as they were for training",
        )


def _positive(classes: Sequence[Any], asked: Any, values: Any) -> Any | None:
    """Give the class that is looked for; None where there are more than two, and none is told.

    Of two it is the last in their order, whatever order their scores were named in.
    """
    if asked is not None:
        matching = [each for each in classes if each == asked or str(each) == str(asked)]
        if not matching:
            hint = f"they are {listed(classes, 20)}"
            raise UsageError(f"`positive={asked!r}` is no class of the target", hint=hint)
        return matching[0]
    if len(classes) == 1:
        raise UsageError(
            f"all {len(values):,} rows are of class `{classes[0]}`, and no other is known",
            hint="give `positive=`, the class that is looked for, or rows of both",
        )
    return in_order(classes)[-1] if len(classes) == 2 else None


def _other(classes: Sequence[Any], positive: Any) -> Any:
    rest = [each for each in classes if each != positive]
    return rest[0] if len(rest) == 1 else f"not {positive}"


def _numbers(values: Any, classes: Sequence[Any], positive: Any | None) -> Any:
    """Give the class number of each row; 1 is the positive class where there is one."""
    if positive is not None:
        return np.array([each == positive for each in values], dtype=bool).astype(np.int64)
    place = {each: number for number, each in enumerate(classes)}
    return np.array([place[each] for each in values], dtype=np.int64)


def _decisions(cases: Cases, name: str, classes: Sequence[Any], positive: Any | None) -> Any:
    values = labels(cases._replace(target=name))
    strange = [each for each in values if each not in classes]
    if strange:
        raise UsageError(
            f"column `{name}` decides for `{strange[0]}`, which is no class of the target",
            hint=f"they are {', '.join(f'`{each}`' for each in classes[:20])}",
        )
    return _numbers(values, classes, positive)


def _cutting(
    model: Any, cases: Cases, asked: Asked, valid: pa.Table | None, classes: Sequence[Any], positive: Any
) -> Threshold:
    if valid is None or not isinstance(asked.threshold, str):
        return threshold_of(asked.threshold, None, None)
    leak = leaks(valid, cases.table, None)
    # rows of a few categories all have equals: then only the same table is taken for the same rows
    is_same = leak.tells or valid.equals(cases.table)
    if valid.num_rows and len(leak.rows) == valid.num_rows and is_same:
        raise UsageError(
            "all rows of `valid` are among those that are judged",
            hint="a threshold chosen there would flatter the model: give others",
        )
    places = with_target(valid, cases.target)
    if not len(places):
        raise UsageError(f"no row of `valid` has a `{cases.target}`", hint="give rows to choose the threshold on")
    held = cases._replace(table=rows_at(valid, places), given=valid.num_rows)
    said = scores_of(model, held, asked.scores, asked.predict)
    values = labels(held)
    own = claim("valid", said, classes, positive)
    assert own.chances is not None
    found = threshold_of(asked.threshold, _numbers(values, classes, positive) == 1, own.chances[:, 1])
    if not leak.tells or len(leak.rows) <= valid.num_rows // 100:
        return found
    flattered = f"{len(leak.rows):,} of the {valid.num_rows:,} rows stand among those judged, which flatters the model"
    return found._replace(how=f"{found.how}; {flattered}")


def _rates(
    train: pa.Table | None,
    valid: pa.Table | None,
    cases: Cases,
    classes: Sequence[Any],
    positive: Any | None,
    truth: Any,
) -> tuple[Any, str]:
    """Give how frequent each class is, and in which rows that was counted: those judged, if no others have a target."""
    counted, of = truth, "the rows judged"
    for rows, name in ((valid, "the validation rows"), (train, "the training rows")):
        if rows is not None and cases.target in rows.column_names:
            held = cases._replace(table=rows_at(rows, with_target(rows, cases.target)))
            values = [each for each in labels(held) if each in classes]
            if values:
                counted, of = _numbers(values, classes, positive), name
    count = np.bincount(counted, minlength=len(classes) if positive is None else 2).astype(np.float64)
    return count / max(1.0, count.sum()), of


def _other_claim(
    name: str, other: Any, cases: Cases, classes: Sequence[Any], positive: Any | None, cutting: Threshold | None
) -> Claim:
    if isinstance(other, str):
        said = scores_of(None, cases, other, None)
    else:
        own = features_of(other, cases.table)
        said = scores_of(other, cases._replace(features=own or cases.features), None, None)
    if positive is None:
        said = aligned(name, said, classes)
    elif positive not in (said.classes or classes):
        raise UsageError(f"`{name}` doesn't know the class `{positive}`", hint="compare models of the same classes")
    made = claim(name, said, classes if positive is None else said.classes or classes, positive)
    if made.chances is None or positive is None:
        return made
    decided = made.chances[:, 1] >= (cutting.value if cutting is not None else 0.5 if made.probable else 0.0)
    return made._replace(decided=decided.astype(int))


def _arranged(heard: Hearing) -> Hearing:
    """Put the rows in the order of the model's score."""
    assert heard.mine.chances is not None
    order = np.argsort(heard.mine.chances[:, 1], kind="stable")
    claims = {
        name: each._replace(
            chances=None if each.chances is None else each.chances[order],
            decided=None if each.decided is None else each.decided[order],
        )
        for name, each in heard.claims.items()
    }
    rows = heard.cases._replace(table=rows_at(heard.cases.table, order), places=heard.cases.places[order])
    return heard._replace(cases=rows, truth=heard.truth[order], claims=claims)


def codes(cases: Cases, name: str) -> Any:
    """Number the groups of a column, for drawing them whole."""
    check_values(cases.table, name)
    values = column(cases.table, name)
    missing = cases.table[name].null_count
    if missing:
        raise UsageError(
            f"{missing:,} rows have no `{name}`, by which they are drawn", hint="fill it in, or draw by another"
        )
    _, found = np.unique(values.astype(str) if values.dtype.kind == "O" else values, return_inverse=True)
    if found.max(initial=0) == 0:
        raise UsageError(f"all rows have the same `{name}`", hint="draw by a column that has many values")
    return found
