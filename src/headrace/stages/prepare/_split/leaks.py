"""Rows of one part of a split that are equal, or nearly equal, to rows of an earlier part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.models.types import is_text, plain_type
from headrace.stages.prepare._split.near_rows import is_more, near_rows, pairs_between, scaled
from headrace.stages.prepare._split.parts import LEFT_OUT, STRIP
from headrace.stages.tables import engine

FEW = 10
"""If a column of whole numbers has at most this many different values, its numbers are codes. Codes are never near each
other: they are equal or different."""
SLIGHT = 1e-4
"""If at most this share of the rows is equal or near to others, there is a warning and no error, since results hardly
change."""
SLIGHT_KINDS = ("equal rows", "near rows", "near texts")
DISTINCT = 0.5
"""Equal rows count as leaks only if the number of different rows is at least this share of the number of rows."""
MANY = 100
"""With more columns than this, rows are hardly ever equal by chance."""
MIX = np.uint64(0x9E3779B97F4A7C15)
Numbers = np.ndarray[Any, Any]
NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Leak:
    """The leaks of one kind.

    `rows` are rows of later parts, and `others` has, for each of them, an equal or near row of an earlier part.
    `earlier` are all rows of earlier parts that must be removed to stop the leak. `judged` is False if `rows` don't
    prove a leak. `why` says why the equal or near rows that were found don't count.
    """

    kind: str
    rows: Numbers
    others: Numbers
    what: str
    earlier: Numbers = field(default_factory=lambda: NONE)
    judged: bool = True
    why: str = ""

    def is_slight(self, total: int) -> bool:
        """Return whether the leak needs only a warning: results hardly change if so few of the table's `total` rows
        leak. Leaks of some kinds are never slight."""
        return self.kind in SLIGHT_KINDS and len(self.rows) <= SLIGHT * total


class Crossing(NamedTuple):
    """The rows whose digest is in several parts.

    `rows` are rows of later parts, and `others` has, for each of them, a row of the earliest part with the same digest.
    `earlier` are all rows of earlier parts whose digest is also in a later part. `different` is the number of different
    digests, divided by the number of rows.
    """

    rows: Numbers
    others: Numbers
    earlier: Numbers
    different: float


def crossing(digests: Numbers, parts: Numbers, there: Numbers | None = None) -> Crossing:
    """Return the rows whose digest is in several parts.

    `there` says which rows are compared; None means all. Rows that are in no part are never compared. One sort finds
    the digests that are in several parts; their rows are looked up only if there are such digests. 62 of a digest's 64
    bits are compared.
    """
    counts = parts != LEFT_OUT if there is None else (parts != LEFT_OUT) & there
    places = np.flatnonzero(counts)
    shorter = digests[places] >> np.uint64(2)
    packed = (shorter << np.uint64(2)) | parts[places].astype(np.uint64)
    packed.sort()
    sorted_digests = packed >> np.uint64(2)
    same = sorted_digests[1:] == sorted_digests[:-1]
    different = 1.0 - np.count_nonzero(same) / len(places) if len(places) else 1.0
    across = sorted_digests[1:][same & (packed[1:] != packed[:-1])]
    if not len(across):
        return Crossing(NONE, NONE, NONE, different)
    del packed, sorted_digests, same
    across = across[np.append(True, across[1:] != across[:-1])]
    where = np.minimum(np.searchsorted(across, shorter), len(across) - 1)
    hit = across[where] == shorter
    return _crossing(shorter[hit], parts[places[hit]], places[hit], different)


def _crossing(digests: Numbers, parts: Numbers, places: Numbers, different: float) -> Crossing:
    order = np.lexsort((places, parts, digests))
    digests, parts, places = digests[order], parts[order], places[order]
    starts = np.flatnonzero(np.append(True, digests[1:] != digests[:-1]))
    sizes = np.diff(np.append(starts, len(digests)))
    first, last = np.repeat(starts, sizes), np.repeat(starts + sizes - 1, sizes)
    later = parts > parts[first]
    rows, others = places[later], places[first[later]]
    again = np.argsort(rows, kind="stable")
    return Crossing(rows[again], others[again], np.sort(places[parts < parts[last]]), different)


def of_digests(
    kind: str, digests: Numbers, parts: Numbers, what: str, there: Numbers | None = None, *, anyway: bool = False
) -> Leak:
    """Return the leaks among rows with the same digest.

    `anyway` is True if rows may have the same digest without a leak. The result is then marked as not judged if the
    number of different digests is less than half the number of compared rows.
    """
    found = crossing(digests, parts, there)
    judged = not anyway or found.different >= DISTINCT
    why = "" if judged else f"only {found.different:.0%} of all rows are distinct, so equal rows tell nothing"
    return Leak(
        kind=kind, rows=found.rows, others=found.others, what=what, earlier=found.earlier, judged=judged, why=why
    )


def joined(found: Sequence[Numbers]) -> Numbers:
    """Return several arrays of row numbers as one."""
    return np.concatenate(found) if found else NONE


def digests(table: pa.Table, names: Sequence[str], *, near: bool = False) -> Numbers:
    """Return a digest of each row's values in the columns `names`. With `near`, only the letters and digits of texts
    count."""
    digest: Numbers = np.zeros(len(table), np.uint64)
    for given in _in_strips(table, names):
        parts = [_near(field.name, field.type) if near else field.name for field in given.schema]
        with engine.session({"t": given}) as database:
            found = database.sql(f"select hash({', '.join(parts)}) as digest from t").fetchnumpy()["digest"]
        digest = digest * MIX + np.ma.getdata(found)
    return digest


def digests_each(table: pa.Table, names: Sequence[str]) -> dict[str, Numbers]:
    """Return, for each of the columns `names`, a digest of each row's value."""
    digest: list[Numbers] = []
    for given in _in_strips(table, names):
        parts = ", ".join(f"hash({name}) as {name}" for name in given.column_names)
        with engine.session({"t": given}) as database:
            found = database.sql(f"select {parts} from t").fetchnumpy()
        digest += [np.ma.getdata(found[name]) for name in given.column_names]
    return dict(zip(names, digest, strict=True))


def _in_strips(table: pa.Table, names: Sequence[str]) -> Iterator[pa.Table]:
    """Yield tables with some of the columns `names` each. In each table, the columns get new and different names, which
    DuckDB accepts."""
    for start in range(0, len(names), STRIP):
        some = names[start : start + STRIP]
        yield pa.table([table.column(name) for name in some], [f"c{place}" for place in range(len(some))])


def complete(table: pa.Table, names: Sequence[str]) -> Numbers:
    """Return a mask of the rows that have no null in the columns `names`."""
    there = np.ones(len(table), dtype=bool)
    for name in names:
        column = table.column(name)
        if column.null_count:
            there &= column.is_valid().to_numpy()
    return there


def _near(name: str, kind: pa.DataType) -> str:
    if is_text(plain_type(kind)):
        return rf"trim(regexp_replace(lower({name}::varchar), '[^\p{{L}}\p{{N}}]+', ' ', 'g'))"
    return name


def duplicates(table: pa.Table, parts: Numbers, left_out: Sequence[str], target: str | None) -> list[Leak]:
    """Return the leaks among rows of different parts: rows that are equal, and rows that are near.

    The columns in `left_out` (the key) are ignored. The target is ignored when near rows are searched for.
    """
    names = [name for name in table.column_names if name not in left_out]
    if not names or not len(table):
        return []
    equal = of_digests("equal rows", digests(table, names), parts, _but(left_out), anyway=True)
    if equal.judged and len(equal.rows):
        equal = _beyond_chance(equal, table, names, parts)
    features = [name for name in names if name != target]
    but = _but([*left_out, *([target] if target else [])], ", ")
    return [equal, _nearly(table, features, parts, equal.rows, but)] if features else [equal]


def _nearly(table: pa.Table, features: Sequence[str], parts: Numbers, known: Numbers, but: str) -> Leak:
    """Return the leak of rows that are near to rows of earlier parts in all columns `features`.

    Rows in `known`, which are equal to others, are left out. `but` says in words which columns are ignored.
    """
    what = f"texts by their letters{but}"
    measured = [name for name in features if _is_measured(table.column(name))]
    exact = digests(table, [name for name in features if name not in measured], near=True)
    if not measured:
        near = of_digests("near rows", exact, parts, what, anyway=True)
        new = ~np.isin(near.rows, known)
        near = replace(near, rows=near.rows[new], others=near.others[new])
        is_open = near.judged and len(near.rows)
        return _beyond_chance(near, table, features, parts, near=True) if is_open else near
    columns = []
    for place, name in enumerate(measured):
        values = table.column(name).cast(pa.float64(), safe=False).fill_null(float("nan")).to_numpy()
        fine = np.isfinite(values)
        strange = np.where(fine, 0, np.where(np.isnan(values), 1, np.where(values > 0, 2, 3))).astype(np.uint64)
        exact = exact ^ (strange << np.uint64(2 * (place % 32)))
        whole = bool(pa.types.is_integer(table.column(name).type))
        column = scaled(np.where(fine, values, np.median(values[fine]) if fine.any() else 0.0), whole=whole)
        columns.append(column)
    found = near_rows(columns, exact, parts, known)
    what = f"{found.within}, {what}"
    why = ""
    if found.found and not len(found.rows):
        chance = f"no more than expected by chance (about {found.chance:,.3g})"
        why = f"{found.found:,.0f} pairs of rows are near ({what}), {chance}"
    return Leak(kind="near rows", rows=found.rows, others=found.others, what=what, earlier=found.earlier, why=why)


def _is_measured(column: pa.ChunkedArray) -> bool:
    """Return whether a column's numbers are amounts, which can be near, and not codes."""
    if pa.types.is_integer(column.type):
        some = column.slice(0, 10_000)
        return len(some.unique()) > FEW or len(column.unique()) > FEW
    return bool(pa.types.is_floating(column.type) or pa.types.is_decimal(column.type))


def _beyond_chance(leak: Leak, table: pa.Table, names: Sequence[str], parts: Numbers, *, near: bool = False) -> Leak:
    """Return the leak. It is marked as not judged if the number of equal rows isn't clearly above the number expected
    by chance.

    The expected number is estimated once for each column: the number of pairs that are equal in all other columns,
    multiplied by the odds that two values of the column are equal. The largest of these estimates counts.
    """
    if len(names) > MANY:
        return leak
    each = [digests(table, [name], near=near) for name in names]
    factors = np.random.default_rng(0).integers(1, 2**63, len(names), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    there = parts != LEFT_OUT
    whole: Numbers = np.zeros(len(table), np.uint64)
    for digest, factor in zip(each, factors, strict=True):
        whole += digest * factor
    same = pairs_between(whole[there], parts[there])
    chance = 0.0
    for digest, factor in zip(each, factors, strict=True):
        alike = np.unique(digest[there], return_counts=True)[1] / np.count_nonzero(there)
        share = float(np.sum(alike**2))
        if share < 1:
            others = pairs_between((whole - digest * factor)[there], parts[there]) - same
            chance = max(chance, others * share / (1 - share))
    if is_more(same, chance):
        return leak
    return replace(leak, judged=False, why=f"about {chance:,.3g} such pairs of rows are expected by chance")


def _but(names: Sequence[str], before: str = "in all columns ") -> str:
    return f"{before}but {', '.join(f'`{name}`' for name in names)}" if names else before.strip(", ")
