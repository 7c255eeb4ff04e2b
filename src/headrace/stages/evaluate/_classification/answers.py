"""The predictions of a classifier, its baseline and its previous version for the judged rows, ready to be scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.errors import UsageError, listed
from headrace.models.hints import to_codes
from headrace.models.model import model_of
from headrace.stages.evaluate.claims import (
    Cases,
    Claim,
    aligned,
    claim,
    classes_told,
    constant,
    in_order,
    labels,
    own_decisions,
    scores_of,
    with_target,
)
from headrace.stages.evaluate.findings import BASELINE, MODEL, PREVIOUS
from headrace.stages.evaluate.judge import Judge
from headrace.stages.evaluate.leaks import leaks
from headrace.stages.evaluate.metrics.binary import BinaryPart
from headrace.stages.evaluate.metrics.multiclass import ManyPart
from headrace.stages.evaluate.metrics.part import Part
from headrace.stages.evaluate.options import ClassificationCall
from headrace.stages.tables.columns import rows_at
from headrace.watch.thresholds import Threshold, threshold_of


class Answers(NamedTuple):
    """The predictions of the model, the baseline and the previous version for the judged rows.

    `truth` is an array of class numbers. `classes[n]` is the class with number n. If there is a positive class X,
    `classes` has two entries: the other class (or `not X`, if X is judged against several classes), and X. `known` has
    all classes, in the order of the columns of the model's scores. `claims` has the predictions by name, the model's
    first. `threshold` is None if decisions don't come from a threshold. `rates_of` names the rows in which the
    baseline's class frequencies were counted. It is empty if the user gave a baseline. A model may decide differently
    from what its scores imply: `own` then has the number of such rows under the model's name. If there are two classes
    and scores, rows are in the order of the model's score.
    """

    cases: Cases
    truth: Any
    classes: Sequence[Any]
    known: Sequence[Any]
    claims: Mapping[str, Claim]
    threshold: Threshold | None
    rates_of: str
    own: Mapping[str, int]

    @property
    def mine(self) -> Claim:
        """The model's claim."""
        return self.claims[MODEL]

    @property
    def names(self) -> list[str]:
        """The names of the classes, as texts."""
        return [str(each) for each in self.classes]

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes, or one class against all others."""
        return len(self.classes) == 2

    def whole(self, claim: Claim) -> Part:
        """Return a `Part` of all rows, with the metrics of the predictions in `claim`."""
        return self._part(claim, None, whole=True, ranked=True)

    def part(self, rows: Any, *, ranked: bool = False) -> Part:
        """Return a `Part` of some rows, with the metrics of the model's predictions. If `ranked`, metrics of ranking
        are computed too."""
        return self._part(self.mine, rows, whole=False, ranked=ranked)

    def two_sided(self, rows: Any) -> BinaryPart:
        """Return a `BinaryPart` of some rows, with the metrics of the model's decisions between two classes, without
        metrics of ranking."""
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


def answers_of(judge: Judge, call: ClassificationCall, cases: Cases) -> Answers:
    """Return the predictions of the model, the baseline and the previous version for the rows.

    Raises:
        UsageError: one of the models can't predict the rows, or the positive class is unknown.
    """
    said = scores_of(judge.model, cases, call.scores, call.predict)
    values = labels(cases)
    if said.numbered:
        _check_numbered(values, cases.target)
    classes = classes_told(said, values)
    positive = _positive(classes, call.positive, values)
    mine = claim(MODEL, said, classes, positive)
    if not call.probabilities:
        mine = mine._replace(probable=False)
    told = (
        classes
        if positive is None
        else [f"not {positive}" if len(classes) > 2 else _other(classes, positive), positive]
    )
    truth = _numbers(values, classes, positive)
    cutting = None
    if call.decisions is not None:
        mine = mine._replace(decided=_decisions(cases, call.decisions, classes, positive))
    elif positive is not None and mine.chances is not None and (mine.probable or call.threshold is not None):
        cutting = _cutting(judge, cases, call, classes, positive)
        mine = mine._replace(decided=(mine.chances[:, 1] >= cutting.value).astype(int))
    own: dict[str, int] = {}
    if call.decisions is None and call.scores is None and call.predict is None:
        mine = _by_itself(mine, judge.model, call, cases, classes, positive, own)
        cutting = None if MODEL in own else cutting
    rates, rates_of = _rates(call.train, call.valid, cases, classes, positive, truth)
    claims = {MODEL: mine}
    for name, other in ((BASELINE, judge.baseline), (PREVIOUS, judge.previous)):
        if other is not None:
            claims[name] = _other_claim(name, other, call, cases, classes, positive, cutting, own)
        elif name == BASELINE:
            claims[name] = constant(rates, cases.rows, name)
    answers = Answers(cases, truth, told, classes, claims, cutting, rates_of if judge.baseline is None else "", own)
    return _arranged(answers) if positive is not None and mine.chances is not None else answers


def _check_numbered(values: Any, target: str) -> None:
    """Refuse a target of texts for a LightGBM model.

    A LightGBM model has learned class numbers. It doesn't store which text each number stands for.

    Raises:
        UsageError: the target holds texts. The error names the column and a step that turns texts into numbers.
    """
    texts = sorted({each for each in values.tolist() if isinstance(each, str)})
    if texts:
        raise UsageError(
            f"the target `{target}` holds texts, such as `{texts[0]}`, and the model learned classes that are numbers",
            hint=f"{to_codes(target, texts)}: give each text the number that it had in training",
        )


def _positive(classes: Sequence[Any], asked: Any, values: Any) -> Any | None:
    """Return the positive class, or None if there are more than two classes and `asked` is None.

    If `asked` is None, the positive class of two classes is the last in sorted order, whatever the order of the score
    columns.
    """
    if asked is not None:
        matching = [each for each in classes if each == asked or str(each) == str(asked)]
        if not matching:
            hint = f"the classes are {listed(classes, 20)}"
            raise UsageError(f"`positive={asked!r}` is not a class of the target", hint=hint)
        return matching[0]
    if len(classes) == 1:
        raise UsageError(
            f"all {len(values):,} rows are of class `{classes[0]}`, and no other is known",
            hint="give `positive=`, the class to look for, or rows of both classes",
        )
    return in_order(classes)[-1] if len(classes) == 2 else None


def _other(classes: Sequence[Any], positive: Any) -> Any:
    rest = [each for each in classes if each != positive]
    return rest[0] if len(rest) == 1 else f"not {positive}"


def _numbers(values: Any, classes: Sequence[Any], positive: Any | None) -> Any:
    """Return the class number of each row. Where there is a positive class, its number is 1."""
    if positive is not None:
        return np.array([each == positive for each in values], dtype=bool).astype(np.int64)
    place = {each: number for number, each in enumerate(classes)}
    return np.array([place[each] for each in values], dtype=np.int64)


def _decisions(cases: Cases, name: str, classes: Sequence[Any], positive: Any | None) -> Any:
    values = labels(cases._replace(target=name))
    strange = [each for each in values if each not in classes]
    if strange:
        raise UsageError(
            f"column `{name}` holds `{strange[0]}`, which is not a class of the target",
            hint=f"the classes are {', '.join(f'`{each}`' for each in classes[:20])}",
        )
    return _numbers(values, classes, positive)


def _cutting(judge: Judge, cases: Cases, call: ClassificationCall, classes: Sequence[Any], positive: Any) -> Threshold:
    valid = call.valid
    if valid is None or not isinstance(call.threshold, str):
        return threshold_of(call.threshold, None, None)
    places = with_target(valid, cases.target)
    if not len(places):
        raise UsageError(f"no row of `valid` has a `{cases.target}`", hint="give rows to choose the threshold on")
    held = cases._replace(table=rows_at(valid, places), given=valid.num_rows)
    shared = _shared(held.table, cases.table, judge.key)
    said = scores_of(judge.model, held, call.scores, call.predict)
    values = labels(held)
    own = claim("valid", said, classes, positive)
    assert own.chances is not None
    found = threshold_of(call.threshold, _numbers(values, classes, positive) == 1, own.chances[:, 1])
    if shared <= held.rows // 100:
        return found
    flattered = f"{shared:,} of the {held.rows:,} validation rows are among the rows judged, which flatters the model"
    return found._replace(how=f"{found.how}; {flattered}")


def _shared(valid: pa.Table, judged: pa.Table, key: Sequence[str]) -> int:
    """Return how many rows of `valid` are among the judged rows, by `key` if `valid` has these columns. Without a key,
    the number is 0 if chance explains the equal rows.

    Raises:
        UsageError: all rows of `valid` are among the judged rows.
    """
    leak = whole = leaks(valid, judged, key if key and {*key} <= {*valid.column_names} else None)
    if leak.is_by_key:
        whole = leaks(valid, judged, None)  # rows without a key are the same as no other row by key
    if valid.equals(judged) or any(each.tells and len(each.rows) == valid.num_rows for each in (leak, whole)):
        raise UsageError(
            "all rows of `valid` are among those that are judged",
            hint="a threshold chosen on them would flatter the model: give other rows",
        )
    return len(leak.rows) if leak.tells else 0


def _rates(
    train: pa.Table | None,
    valid: pa.Table | None,
    cases: Cases,
    classes: Sequence[Any],
    positive: Any | None,
    truth: Any,
) -> tuple[Any, str]:
    """Return how frequent each class is, and the name of the rows in which the classes were counted.

    The classes are counted in the first of these that has a target: the training rows, the validation rows, the judged
    rows.
    """
    counted, of = truth, "the rows judged"
    for rows, name in ((valid, "the validation rows"), (train, "the training rows")):
        if rows is not None and cases.target in rows.column_names:
            held = cases._replace(table=rows_at(rows, with_target(rows, cases.target)))
            values = [each for each in labels(held) if each in classes]
            if values:
                counted, of = _numbers(values, classes, positive), name
    count = np.bincount(counted, minlength=len(classes) if positive is None else 2).astype(np.float64)
    return count / max(1.0, count.sum()), of


def _by_itself(
    claim: Claim,
    model: Any,
    call: ClassificationCall,
    cases: Cases,
    classes: Sequence[Any],
    positive: Any | None,
    own: dict[str, int],
) -> Claim:
    """Return `claim` with the model's own decisions. If the user gives a threshold or the model makes no decisions,
    return `claim` unchanged.

    If the model's own decisions differ from those that follow from the scores, add the number of rows that differ to
    `own`, under the claim's name.
    """
    if call.threshold is not None or claim.chances is None or claim.decided is None:
        return claim
    decided = own_decisions(model, cases, classes, positive)
    differing = 0 if decided is None else int((decided != claim.decided).sum())
    if not differing:
        return claim
    own[claim.name] = differing
    return claim._replace(decided=decided)


def _other_claim(
    name: str,
    other: Any,
    call: ClassificationCall,
    cases: Cases,
    classes: Sequence[Any],
    positive: Any | None,
    cutting: Threshold | None,
    own: dict[str, int],
) -> Claim:
    if isinstance(other, str):
        said = scores_of(None, cases, other, None)
    else:
        cases = cases._replace(features=model_of(other).takes(cases.table.column_names) or cases.features)
        said = scores_of(other, cases, None, None)
    if positive is None:
        said = aligned(name, said, classes)
    elif positive not in (said.classes or classes):
        raise UsageError(f"`{name}` doesn't know the class `{positive}`", hint="compare models of the same classes")
    known = classes if positive is None else said.classes or classes
    made = claim(name, said, known, positive)
    if made.chances is not None and positive is not None:
        decided = made.chances[:, 1] >= (cutting.value if cutting is not None else 0.5 if made.probable else 0.0)
        made = made._replace(decided=decided.astype(int))
    return made if isinstance(other, str) else _by_itself(made, other, call, cases, known, positive, own)


def _arranged(answers: Answers) -> Answers:
    """Return the answers with the rows in the order of the model's score."""
    assert answers.mine.chances is not None
    order = np.argsort(answers.mine.chances[:, 1], kind="stable")
    claims = {
        name: each._replace(
            chances=None if each.chances is None else each.chances[order],
            decided=None if each.decided is None else each.decided[order],
        )
        for name, each in answers.claims.items()
    }
    rows = answers.cases._replace(table=rows_at(answers.cases.table, order), places=answers.cases.places[order])
    return answers._replace(cases=rows, truth=answers.truth[order], claims=claims)
