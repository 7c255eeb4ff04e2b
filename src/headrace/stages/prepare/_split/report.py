"""The report of a split: sizes, shares, named leaks, and columns that predict the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import listed as ticked
from headrace.models.types import is_text, plain_type
from headrace.report.measures import count_text
from headrace.spec.report import Cell, Fact, Grid, Report, Verdict
from headrace.stages.ingest._check.finding import cell, value_of
from headrace.stages.prepare._split.label_hints import Hints, missing_targets
from headrace.stages.prepare._split.leaks import SLIGHT, Leak
from headrace.stages.prepare._split.parts import LEFT_OUT, PARTS, Numbers
from headrace.stages.prepare._split.roles import Roles
from headrace.stages.tables.columns import rows_at

NAMED = 20
"""The most leaks that are named for each kind of leak."""
LISTED = 30
LOOKED_AT = 10_000
MOST_CLASSES = 10
"""A target of numbers with more different values than this has no classes."""
SOME = 5
"""The most missing classes that are named."""
MOVES = "the boundaries are shares of the rows, so as rows are added, rows of `test` move to `train`"
NO_ROWS = "the table has no rows"
EMPTIED = "the table is small, or options such as `until` put all its rows into other parts"
UNTOLD = "no column tells the target by itself"
LIMITS = (
    "Whether there are more near rows than by chance is a guess: a few copies among many close rows aren't found.",
    "Rows that belong together by something that isn't in the table (one person under two names) aren't found.",
    "A leak within a row, such as an average over all years, is no duplicate: there are only hints on such leaks.",
)


def report_of(
    table: pa.Table,
    parts: Numbers,
    *,
    by: str,
    roles: Roles,
    leaks: Sequence[Leak],
    action: str,
    ends: Sequence[Any],
    offered: str,
    wanted: Sequence[bool],
    hints: Hints,
) -> Report:
    """Return the report of a split.

    If the boundaries between the parts are times that come from the shares, `offered` is the code of an argument
    `until` that fixes these times. Otherwise `offered` is empty. `wanted` says which parts should have rows. `hints`
    says which columns predict the target by themselves.
    """
    sizes = np.bincount(parts, minlength=LEFT_OUT + 1)
    facts = [Fact(name=name, value=int(sizes[number]), unit="rows") for number, name in enumerate(PARTS)]
    facts.append(Fact(name="left out", value=int(sizes[LEFT_OUT]), unit="rows"))
    verdicts = [_verdict(each, action, len(table)) for each in leaks]
    verdicts += [*_parts_there(sizes, wanted), stays_put(by, offered, is_known=by != "time" or len(ends) > 0)]
    if roles.target is not None:
        verdicts += _target(table, roles.target, hints)
        lacking = lacks(table, parts, roles.target)
        if lacking is not None:
            why = "; ".join(lacking) or ("no part lacks one" if len(table) else NO_ROWS)
            holds = not lacking if len(table) else None
            verdicts.append(Verdict(rule="each part has each class of the target", holds=holds, why=why))
    passed = all(verdict.holds is not False for verdict in verdicts)
    grids = [_named(table, parts, each, roles) for each in leaks if len(each.rows)]
    grids += _strata(table, parts, roles)
    if hints.found:
        grids.append(
            Grid(
                title="Columns that tell the target",
                columns=("column", "how"),
                rows=tuple(each[:2] for each in hints.found),
            )
        )
    return Report(
        title="Split",
        about=f"{len(table):,} rows, parted by {by}{_ends(table, ends, roles)}.",
        passed=passed,
        facts=tuple(facts),
        verdicts=tuple(verdicts),
        grids=tuple(grids),
        limits=LIMITS,
    )


def stays_put(by: str, offered: str, *, is_known: bool = True) -> Verdict:
    """Return a verdict on whether rows stay in their parts when other rows are added.

    `is_known` is False if the boundaries between parts are times that come from the rows, and there are no rows.
    """
    holds, why = {
        "time": (True, "the boundaries are given by `until`"),
        "stratum": (None, "a row's part follows from its place in its stratum: rows that are added may move it"),
    }.get(by, (True, "a row's part follows from its own values"))
    if offered:
        holds, why = None, f"{MOVES}; `{offered}` keeps the boundaries"
    if not is_known:
        holds, why = None, NO_ROWS
    return Verdict(rule="rows stay in their parts as others are added", holds=holds, why=why)


def lacks(table: pa.Table, parts: Numbers, target: str) -> list[str] | None:
    """Return sentences that say which part lacks which class of the target. Return None if the target has no classes,
    because it has too many different values.
    """
    column = table.column(target)
    every = _counted(column, parts)
    counted = [each for each in every if each[0] is not None and each[0] == each[0]]
    if (len(column) and not every) or (len(counted) > MOST_CLASSES and not is_text(plain_type(column.type))):
        return None
    found = [
        f"`{part}` has no row with `{target}` = {cell(value)}, of which there are {int(of.sum()):,}"
        for value, of in counted
        for number, part in enumerate(PARTS)
        if not of[number] and (parts == number).any()
    ]
    return found if len(found) <= SOME else [*found[:SOME], f"{len(found) - SOME:,} more"]


def _counted(column: pa.ChunkedArray, parts: Numbers) -> list[tuple[Any, Numbers]]:
    """Return each value of a column with its number of rows in each part. Missing values are counted as the value None.

    The list is empty if the column has too many values.
    """
    kind = plain_type(column.type)
    if pa.types.is_nested(kind) or pa.types.is_null(kind) or isinstance(kind, pa.BaseExtensionType):
        return []  # Arrow can't list the different values of these types
    if len(column.slice(0, LOOKED_AT).unique()) > LISTED + 1:
        return []
    encoded = column.combine_chunks()
    encoded = encoded if pa.types.is_dictionary(encoded.type) else encoded.dictionary_encode()
    if len(encoded.dictionary) > LISTED:
        return []
    codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy()
    values = [*map(value_of, encoded.dictionary), None][: len(encoded.dictionary) + bool(encoded.null_count)]
    counts = [np.bincount(codes[parts == number], minlength=len(values)) for number in range(len(PARTS))]
    return list(zip(values, np.stack(counts, axis=1), strict=True))


def leak_table(leaks: Sequence[Leak], parts: Numbers) -> pa.Table:
    """Return a table of all leaks, one per row, including those that aren't judged."""
    names = np.array([*PARTS, "left out"])
    rows = np.concatenate([each.rows for each in leaks] or [np.empty(0, np.int64)]).astype(np.int64)
    others = np.concatenate([each.others for each in leaks] or [np.empty(0, np.int64)]).astype(np.int64)
    kinds = [each.kind for each in leaks for _ in range(len(each.rows))]
    return pa.table(
        {
            "kind": pa.array(kinds, pa.string()),
            "part": pa.array(names[parts[rows]].tolist(), pa.string()),
            "row": pa.array(rows, pa.int64()),
            "other_part": pa.array(names[parts[others]].tolist(), pa.string()),
            "other_row": pa.array(others, pa.int64()),
        }
    )


def _verdict(leak: Leak, action: str, total: int) -> Verdict:
    count = len(leak.rows)
    rule = f"no leak by {leak.kind} ({action})"
    if not count:
        none = f"no row of a later part depends on a row of an earlier part ({leak.what})"
        return Verdict(rule=rule, holds=True if leak.judged else None, why=leak.why or none)
    does = "depends" if count == 1 else "depend"
    told = f"{count_text(count, 'row')} of later parts {does} on rows of an earlier part ({leak.what})"
    if not leak.judged:
        return Verdict(rule=rule, holds=None, why=f"{told}, but {leak.why}")
    dropped = action == "drop" and leak.kind != "time"
    if leak.is_slight(total) and not dropped:
        return Verdict(rule=rule, holds=None, why=f"{told}: at most one row in {1 / SLIGHT:,.0f}, which is a warning")
    return Verdict(rule=rule, holds=dropped, why=f"{told}{'; those earlier rows were dropped' if dropped else ''}")


def _parts_there(sizes: Numbers, wanted: Sequence[bool]) -> Iterator[Verdict]:
    reason = f"it has none: {EMPTIED}" if sizes.sum() else NO_ROWS
    for name, size, is_wanted in zip(PARTS, sizes.tolist(), wanted, strict=False):
        if not size:
            why = reason if is_wanted else "it should have none"
            yield Verdict(rule=f"{name} has rows", holds=False if is_wanted else None, why=why)


def _target(table: pa.Table, target: str, hints: Hints) -> Iterator[Verdict]:
    column = table.column(target)
    missing = missing_targets(column)
    rule = f"each row has a target (`{target}`)"
    if not len(table):
        yield Verdict(rule=rule, holds=None, why=NO_ROWS)
        yield Verdict(rule=UNTOLD, holds=None, why=NO_ROWS)
        return
    yield Verdict(
        rule=rule, holds=not missing, why=f"{missing:,} rows have none: null or NaN" if missing else "none is missing"
    )
    if len(table) - missing and _is_one_value(column):
        yield Verdict(
            rule="the target has two values", holds=False, why="all rows have the same: nothing can be learned"
        )
    if hints.found:
        told = f"{', '.join(f'`{each.column}`' for each in hints.found)}: see below"
    else:
        told = hints.why_not or "none was seen to"
    if hints.unread:
        told += f"; {ticked(hints.unread, SOME)}: not looked at, since most values differ and are no numbers or times"
    yield Verdict(rule=UNTOLD, holds=None if hints.found or hints.why_not else True, why=told)


def _is_one_value(column: pa.ChunkedArray) -> bool:
    """Return whether all values of a column, apart from missing ones, are the same."""
    plain = column.cast(plain_type(column.type))
    if pa.types.is_nested(plain.type):
        return False
    ends = pc.min_max(plain).as_py()
    return bool(ends["min"] == ends["max"])


def _named(table: pa.Table, parts: Numbers, leak: Leak, roles: Roles) -> Grid:
    rows, others = leak.rows[:NAMED].tolist(), leak.others[:NAMED].tolist()
    names = [*PARTS, "left out"]
    keys = list(dict.fromkeys([*roles.key, *(roles.group if leak.kind == "group" else ())]))
    if leak.kind == "time" and roles.time:
        keys.append(roles.time)
    if leak.kind == "near texts":
        keys += [name for name in roles.text if f"`{name}`" == leak.what]
    values = [[cell(value_of(each)) for each in rows_at(table.select([name]), rows).column(0)] for name in keys]
    cells: list[tuple[Cell, ...]] = [
        (names[parts[row]], row, *(column[place] for column in values), names[parts[other]], other)
        for place, (row, other) in enumerate(zip(rows, others, strict=True))
    ]
    count = len(leak.rows)
    return Grid(
        title=f"Leaks by {leak.kind}",
        columns=("part", "row", *keys, "stands in", "as row"),
        rows=tuple(cells),
        note=f"the first {len(rows)} of {count:,}; all are in `leaks`" if count > len(rows) else "",
    )


def _strata(table: pa.Table, parts: Numbers, roles: Roles) -> Iterator[Grid]:
    names = roles.stratum or ((roles.target,) if roles.target else ())
    totals = [max(1, int((parts == number).sum())) for number in range(len(PARTS))]
    for name in names:
        counted = _counted(table.column(name), parts)
        if not counted:
            continue
        rows = [
            (cell(value), *(f"{count / total:.2%}" for count, total in zip(counts, totals, strict=True)))
            for value, counts in counted
        ]
        yield Grid(title=f"Shares of `{name}`", columns=(name, *PARTS), rows=tuple(sorted(rows, key=str)))


def _ends(table: pa.Table, ends: Sequence[Any], roles: Roles) -> str:
    if not ends or roles.time is None:
        return ""
    told = written(table, ends, roles.time)
    return f"; valid begins at {told[0]}, test at {told[-1]}"


def written(table: pa.Table, ends: Sequence[Any], time: str) -> list[str]:
    """Return boundaries as texts in the form that the argument `until` takes."""
    kind = table.schema.field(time).type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return [str(value_of(pa.scalar(int(end), pa.timestamp("us")))) for end in ends]
    return [str(end) for end in ends]
