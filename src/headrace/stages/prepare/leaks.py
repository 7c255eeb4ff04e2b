"""Rows of one part of a split that stand, or nearly stand, in an earlier part too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.stages import engine
from headrace.stages.column_types import is_text, plain_type
from headrace.stages.prepare.parts import LEFT_OUT, STRIP

DIGITS = 3
"""Numbers that agree in so many digits are nearly equal."""
DISTINCT = 0.5
"""Where less than this share of the rows are different at all, rows that are equal tell nothing."""
MIX = np.uint64(0x9E3779B97F4A7C15)
Numbers = np.ndarray[Any, Any]
NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One kind of leak: `rows` of later parts, each beside a row of an earlier part that it is like (`others`).

    `earlier` are all rows that must go if none of `rows` is to leak. `judged` is False where such rows tell nothing;
    `why` says so.
    """

    kind: str
    rows: Numbers
    others: Numbers
    what: str
    earlier: Numbers = field(default_factory=lambda: NONE)
    judged: bool = True
    why: str = ""


class Crossing(NamedTuple):
    """Rows of later parts whose digest stands in an earlier part too, for each a row of the earliest such part, all
    rows of earlier parts whose digest stands in a later one, and the share of digests that are different."""

    rows: Numbers
    others: Numbers
    earlier: Numbers
    different: float


def crossing(digests: Numbers, parts: Numbers, there: Numbers | None = None) -> Crossing:
    """Find digests that stand in several parts. `there` says which rows count at all; those that no part has don't.

    One sort tells which digests do; places are looked for only where there are any. Of the 64 bits, 62 count.
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
    """Give the leaks among rows of one digest. With `anyway`, they aren't judged if rows repeat anyway."""
    found = crossing(digests, parts, there)
    judged = not anyway or found.different >= DISTINCT
    why = "" if judged else f"only {found.different:.0%} of all rows are different at all, so such rows tell nothing"
    return Leak(
        kind=kind, rows=found.rows, others=found.others, what=what, earlier=found.earlier, judged=judged, why=why
    )


def joined(found: Sequence[Numbers]) -> Numbers:
    """Give several lists of rows as one."""
    return np.concatenate(found) if found else NONE


def digests(table: pa.Table, names: Sequence[str], *, near: bool = False) -> Numbers:
    """Give a digest a row of its values of these columns. With `near`, of numbers the first digits count, of texts the
    letters and digits alone."""
    digest: Numbers = np.zeros(len(table), np.uint64)
    for given in _in_strips(table, names):
        parts = [_near(field.name, field.type) if near else field.name for field in given.schema]
        with engine.session({"t": given}) as database:
            found = database.sql(f"select hash({', '.join(parts)}) as digest from t").fetchnumpy()["digest"]
        digest = digest * MIX + np.ma.getdata(found)
    return digest


def digests_each(table: pa.Table, names: Sequence[str]) -> dict[str, Numbers]:
    """Give a digest a row of each of these columns."""
    digest: list[Numbers] = []
    for given in _in_strips(table, names):
        parts = ", ".join(f"hash({name}) as {name}" for name in given.column_names)
        with engine.session({"t": given}) as database:
            found = database.sql(f"select {parts} from t").fetchnumpy()
        digest += [np.ma.getdata(found[name]) for name in given.column_names]
    return dict(zip(names, digest, strict=True))


def _in_strips(table: pa.Table, names: Sequence[str]) -> Iterator[pa.Table]:
    """Give these columns some at a time, under names that the engine takes and tells apart."""
    for start in range(0, len(names), STRIP):
        some = names[start : start + STRIP]
        yield pa.table([table.column(name) for name in some], [f"c{place}" for place in range(len(some))])


def complete(table: pa.Table, names: Sequence[str]) -> Numbers:
    """Tell which rows have no null among these columns."""
    there = np.ones(len(table), dtype=bool)
    for name in names:
        column = table.column(name)
        if column.null_count:
            there &= column.is_valid().to_numpy()
    return there


def _near(name: str, kind: pa.DataType) -> str:
    column, plain = name, plain_type(kind)
    if is_text(plain):
        return rf"trim(regexp_replace(lower({column}::varchar), '[^\p{{L}}\p{{N}}]+', ' ', 'g'))"
    if pa.types.is_floating(plain) or pa.types.is_decimal(plain):
        value = f"{column}::double"
        digits = f"({DIGITS - 1} - floor(log10(abs({value}))))::int"
        return f"case when {value} = 0 or not isfinite({value}) then {value} else round({value}, {digits}) end"
    return column


def duplicates(table: pa.Table, parts: Numbers, left_out: Sequence[str], target: str | None) -> list[Leak]:
    """Give the rows that stand in an earlier part too: exactly, and nearly. `left_out` (the key) makes no difference,
    and the target none to what is near."""
    names = [name for name in table.column_names if name not in left_out]
    if not names or not len(table):
        return []
    exact = digests(table, names)
    equal = of_digests("equal rows", exact, parts, _but(left_out), anyway=True)
    features = [name for name in names if name != target]
    if not features:
        return [equal]
    nearly = digests(table, features, near=True)
    what = f"numbers to {DIGITS} digits, texts by their letters{_but([*left_out, *([target] if target else [])], ', ')}"
    near = of_digests("near rows", nearly, parts, what, anyway=True)
    new = ~np.isin(near.rows, equal.rows)
    return [equal, replace(near, rows=near.rows[new], others=near.others[new])]


def _but(names: Sequence[str], before: str = "in all columns ") -> str:
    return f"{before}but {', '.join(f'`{name}`' for name in names)}" if names else before.strip(", ")
