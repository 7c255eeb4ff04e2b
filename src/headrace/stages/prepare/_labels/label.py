"""The stage `prepare.label`: it labels a table with labelling functions and a label model, and reports on the functions
and the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.define.stage import ready
from headrace.errors import DefinitionError, UsageError
from headrace.spec.report import Cell, Fact, Grid, Report, Verdict
from headrace.stages.prepare._labels.consensus import (
    TRUST,
    Codes,
    Consensus,
    Floats,
    agreement,
    combine,
    majority,
    right,
)
from headrace.stages.prepare._labels.shares import Share, mean_with_interval, share
from headrace.stages.prepare._labels.votes import Label, Votes, ask, checked, no_functions
from headrace.stages.tables.columns import described, distinct

DEPENDENT = 0.2
"""The report names two functions as dependent if their `agreement` (in `consensus`) is above this."""


class Labelled(NamedTuple):
    """A table with labels from labelling functions.

    `table` is the given table with four more columns. For `into="label"` they are:

    - `label`: the most probable label, null where every function abstained;
    - `label_probability`: the probability of that label;
    - `label_probabilities`: the probabilities of all classes, in the order of `classes` in the field's metadata;
    - `label_disagreement`: the share of a row's votes that weren't for the label with the most votes.

    `votes` has a column for each function, null where it abstained. `report` describes each function and the label
    model.
    """

    table: pa.Table
    votes: pa.Table
    report: Report


def _check_told(given: Mapping[str, Any]) -> None:
    """Refuse `functions`, `classes` or `balance` if they can't be right, as far as they are known when the pipeline is
    traced.

    Raises:
        DefinitionError: there are no functions, or `classes` or `balance` isn't valid.
    """
    if not given.get("functions", True):
        raise no_functions()
    if given.get("classes") is not None:
        _shares(given.get("balance"), checked(given["classes"]))


@ready("prepare.label", version=3, on=("numpy", "pyarrow"), kind="prepare", check=_check_told)
def label(
    table: pa.Table,
    functions: list[Callable[..., Any]],
    *,
    into: str = "label",
    classes: list[Any] | None = None,
    balance: list[float] | None = None,
    known: str = "",
) -> Labelled:
    """Label a table by labelling functions: the more a function agrees with the others, the more its votes count.

    A labelling function takes a row (a dictionary) and returns a label, or None to abstain. If its parameter is
    annotated `pa.RecordBatch`, it takes a batch of rows and returns a label or None for each row. Labels are texts,
    whole numbers or booleans.

    `classes` are the possible labels; by default, all labels that the functions return. `balance` has the share of each
    class in reality, in the same order; by default, the shares are equal. `known` names a column of true labels, null
    where the true label is unknown. True labels don't change the result. They are only for the report, which compares
    them with the new labels and with the plain majority vote.

    Raises:
        DefinitionError: there are no functions, or `into`, `balance` or `known` isn't valid.
        UsageError: a function raised, or returned something that isn't a label (the error names the row); the table is
            empty; or no function voted on any row.
    """
    _check(table, into, known)
    votes = ask(table, functions, classes)
    if not (votes.codes >= 0).any():
        raise UsageError(
            f"all {len(functions)} labelling functions abstained on all {table.num_rows} rows",
            hint="look at some rows, and at what the functions look for: names of columns, upper and lower case",
        )
    consensus = combine(votes.codes, len(votes.classes), _shares(balance, votes.classes))
    truth = _truth(table, known, votes.classes) if known else None
    return Labelled(
        table=_with_labels(table, into, votes, consensus),
        votes=_as_table(votes),
        report=_report(votes, consensus, truth, into, known),
    )


def _check(table: pa.Table, into: str, known: str) -> None:
    if table.num_rows == 0:
        raise UsageError("there is nothing to label: the table has no rows", hint="check the stage that makes it")
    distinct(table)
    taken = [name for name in _columns(into) if name in table.column_names]
    if taken:
        raise DefinitionError(f"the table has a column `{taken[0]}` already", hint="name the new columns by `into=`")
    if known and known not in table.column_names:
        raise DefinitionError(f"the table has no column `{known}`", hint=f"it has {', '.join(table.column_names)}")


def _shares(balance: Sequence[float] | None, classes: tuple[Label, ...]) -> Floats | None:
    if balance is None:
        return None
    shares = np.asarray(balance, dtype=float)
    if shares.shape != (len(classes),) or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise DefinitionError(
            f"`balance` is {list(balance)!r}, and the classes are {list(classes)!r}",
            hint="give a share above 0 for each class, in that order, with a sum of 1",
        )
    return shares


def _columns(into: str) -> tuple[str, str, str, str]:
    return into, f"{into}_probability", f"{into}_probabilities", f"{into}_disagreement"


def _with_labels(table: pa.Table, into: str, votes: Votes, consensus: Consensus) -> pa.Table:
    covered = (votes.codes >= 0).any(axis=1)
    best = consensus.probabilities.argmax(axis=1)
    counts = np.stack([(votes.codes == each).sum(axis=1) for each in range(len(votes.classes))], axis=1)
    disagreement = 1 - counts.max(axis=1) / np.maximum(counts.sum(axis=1), 1)
    probabilities = pa.FixedSizeListArray.from_arrays(
        pa.array(consensus.probabilities.ravel()), consensus.probabilities.shape[1]
    )
    arrays = (
        _labels(np.where(covered, best, -1), votes.classes),
        pa.array(consensus.probabilities.max(axis=1), mask=~covered),
        probabilities,
        pa.array(disagreement, mask=~covered),
    )
    told = {"classes": json.dumps(list(votes.classes), ensure_ascii=False)}
    out = table
    for name, array in zip(_columns(into), arrays, strict=True):
        metadata = told if array is probabilities else None
        out = out.append_column(pa.field(name, array.type, metadata=metadata), array)
    return described(out, table)


def _labels(codes: np.ndarray[Any, Any], classes: tuple[Label, ...]) -> pa.Array:
    """Return codes as labels, with null for -1."""
    return pa.array(list(classes)).take(pa.array(codes.astype(np.int64), mask=codes < 0))


def _as_table(votes: Votes) -> pa.Table:
    arrays = [_labels(votes.codes[:, place], votes.classes) for place in range(len(votes.names))]
    return pa.table(arrays, names=list(votes.names))


def _truth(table: pa.Table, known: str, classes: tuple[Label, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return known labels as codes, with -1 where they are unknown."""
    place_of = {each: code for code, each in enumerate(classes)}
    truth = np.full(table.num_rows, -1, dtype=np.int64)
    for row, each in enumerate(table[known].to_pylist()):
        if each is None:
            continue
        if isinstance(each, list | dict) or each not in place_of:
            raise UsageError(
                f"column `{known}` has {each!r} in row {row}, and the functions know only {list(classes)!r}",
                hint="say in `classes=` which labels there are, as the column writes them",
            )
        truth[row] = place_of[each]
    return truth


def _report(
    votes: Votes, consensus: Consensus, truth: np.ndarray[Any, np.dtype[np.int64]] | None, into: str, known: str
) -> Report:
    codes = votes.codes
    covered = (codes >= 0).any(axis=1)
    cast = (codes >= 0).sum(axis=1)
    conflict = (codes.max(axis=1) != np.where(codes < 0, 127, codes).min(axis=1)) & covered
    facts = [
        Fact(name="rows", value=float(len(codes)), unit="rows"),
        Fact(name="coverage", value=float(covered.mean()), better="higher"),
        Fact(name="overlap", value=float((cast > 1).mean())),
        Fact(name="conflict", value=float(conflict.mean())),
    ]
    for code, each in enumerate(votes.classes):
        labelled = consensus.probabilities.argmax(axis=1)[covered] == code
        facts.append(Fact(name=f"share labelled {each}", value=float(labelled.mean())))
    verdict = None
    if truth is not None:
        judged, verdict = _judged(codes, consensus, truth, len(votes.classes))
        facts += judged
    limits = [*_dependent(votes, consensus), *_alone(votes), *_unused(votes, consensus)]
    if len(votes.classes) == 1:
        limits.append(f"All votes are for the label {votes.classes[0]!r}: a model can't learn from that.")
    if not covered.all():
        limits.append(f"No function voted on {int((~covered).sum())} of {len(codes)} rows; their `{into}` is null.")
    if truth is None:
        limits.append("No true labels were given (`known=`), so nothing here says how often a label is right.")
    return Report(
        title="Labels from labelling functions",
        about=f"{len(votes.names)} functions voted on {len(codes)} rows"
        + (f"; {int((truth >= 0).sum())} of them have a true label in `{known}`." if truth is not None else "."),
        passed=verdict.holds if verdict is not None else None,
        facts=tuple(facts),
        verdicts=(verdict,) if verdict is not None else (),
        grids=(_functions(votes, consensus, truth),),
        limits=tuple(limits),
    )


def _judged(
    codes: Codes, consensus: Consensus, truth: np.ndarray[Any, np.dtype[np.int64]], classes: int
) -> tuple[list[Fact], Verdict]:
    """Return the accuracy of the label model and of the majority vote, with a verdict on which is better.

    Only rows with a true label and at least one vote are counted.
    """
    chosen = (truth >= 0) & (codes >= 0).any(axis=1)
    rule = "the label model is right more often than the majority vote (95% interval)"
    if not chosen.any():
        why = "no row with a vote has a true label"
        return [Fact(name="accuracy", value=None, why=why)], Verdict(rule=rule, holds=None, why=why)
    model = right(consensus.probabilities[chosen], truth[chosen])
    plain = right(majority(codes[chosen], classes), truth[chosen])
    found = [
        _fact("accuracy of the label model", mean_with_interval(model)),
        _fact("accuracy of the majority vote", mean_with_interval(plain)),
    ]
    difference = mean_with_interval(model - plain)
    found.append(_fact("label model minus majority vote", difference))
    likely = np.clip(consensus.probabilities[chosen, truth[chosen]], 1e-6, 1)
    found.append(Fact(name="log loss of the label model", value=float(-np.log(likely).mean()), better="lower"))
    holds = True if difference.low > 0 else False if difference.high < 0 else None
    why = (
        f"on {int(chosen.sum())} rows with a vote and a true label the difference is {difference.value:+.4f} "
        f"[{difference.low:+.4f}, {difference.high:+.4f}]; a tie of votes counts as half right"
    )
    return found, Verdict(rule=rule, holds=holds, why=why)


def _fact(name: str, found: Share) -> Fact:
    return Fact(name=name, value=found.value, low=found.low, high=found.high, better="higher")


def _functions(votes: Votes, consensus: Consensus, truth: np.ndarray[Any, np.dtype[np.int64]] | None) -> Grid:
    """Return a grid with a line for each function.

    A line says how often the function votes, how often other functions vote on the same rows, how often these other
    functions vote differently, and how often the function is right.
    """
    voted = votes.codes >= 0
    borne = consensus.borne_out(votes.codes)
    rows: list[tuple[Cell, ...]] = []
    for place, name in enumerate(votes.names):
        mine = votes.codes[:, place]
        others = np.delete(votes.codes, place, axis=1)
        other = (others >= 0).any(axis=1)
        against = ((others >= 0) & (others != mine[:, None])).any(axis=1)
        labels = ", ".join(str(votes.classes[code]) for code in np.unique(mine[mine >= 0]))
        row: list[Cell] = [
            name,
            labels,
            round(float(voted[:, place].mean()), 4),
            round(float((voted[:, place] & other).mean()), 4),
            round(float((voted[:, place] & against).mean()), 4),
            None if np.isnan(borne[place]) else round(float(borne[place]), 4),
        ]
        if truth is not None:
            chosen = voted[:, place] & (truth >= 0)
            found = share(int((mine[chosen] == truth[chosen]).sum()), int(chosen.sum()))
            row += [None] * 3 if found is None else [round(each, 4) for each in (found.value, found.low, found.high)]
            row.append(int(chosen.sum()))
        rows.append(tuple(row))
    columns: tuple[str, ...] = ("function", "labels", "coverage", "overlap", "conflict", "borne out")
    note = (
        "Coverage is the share of all rows on which the function voted, overlap the share on which another function "
        "voted too, and conflict the share on which another one voted differently. Borne out is the mean probability "
        "that the label model gives to the function's votes; votes are right more often than that."
    )
    if truth is not None:
        columns += ("accuracy", "low", "high", "judged on")
        note += " `low` and `high` are the ends of Wilson's 95% interval."
    return Grid(title="Labelling functions", columns=columns, rows=tuple(rows), note=note)


def _dependent(votes: Votes, consensus: Consensus) -> list[str]:
    """Return at most five sentences. They name the pairs of functions that depend on each other most."""
    together = agreement(votes.codes, consensus.probabilities)
    pairs = sorted(combinations(range(len(votes.names)), 2), key=lambda pair: -together[pair])
    return [
        f"`{votes.names[one]}` and `{votes.names[two]}` agree on {together[one, two]:.0%} of what the classes don't "
        f"explain: they look at the same things, "
        + ("and share one vote." if consensus.copies[one, two] else "so together they count a little too much.")
        for one, two in pairs[:5]
        if together[one, two] > DEPENDENT
    ]


def _alone(votes: Votes) -> Iterator[str]:
    """Yield a sentence for each class that only one function votes for. Yield nothing if there is only one class."""
    for code, each in enumerate(votes.classes):
        voters = np.flatnonzero((votes.codes == code).any(axis=0))
        if len(voters) == 1 and len(votes.classes) > 1:
            yield (
                f"Only `{votes.names[voters[0]]}` votes for {each!r}, so no other function can confirm these votes."
                f" They count as if at least {TRUST:.0%} of them were right."
            )


def _unused(votes: Votes, consensus: Consensus) -> Iterator[str]:
    """Yield a sentence for each class that got votes, but is the label of no row."""
    voted = (votes.codes >= 0).any(axis=1)
    used = np.unique(consensus.probabilities[voted].argmax(axis=1))
    for code, each in enumerate(votes.classes):
        rows = int((votes.codes == code).any(axis=1).sum())
        if rows and code not in used:
            yield f"No row was labelled {each!r}, although functions voted for it on {rows:,} rows."
