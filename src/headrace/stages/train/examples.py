"""Examples to learn from: a table, cut into features and a target, and checked for what no library says well."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace import errors
from headrace.errors import DataError
from headrace.stages.columns import distinct, listed, without_decimals


class Examples(NamedTuple):
    """What an estimator takes: `features`, a pandas frame of n rows; arrays of n values, `target` and `weight`."""

    features: Any
    target: Any
    weight: Any | None


def examples(
    table: pa.Table, target: str, features: str | Sequence[str] | None = None, weight: str | None = None
) -> Examples:
    """Cut a table: `features` are all columns but the target and the weight, where none are named.

    Columns that are dictionary-encoded become pandas categories, and decimals floats.

    Raises:
        DataError: a column isn't there, the table is empty, or targets or weights are missing.
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
        raise DataError("there are no rows to learn from", hint="look at what the stages before it gave out")
    labels = table[target]
    missing = labels.null_count
    if pa.types.is_floating(labels.type):
        missing += pc.sum(pc.is_nan(labels)).as_py() or 0
    if missing:
        raise DataError(
            f"{missing:,} of {table.num_rows:,} targets in `{target}` are missing",
            hint=f"filter them out before: a row without `{target}` teaches nothing",
        )
    kind = table.schema.field(weight).type if weight else pa.float64()
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise DataError(f"the weights in `{weight}` are `{kind}`, not numbers", hint="cast them first")
    weights = table[weight].to_pandas().to_numpy() if weight else None
    if weights is not None and not np.isfinite(weights).all():
        raise DataError(
            f"weights in `{weight}` are missing or not finite",
            hint="fill them, or filter these rows out before",
        )
    return Examples(table.select(list(chosen)).to_pandas(ignore_metadata=True), labels.to_pandas().to_numpy(), weights)


def check_classes(found: Examples, target: str) -> None:
    """Refuse a target of one class.

    Raises:
        DataError: there is nothing to tell apart.
    """
    first = found.target[0]
    if (found.target == first).all():
        raise DataError(
            f"all {len(found.target):,} values of the target `{target}` are `{first}`",
            hint="a classifier needs two classes at least: look at how the rows were chosen",
        )


def there(table: pa.Table, *names: str) -> None:
    """Refuse names that no column of a table has.

    Raises:
        DataError: one isn't there.
    """
    known = set(table.column_names)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, table.column_names, 1)
            columns = errors.listed(table.column_names, 20)
            raise DataError(
                f"the table has no column `{name}`", hint=f"did you mean `{near[0]}`?" if near else f"it has {columns}"
            )
