"""Robustness: how much worse a model is where a feature is missing, shifted or shuffled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.errors import UsageError
from headrace.report.numbers import number
from headrace.spec.report import Cell, Grid
from headrace.stages.tables.columns import rows_at

ROWS = 5_000
FEATURES = 20


def robustness(
    table: pa.Table, features: Sequence[str], measure: Callable[[pa.Table, Any], float | None], metric: str, seed: int
) -> Grid:
    """Return a grid with the change of a metric when one feature at a time is disturbed, in up to 5,000 rows.

    `measure` takes the changed table and the numbers of its rows. It returns the metric, or None where the metric is
    undefined. It raises a `UsageError` if the model refuses the rows.
    """
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(table.num_rows, min(ROWS, table.num_rows), replace=False))
    some = rows_at(table, rows)
    plain = measure(some, rows)
    found: list[tuple[Cell, ...]] = []
    for name in features[:FEATURES]:
        column = some[name]
        moved = _shifted(column) if _is_number(column) else None
        found.append(
            (
                name,
                _after(some, rows, name, pa.chunked_array([pa.nulls(len(column), column.type)]), measure, plain),
                "" if moved is None else _after(some, rows, name, moved, measure, plain),
                _after(
                    some,
                    rows,
                    name,
                    rows_at(some.select([name]), random.permutation(len(column))).column(0),
                    measure,
                    plain,
                ),
            )
        )
    more = f" The first {FEATURES} of {len(features)} features." if len(features) > FEATURES else ""
    return Grid(
        title=f"Robustness: the change of {metric}",
        columns=("feature", "missing", "shifted", "shuffled"),
        rows=tuple(found),
        note=f"The change of {metric} from {number(plain)} on {len(rows):,} rows when one feature is missing in all of"
        f" them, is higher by one standard deviation, or is shuffled among them.{more}",
    )


def _after(
    table: pa.Table,
    rows: Any,
    name: str,
    column: Any,
    measure: Callable[[pa.Table, Any], float | None],
    plain: float | None,
) -> str:
    place = table.column_names.index(name)
    try:
        value = measure(table.set_column(place, table.schema.field(place), column), rows)
    except UsageError:
        return "refused"
    if value is None or plain is None:
        return "undefined"
    change = number(value - plain, max(3, 3 - math.floor(math.log10(abs(plain))) if plain else 3))
    return change if change.startswith("-") else f"+{change}"


def _is_number(column: Any) -> bool:
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def _shifted(column: Any) -> Any:
    """Return numbers moved up by one standard deviation.

    Whole numbers move by a whole number, and no further than their type allows.
    """
    values = column.to_pandas()
    spread = float(values.std(skipna=True))
    step = spread if np.isfinite(spread) and spread > 0 else 1.0
    if pa.types.is_integer(column.type):
        whole = max(1, round(step))
        moved = values.clip(upper=np.iinfo(column.type.to_pandas_dtype()).max - whole) + whole
        return pa.chunked_array([pa.Array.from_pandas(moved, type=column.type, safe=False)])
    return pa.chunked_array([pa.Array.from_pandas(values + step, type=column.type, safe=False)])
