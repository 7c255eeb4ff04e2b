"""What a network is to learn from a table: which columns it is given, which it foretells, and how that is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import UsageError
from headrace.spec.noun import Noun
from headrace.stages.columns import listed
from headrace.stages.train.columns import numbers

Answer = Literal["classes", "logit", "value"]
"""What the model gives: a score for each class, one score that speaks for the second of two, or the value itself."""
INPUT = "x"
TARGET = "\0target"
_OF_CLASSES = {"CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss"}
_OF_LOGIT = {"BCEWithLogitsLoss", "binary_cross_entropy_with_logits"}


class Lesson(Noun, frozen=True):
    """What is learned. `columns` is what the model is given, as the loader takes it: `x` alone, or arrays by name.

    `classes` are the values of the target, in the order of the model's scores; None where it is a number.
    """

    target: str
    columns: dict[str, str | list[str]]
    answer: Answer
    classes: list[Any] | None = None

    @property
    def inputs(self) -> int | None:
        """How many numbers a row of `x` has, where it is a matrix of single columns."""
        x = self.columns.get(INPUT)
        return len(x) if isinstance(x, list) else None

    @property
    def outputs(self) -> int:
        """How many scores the model gives."""
        return len(self.classes or ()) if self.answer == "classes" else 1

    def prepared(self, table: Any, what: str) -> Any:
        """Give the table with the target as the loss wants it: classes by number, all else as float32.

        Raises:
            UsageError: it is empty, lacks a column, or its target can't be learned.
        """
        column = _target(table, self.target, what)
        if self.classes is None:
            numbered = _numbered(column, self.target)
        else:
            found = pc.index_in(column, pa.array(self.classes, column.type))
            if found.null_count:
                strange = column.filter(pc.is_null(found))[0].as_py()
                raise UsageError(
                    f"{what} has `{self.target}` = {strange!r}, which the training table never has",
                    hint="split the rows so that each class is in the training part",
                )
            numbered = found.cast(pa.int64() if self.answer == "classes" else pa.float32())
        wanted = [name for each in self.columns.values() for name in ([each] if isinstance(each, str) else each)]
        numbers(table, wanted)
        return table.select(list(dict.fromkeys(wanted))).append_column(TARGET, numbered)

    def arrays(self) -> dict[str, str | list[str]]:
        """Give what the loader is to give."""
        return {**self.columns, TARGET: TARGET}

    def objective(self, loss: Callable[[Any, Any], Any]) -> Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]:
        """Give the loss of a batch, and of classes their accuracy, as a function of model and batch."""

        def of(module: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, float]]:
            target = batch[TARGET]
            found = self.answered(module, batch)
            value = loss(found, target)
            if module.training or self.answer == "value":
                return value, {}
            guess = found.argmax(1) if self.answer == "classes" else (found > 0).to(target.dtype)
            return value, {"accuracy": float((guess == target).float().mean())}

        return of

    def answered(self, module: Any, batch: dict[str, Any]) -> Any:
        """Give what the model says to a batch: of one score a row, a vector."""
        given = {name: batch[name] for name in self.columns}
        found = module(given[INPUT]) if list(given) == [INPUT] else module(**given)
        if self.answer != "classes" and getattr(found, "ndim", 0) == 2 and found.shape[1] == 1:
            found = found.squeeze(1)  # else `[n, 1]` minus `[n]` would be n x n without a word
        return found


def _numbered(column: Any, target: str) -> Any:
    try:
        return column.cast(pa.float32(), safe=False)
    except pa.ArrowException as error:
        raise UsageError(
            f"`{target}` is `{column.type}`, and this loss learns numbers",
            hint="make it numbers in a `prepare` stage, or leave `loss` out to learn it as classes",
        ) from error


def lesson(
    table: Any, target: str, features: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None, loss: str | None
) -> Lesson:
    """Read from the training table what is to be learned; `loss` is the loss's name.

    Without a loss, a target of fractions is a value, any other is classes.

    Raises:
        UsageError: there is no such column, nothing to learn from, or one class only.
    """
    column = _target(table, target, "the table")
    answer = _answer(loss, column.type)
    classes = None
    if answer != "value":
        classes = sorted(pc.unique(column).to_pylist())
        if len(classes) < 2:
            raise UsageError(
                f"`{target}` is {classes[0]!r} in every row, so there is nothing to tell apart",
                hint="is a filter or a split before it too narrow?",
            )
        if answer == "logit" and len(classes) != 2:
            raise UsageError(
                f"`{target}` has {len(classes)} classes, and `{loss}` tells two apart", hint="use CrossEntropyLoss"
            )
    return Lesson(target=target, columns=_columns(table, target, features), answer=answer, classes=classes)


def _answer(loss: str | None, kind: Any) -> Answer:
    is_value = pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if loss in _OF_CLASSES or (loss is None and not is_value):
        return "classes"
    return "logit" if loss in _OF_LOGIT else "value"


def _columns(
    table: Any, target: str, features: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None
) -> dict[str, str | list[str]]:
    if isinstance(features, Mapping):
        return {name: each if isinstance(each, str) else list(each) for name, each in features.items()}
    names = [name for name in table.schema.names if name != target] if features is None else [*listed(features)]
    if not names:
        raise UsageError(f"the table has no column but `{target}`", hint="give it something to learn from")
    if target in names:
        raise UsageError(f"`{target}` is the target and among the features", hint="leave it out of `features`")
    found = numbers(table, names)
    if len(names) == 1 and (found[names[0]].shape or found[names[0]].is_ragged):
        return {INPUT: names[0]}
    lists = [name for name in names if found[name].shape or found[name].is_ragged]
    if lists:
        raise UsageError(
            f"column `{lists[0]}` holds lists, and stands among others",
            hint="say which argument of the model each is: `features={'text': 'tokens', 'x': ['age', 'income']}`",
        )
    return {INPUT: names}


def _target(table: Any, target: str, what: str) -> Any:
    if target not in table.schema.names:
        known = ", ".join(f"`{each}`" for each in table.schema.names[:20])
        raise UsageError(f"{what} has no column `{target}`", hint=f"its columns are {known}")
    if not table.num_rows:
        raise UsageError(f"{what} is empty", hint="look at what the stage before it gave: `headrace show RUN`")
    column = table.column(target)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    bad = column.null_count
    if pa.types.is_floating(column.type):
        bad += int(np.count_nonzero(~np.isfinite(column.drop_null().to_numpy())))
    if bad:
        raise UsageError(
            f"`{target}` is missing or not finite in {bad:,} of {table.num_rows:,} rows of {what}",
            hint="drop those rows, or fill them, in a `prepare` stage",
        )
    return column
