"""What a network learns from a table: its input columns, the column that it predicts, and how its output is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import field

from headrace import errors
from headrace.errors import UsageError
from headrace.spec.noun import Noun
from headrace.stages.tables.columns import listed
from headrace.stages.train.columns import numbers

Answer = Literal["classes", "logit", "value"]
"""The model's output: a score for each class, one score for the second of two classes, or the value itself."""
INPUT = "x"
TARGET = "\0target"
_OF_CLASSES = {"CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss"}
_OF_LOGIT = {"BCEWithLogitsLoss", "binary_cross_entropy_with_logits"}


class Lesson(Noun, frozen=True):
    """What a network learns.

    `columns` names the input columns of each array that the network gets: only `x`, or several arrays by name.
    `classes` are the target's values, in the order of the model's scores. They are None if the target is a number.
    `categories` are the values of dictionary-encoded columns, in the order of their codes. They are kept because
    another table may have other codes.
    """

    target: str
    columns: dict[str, str | list[str]]
    answer: Answer
    classes: list[Any] | None = None
    categories: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def shown(self) -> list[str]:
        """The names of the model's input columns, each once."""
        wanted = [name for each in self.columns.values() for name in ([each] if isinstance(each, str) else each)]
        return list(dict.fromkeys(wanted))

    @property
    def inputs(self) -> int | None:
        """The number of columns in `x` if `x` is a matrix made of several columns, otherwise None."""
        x = self.columns.get(INPUT)
        return len(x) if isinstance(x, list) else None

    @property
    def outputs(self) -> int:
        """The number of scores in the model's output."""
        return len(self.classes or ()) if self.answer == "classes" else 1

    def prepared(self, table: Any, what: str) -> Any:
        """Return the input columns, and the target in the form that the loss needs: class numbers if the target is
        classes, otherwise float32.

        Raises:
            UsageError: the table is empty or lacks a column, or its target can't be learned.
        """
        column = _target(table, self.target, what)
        if self.classes is None:
            numbered = _numbered(column, self.target)
        else:
            found = _places(column, self.classes, self.target, what)
            numbered = found.cast(pa.int64() if self.answer == "classes" else pa.float32())
        return self.given(table, what).append_column(TARGET, numbered)

    def given(self, table: Any, what: str) -> Any:
        """Return the model's input columns, with categories as their codes in the training table.

        Raises:
            UsageError: the table lacks a column, or has a category that the training table doesn't have.
        """
        numbers(table, [name for name in self.shown if name not in self.categories or name not in table.column_names])
        found = table.select(self.shown)
        for name, categories in self.categories.items():
            codes = _places(_decoded(table.column(name)), categories, name, what)
            found = found.set_column(found.column_names.index(name), name, codes)
        return found

    def arrays(self) -> dict[str, str | list[str]]:
        """Return the arrays that the loader must yield, by name."""
        return {**self.columns, TARGET: TARGET}

    def objective(self, loss: Callable[[Any, Any], Any]) -> Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]:
        """Return a function of model and batch that returns the loss, and for classes also the accuracy."""

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
        """Return the model's output for a batch. An output with one score for each row is returned as a vector."""
        given = {name: batch[name] for name in self.columns}
        found = module(given[INPUT]) if list(given) == [INPUT] else module(**given)
        if self.answer != "classes" and getattr(found, "ndim", 0) == 2 and found.shape[1] == 1:
            found = found.squeeze(1)  # otherwise `[n, 1]` minus `[n]` would silently be n x n
        return found


def _places(column: Any, values: Sequence[Any], name: str, what: str) -> Any:
    """Return for each row the index of its value in `values`, or null if the value is null.

    Raises:
        UsageError: a value isn't in `values`.
    """
    try:
        found = pc.index_in(column, pa.array(values, column.type))
    except pa.ArrowException as error:
        raise UsageError(
            f"`{name}` of {what} is `{column.type}`, and in the training table it has "
            + (f"values such as {values[0]!r}" if values else "no value"),
            hint="give both tables columns of the same types",
        ) from error
    strange = column.filter(pc.and_(pc.is_null(found), pc.is_valid(column)))
    if len(strange):
        raise UsageError(
            f"{what} has `{name}` = {strange[0].as_py()!r}, which the training table never has",
            hint="split the rows so that each class and category is in the training part",
        )
    return found


def _decoded(column: Any) -> Any:
    """Return a column with its values instead of codes, in a type in which Arrow can search."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column


def _numbered(column: Any, target: str) -> Any:
    try:
        found = column.cast(pa.float32(), safe=False)
    except pa.ArrowException as error:
        raise UsageError(
            f"`{target}` is `{column.type}`, and this loss learns numbers",
            hint="make it numbers in a `prepare` stage, or leave `loss` out to learn it as classes",
        ) from error
    if not pc.all(pc.is_finite(found)).as_py():
        raise UsageError(
            f"`{target}` has values beyond 3.4e38, which are infinite in the 32 bits that a network learns from",
            hint="scale them in a `prepare` stage",
        )
    return found


def lesson(
    table: Any, target: str, features: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None, loss: str | None
) -> Lesson:
    """Return what a network is to learn. The training table and the name of the loss determine this.

    Without a loss, a target of floats or decimals is learned as a value, and any other target as classes.

    Raises:
        UsageError: there is no such column, no input column, or only one class.
    """
    column = _target(table, target, "the table")
    answer = _answer(loss, column.type)
    classes = None
    if answer != "value":
        if pa.types.is_nested(column.type):
            raise UsageError(
                f"the target `{target}` is `{column.type}`, whose values can't be classes",
                hint="give a column of texts or numbers",
            )
        classes = sorted(pc.unique(column).to_pylist())
        if len(classes) < 2:
            raise UsageError(
                f"`{target}` is {classes[0]!r} in every row, so there is nothing to tell apart",
                hint="is a filter or split in an earlier stage too narrow?",
            )
        if answer == "logit" and len(classes) != 2:
            raise UsageError(
                f"`{target}` has {len(classes)} classes, and `{loss}` takes only two", hint="use CrossEntropyLoss"
            )
    columns = _columns(table, target, features)
    return Lesson(
        target=target, columns=columns, answer=answer, classes=classes, categories=_categories(table, columns)
    )


def _categories(table: Any, columns: Mapping[str, str | list[str]]) -> dict[str, list[Any]]:
    wanted = [name for each in columns.values() for name in ([each] if isinstance(each, str) else each)]
    there = [name for name in dict.fromkeys(wanted) if name in table.column_names]
    coded = {name: table.column(name) for name in there if pa.types.is_dictionary(table.schema.field(name).type)}
    unified = {name: each.unify_dictionaries() for name, each in coded.items()}
    return {name: each.chunk(0).dictionary.to_pylist() for name, each in unified.items()}


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
        raise UsageError(
            f"the table has only the target column `{target}`", hint="give a table with columns to learn from"
        )
    if target in names:
        raise UsageError(f"`{target}` is the target and among the features", hint="leave it out of `features`")
    found = numbers(table, names)
    if len(names) == 1 and (found[names[0]].shape or found[names[0]].is_ragged):
        return {INPUT: names[0]}
    lists = [name for name in names if found[name].shape or found[name].is_ragged]
    if lists:
        raise UsageError(
            f"column `{lists[0]}` holds lists, so it can't be in one matrix with other columns",
            hint="say which argument of the model each is: `features={'text': 'tokens', 'x': ['age', 'income']}`",
        )
    return {INPUT: names}


def _target(table: Any, target: str, what: str) -> Any:
    if target not in table.schema.names:
        known = errors.listed(table.schema.names, 20)
        raise UsageError(f"{what} has no column `{target}`", hint=f"its columns are {known}")
    if not table.num_rows:
        raise UsageError(f"{what} is empty", hint="check the output of the stage before this one: `headrace show RUN`")
    column = _decoded(table.column(target))
    bad = column.null_count
    if pa.types.is_floating(column.type):
        bad += int(np.count_nonzero(~np.isfinite(column.drop_null().to_numpy())))
    if bad:
        raise UsageError(
            f"`{target}` is missing or not finite in {bad:,} of {table.num_rows:,} rows of {what}",
            hint="drop those rows, or fill them, in a `prepare` stage",
        )
    return column
