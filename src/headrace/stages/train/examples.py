"""Splits a table into features and target, and checks for faults that the libraries don't report clearly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace import errors
from headrace.errors import DataError
from headrace.models.frames import without_decimals
from headrace.stages.tables.columns import distinct, listed


class Examples(NamedTuple):
    """The input of an estimator: `features` is a pandas `DataFrame` of n rows; `target` and `weight` are arrays of n
    values."""

    features: Any
    target: Any
    weight: Any | None


def examples(
    table: pa.Table, target: str, features: str | Sequence[str] | None = None, weight: str | None = None
) -> Examples:
    """Return a table's features, target and weights. By default the features are all columns except the target and the
    weight.

    Dictionary-encoded columns become pandas categories, and decimals become floats.

    Raises:
        DataError: a column is missing, the table is empty, or a target or weight is missing or invalid.
    """
    chosen = (
        [each for each in table.column_names if each not in (target, weight)] if features is None else listed(features)
    )
    distinct(table)
    there(table, target, *chosen, *([weight] if weight else []))
    table = without_decimals(table)
    if not chosen:
        raise DataError("there are no columns to learn from", hint="name them by `features=`")
    twice = [name for name, count in Counter(chosen).items() if count > 1]
    if twice:
        raise DataError(f"the feature `{twice[0]}` is named twice", hint="name it once")
    if target in chosen:
        raise DataError(f"the target `{target}` is among the features", hint="leave it out: the model would read it")
    if table.num_rows == 0:
        raise DataError("there are no rows to learn from", hint="check the outputs of the stages before this one")
    labels = table[target]
    missing = labels.null_count
    if pa.types.is_floating(labels.type):
        missing += pc.sum(pc.is_nan(labels)).as_py() or 0
    if missing:
        raise DataError(
            f"{missing:,} of {table.num_rows:,} targets in `{target}` are missing",
            hint=f"filter them out in an earlier stage: nothing can be learned from a row without `{target}`",
        )
    truth = labels.to_pandas().to_numpy()
    endless = np.count_nonzero(np.isinf(truth)) if truth.dtype.kind == "f" else 0
    if endless:
        raise DataError(
            f"{endless:,} of {table.num_rows:,} targets in `{target}` are infinite",
            hint="filter them out in an earlier stage, or correct their cause, such as a division by 0",
        )
    weights = None if weight is None else _weights(table, weight)
    return Examples(table.select(list(chosen)).to_pandas(ignore_metadata=True), truth, weights)


@contextmanager
def in_valid(valid: pa.Table) -> Iterator[None]:
    """Check that `valid` has rows, and make errors about its rows name it.

    Raises:
        DataError: `valid` has no rows, or the block has raised this error.
    """
    if not valid.num_rows:
        raise DataError(
            "`valid` is empty", hint="check the stage that makes it, such as `prepare.split`; or leave out `valid=`"
        )
    try:
        yield
    except DataError as error:
        raise DataError(f"in `valid`: {error.message}", hint=error.hint) from error


def _weights(table: pa.Table, name: str) -> Any:
    """Return the weight of each row.

    Raises:
        DataError: a weight is missing, infinite or negative, or all weights are 0.
    """
    kind = table.schema.field(name).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise DataError(f"the weights in `{name}` are `{kind}`, not numbers", hint="cast them first")
    found = table[name].to_pandas().to_numpy()
    if not np.isfinite(found).all():
        raise DataError(
            f"weights in `{name}` are missing or not finite", hint="fill them, or filter the rows out earlier"
        )
    if (found < 0).any():
        raise DataError(
            f"{np.count_nonzero(found < 0):,} of {len(found):,} weights in `{name}` are negative, such as "
            f"{found.min():g}",
            hint="a weight says how much a row counts, from 0: correct them, or filter the rows out earlier",
        )
    if not found.any():
        raise DataError(f"all weights in `{name}` are 0", hint="no row would count: look at what made the weights")
    return found


def check_classes(found: Examples, target: str) -> None:
    """Raise an error if a target has only one class.

    Raises:
        DataError: all values of the target are equal.
    """
    first = found.target[0]
    if (found.target == first).all():
        raise DataError(
            f"all {len(found.target):,} values of the target `{target}` are `{first}`",
            hint="a classifier needs two classes at least: look at how the rows were chosen",
        )


def there(table: pa.Table, *names: str) -> None:
    """Raise an error if a table lacks one of these columns.

    Raises:
        DataError: a column is missing.
    """
    known = set(table.column_names)
    for name in names:
        if name not in known:
            hint = errors.meant(name, table.column_names, f"it has {errors.listed(table.column_names, 20)}")
            raise DataError(f"the table has no column `{name}`", hint=hint)
