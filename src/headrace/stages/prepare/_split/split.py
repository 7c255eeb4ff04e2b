"""The stage `prepare.split`: it splits a table into train, valid and test, and checks for leaks between the parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.define.log import log, warn
from headrace.define.stage import ready
from headrace.errors import DataError, UsageError
from headrace.errors import listed as ticked
from headrace.models.types import is_text, plain_type
from headrace.report.as_text import text as report_text
from headrace.report.measures import count_text
from headrace.spec.report import Report
from headrace.stages.ingest._check.finding import value_of
from headrace.stages.prepare._split.label_hints import Hints, label_hints
from headrace.stages.prepare._split.leaks import Leak, complete, digests, duplicates, joined, of_digests
from headrace.stages.prepare._split.near_texts import near_texts
from headrace.stages.prepare._split.parts import (
    LEFT_OUT,
    PARTS,
    Numbers,
    by_share,
    by_stratum,
    by_time,
    drawn,
    gap_of,
    instant,
    instants,
)
from headrace.stages.prepare._split.report import EMPTIED, MOVES, NO_ROWS, SOME, lacks, leak_table, report_of, written
from headrace.stages.prepare._split.roles import Roles
from headrace.stages.tables.columns import columns, distinct, listed, rows_where

By = Literal["row", "time", "group", "stratum"]
NEEDS = ("time", "group", "stratum")


class Split(NamedTuple):
    """The parts of a table: `train`, `valid` and `test`.

    `report` has the sizes of the parts, and a verdict for each kind of leak that was looked for. `leaks` has a row for
    each leak: its kind; the part and the row number of the row in the later part; and the part and the row number of
    the equal or near row in the earlier part. Row numbers are those of the given table.
    """

    train: pa.Table
    valid: pa.Table
    test: pa.Table
    report: Report
    leaks: pa.Table


def _check_options(given: Mapping[str, Any]) -> None:
    """Refuse shares and roles that don't fit together, if they are known when the pipeline is traced.

    Raises:
        UsageError: for the same reasons as in `split`.
    """
    if {*PARTS} <= {*given}:
        _check_shares(*(given[name] for name in PARTS))
    by, until, gap = given.get("by"), _times(given.get("until", ())), given.get("gap")
    if by is not None and by not in ("row", *NEEDS):
        raise UsageError(f"by={by!r}", hint="give one of row, time, group, stratum")
    if by in NEEDS and not given.get(by, True):
        raise UsageError(f"a split by {by} needs a column", hint=f'name it: `{by}="..."`')
    if by is not None and by != "time" and (until or gap is not None):
        raise UsageError("`until` and `gap` are for a split by time", hint='give `by="time"`')
    if by == "time" and until and len(until) not in (1, 2):
        raise UsageError(f"`until` has {len(until)} times", hint="give when `valid` begins and when `test` does")
    if until and all(isinstance(each, str | date | float | int) for each in until):
        ends = [instant(each, pa.timestamp("us") if isinstance(each, str | date) else pa.int64()) for each in until]
        _check_order(ends)
    if gap is not None:
        gap_of(gap, pa.timestamp("us") if isinstance(gap, str) else pa.int64())


@ready("prepare.split", version=9, on=("duckdb", "numpy", "pyarrow"), kind="prepare", check=_check_options)
def split(
    table: pa.Table,
    *,
    by: By = "row",
    train: float = 0.8,
    valid: float = 0.1,
    test: float = 0.1,
    key: str | Sequence[str] | None = None,
    group: str | Sequence[str] | None = None,
    time: str | None = None,
    stratum: str | Sequence[str] | None = None,
    target: str | None = None,
    text: str | Sequence[str] | None = None,
    until: str | date | float | Sequence[Any] = (),
    gap: str | float | None = None,
    seed: int = 0,
    leak: Literal["stop", "warn", "drop"] = "stop",
) -> Split:
    """Split a table into `train`, `valid` and `test`, and check whether a part leaks into a later part.

    The columns have these roles: `key` identifies a row; rows with the same `group` belong together (a person, a
    device); `time` is when a row happened; `stratum` is to be spread evenly over the parts; `target` is to be
    predicted; `text` are columns of long texts. `key`, `group`, `time` and `text` are checked for leaks if
    they are given.

    `by` says how rows are assigned to parts:

    - `"row"`: by a digest of the key, or of the whole row if there is no key. The part of a row depends on nothing
      else: not on its position, and not on other rows.
    - `"group"`: in the same way, by a digest of the group.
    - `"stratum"`: within each stratum, in the order of the digest that `"row"` uses, so that the shares hold in each
      stratum.
    - `"time"`: the earliest rows are for training. `until=(a, b)` says when `valid` and `test` begin. If `until` is a
      single time, `test` begins then, and `valid` is empty. Without `until`, the boundaries follow from the shares.
      With a `gap` (`"7d"`), the last rows before a boundary are left out.

    `train`, `valid` and `test` are shares that add up to 1. `seed` changes the digests.

    These are leaks: a key or a group in two parts; a time in an earlier part that isn't before all times of the later
    part; rows that are equal except for the key; rows whose numbers differ by at most 2% of the column's spread (or by
    less, if many rows are that near by chance) and whose texts have the same letters; and texts that share 80% of their
    shingles (MinHash). Equal and near rows count only if there are more of them than would be expected by chance.

    `leak="stop"` raises an error that names the leaks; if at most one row in 10,000 is like another, it only warns of
    these rows. `"warn"` reports the leaks. `"drop"` removes the rows of the earlier part, so that the test rows stay
    the same.

    The report also names columns that predict the target by themselves. A warning names these columns, unless chance
    may explain the prediction. There is also a warning if a part has no row, or lacks a class of the target. If time
    boundaries come from shares, they move when rows are added, so a warning proposes an `until` that fixes them.

    Raises:
        DataError: there is a leak and `leak="stop"`, a column is missing, or a row has no time.
        UsageError: the shares don't add up to 1, the boundaries are out of order, or `by` needs a role that isn't
            given.
    """
    roles = Roles(listed(key), listed(group), time, listed(stratum), target, listed(text))
    shares = train, valid, test
    until = _times(until)
    _check_options({"by": by, **roles._asdict(), **dict(zip(PARTS, shares, strict=True)), "until": until, "gap": gap})
    _check(table, roles)
    parts, ends = _parted(table, by, roles, shares, until, gap, seed)
    found = _leaks(table, parts, by, roles) if len(table) else []
    if leak == "drop":
        parts = _dropped(table, parts, found, roles)
    offered = "" if until or roles.time is None or not ends else _until(table, ends, roles.time)
    wanted = (True, len(until) != 1, True) if until else tuple(share > 0 for share in shares)
    hints = label_hints(table, roles.target, roles.key) if roles.target and len(table) else Hints()
    report = report_of(
        table,
        parts,
        by=by,
        roles=roles,
        leaks=found,
        action=leak,
        ends=ends,
        offered=offered,
        wanted=wanted,
        hints=hints,
    )
    judged = [each for each in found if len(each.rows) and each.judged]
    grave = [each for each in judged if not each.is_slight(len(table))]
    if leak == "stop" and grave:
        log("split", report_text(report))
        _stop(table, grave, roles)
    if offered:
        warn(f"{MOVES}: `{offered}` keeps today's boundaries")
    empty = [f"`{name}`" for number, name in enumerate(PARTS) if wanted[number] and not (parts == number).any()]
    if empty:
        reason = EMPTIED if len(table) else NO_ROWS
        warn(f"{' and '.join(empty)} got no row: {reason}")
    if target is not None:
        _warn_of_target(table, parts, by, target, roles, hints)
    if leak != "drop" and judged:
        warn(f"there are leaks between the parts: {_named(judged)}")
    first, second, third = (rows_where(table, parts == number) for number in range(len(PARTS)))
    return Split(first, second, third, report, leak_table(found, parts))


def _warn_of_target(table: pa.Table, parts: Numbers, by: By, target: str, roles: Roles, hints: Hints) -> None:
    """Warn if a part lacks a class of the target, or if the target can be read off a column.

    Columns with another role in `roles` aren't named: they say how rows belong together, and are seldom features.
    """
    lacking = lacks(table, parts, target)
    if lacking:
        is_spread = by == "stratum" and roles.stratum == (target,)
        cure = "there are too few" if is_spread else f'`by="stratum", stratum="{target}"` spreads them'
        warn(f"{'; '.join(lacking)}: {cure}")
    named = {*roles.group, *roles.stratum, roles.time}
    names = [each.column for each in hints.found if each.is_sure and each.column not in named]
    if names:
        single, value = ("alone", "its value is") if len(names) == 1 else ("each alone", "their values are")
        told = f"the target `{target}` can be read off {ticked(names, SOME)}, {single}"
        warn(f"{told}: check that {value} known before the target is")


def _until(table: pa.Table, ends: Sequence[Any], time: str) -> str:
    """Return the code of an argument `until` that fixes the boundaries `ends`."""
    timed = not pa.types.is_integer(kind := table.schema.field(time).type) and not pa.types.is_floating(kind)
    told = (f'"{each}"' if timed else each for each in written(table, ends, time))
    return f"until=({', '.join(told)})"


def _times(until: str | date | float | Sequence[Any]) -> Sequence[Any]:
    """Return the boundaries that `until` names: one time or several."""
    return (until,) if isinstance(until, str | date | float | int) else until


def _check_order(ends: Sequence[Any]) -> None:
    if ends and ends[0] > ends[-1]:
        raise UsageError(
            "the times in `until` are in the wrong order", hint="give when `valid` begins, and then when `test` begins"
        )


def _check(table: pa.Table, roles: Roles) -> None:
    distinct(table)
    named = (*roles.key, *roles.group, *roles.stratum, *roles.text, *filter(None, (roles.time, roles.target)))
    columns(table, named, "the split")
    for name in roles.text:
        if not is_text(plain_type(table.schema.field(name).type)):
            raise DataError(f"`{name}` is `{table.schema.field(name).type}`, not text", hint="`text` names texts only")


def _check_shares(*shares: float) -> None:
    for name, share in zip(PARTS, shares, strict=True):
        if not 0 <= share <= 1 or not math.isfinite(share):
            raise UsageError(f"{name}={share!r} is not a share", hint="give a number from 0 to 1")
    if abs(sum(shares) - 1) > 1e-6:
        told = ", ".join(f"{name}={share:g}" for name, share in zip(PARTS, shares, strict=True))
        raise UsageError(
            f"the shares {told} add up to {sum(shares):g}, not 1",
            hint="give `train`, `valid` and `test`, so that they add up to 1",
        )


def _parted(
    table: pa.Table, by: str, roles: Roles, shares: Sequence[float], until: Sequence[Any], gap: Any, seed: int
) -> tuple[Numbers, Sequence[Any]]:
    if by == "time":
        assert roles.time is not None
        column = table.column(roles.time)
        times = instants(column, roles.time)  # this comes first, so that a column without times raises its own error
        ends = [instant(each, column.type) for each in until]
        _check_order(ends)
        ends = [ends[0], ends[0]] if len(ends) == 1 else ends  # `valid` is empty: `test` begins where `train` ends
        return by_time(times, shares, ends, gap_of(gap, column.type))
    names = roles.group if by == "group" else (roles.key or tuple(table.column_names))
    numbers = drawn(table, names, seed) if names else np.zeros(len(table))
    if by != "stratum":
        return by_share(numbers, shares), ()
    return by_stratum(numbers, digests(table, roles.stratum), shares), ()


def _leaks(table: pa.Table, parts: Numbers, by: str, roles: Roles) -> list[Leak]:
    found: list[Leak] = []
    for kind, names in (("key", roles.key), ("group", roles.group)):
        if names:
            what = ", ".join(f"`{name}`" for name in names)
            found.append(of_digests(kind, digests(table, names), parts, what, complete(table, names)))
    if roles.time is not None:
        found.append(_overlap(instants(table.column(roles.time), roles.time), parts, roles.time))
    alike = duplicates(table, parts, roles.key, roles.target)
    if by == "time" and roles.time not in roles.key:  # then no row of a part has a time of another part
        why = (
            f"`{roles.time}` is never the same in two parts, so no rows are; with it as `key=`, the others are compared"
        )
        alike = [replace(each, judged=False, why=why) if not len(each.rows) else each for each in alike]
    found += alike
    known = joined([each.rows for each in found if each.kind in ("equal rows", "near rows")])
    for name in roles.text:
        rows, others = near_texts(table.column(name), parts)
        new = ~np.isin(rows, known)
        found.append(Leak(kind="near texts", rows=rows[new], others=others[new], what=f"`{name}`"))
    return found


def _overlap(times: Numbers, parts: Numbers, name: str) -> Leak:
    """Return the rows of later parts that aren't later than the last row of the earlier parts.

    Each of these rows is returned together with that last row.
    """
    rows, others = [], []
    for later in range(1, len(PARTS)):
        before = np.flatnonzero(parts < later)
        if len(before):
            last = before[np.argmax(times[before])]
            early = np.flatnonzero((parts == later) & (times <= times[last]))
            rows.append(early)
            others.append(np.full(len(early), last))
    what = f"`{name}`, which should be later than in all earlier parts"
    return Leak(kind="time", rows=joined(rows), others=joined(others), what=what)


def _dropped(table: pa.Table, parts: Numbers, leaks: Sequence[Leak], roles: Roles) -> Numbers:
    """Return `parts`, with `LEFT_OUT` for the rows of earlier parts that are like rows of later parts. Test rows stay.

    Near texts are searched for again until none are left, since one search finds only one near text for each text.
    """
    parts = parts.copy()
    for leak in leaks:
        if leak.judged:
            parts[leak.earlier] = LEFT_OUT
    for name in roles.text:
        while len(others := near_texts(table.column(name), parts)[1]):
            parts[others] = LEFT_OUT
    return parts


def _named(leaks: Sequence[Leak]) -> str:
    return "; ".join(f"{count_text(len(each.rows), 'row')} by {each.kind} ({each.what})" for each in leaks)


def _stop(table: pa.Table, leaks: Sequence[Leak], roles: Roles) -> None:
    first = leaks[0]
    row, other = int(first.rows[0]), int(first.others[0])
    named = "".join(f", {name} = {value_of(table.column(name)[row])!r}" for name in roles.key[:3])
    raise DataError(
        f"there are leaks between the parts: {_named(leaks)};"
        f" the first is row {row}{named}, because of row {other} in an earlier part",
        hint='split by what belongs together (`by="group"`), drop such rows (`leak="drop"`), '
        'or only warn (`leak="warn"`) and read the report',
    )
