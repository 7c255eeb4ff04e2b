"""Drafts a contract from data, as TOML for people to edit. The rules hold for these data, and leave some slack for
later data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import combinations
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import DataError
from headrace.models.types import is_text, plain_type
from headrace.stages.ingest._check.columns import view, viewed
from headrace.stages.ingest._check.finding import share, value_of
from headrace.stages.ingest._check.keys import distinct, repeated_rows
from headrace.stages.ingest._check.shapes import pattern_of

FEW = 20
"""The contract lists all values of a column if there are at most this many different values, and at least ten rows per
value on average."""
FULL = 1000
"""A range of at most this many whole numbers gets no slack if the data hold every one of them."""
SLACK = 0.1
"""The share of the observed range by which the range is extended on each side."""
LOOKED_AT = 200_000
"""The number of texts from which a column's pattern is made. All texts are then checked against the pattern."""
_YEAR = re.compile(r"(?<![0-9])(?:19|20)[0-9]{2}(?![0-9])")
_BARE = re.compile(r"[A-Za-z0-9_-]+")

HEAD = """\
# A contract, drafted from {rows:,} rows. Read it: it says what held in these data, not what is right. See the docs on
# contracts for all that it may say.

name = {name}
extra = "warn"            # columns that aren't named here: allow, warn, stop
otherwise = "quarantine"  # what happens to rows that break a rule: warn, quarantine, stop
most_quarantined = 0.05   # if a larger share of the rows is quarantined, the contract no longer fits: the check stops
"""


def draft(table: pa.Table, called: str = "contract") -> str:
    """Return a contract whose rules hold for the table, as TOML with comments; `called` is the contract's name.

    Raises:
        DataError: two columns of the table have the same name.
    """
    if len(set(table.column_names)) < table.num_columns:
        raise DataError("two columns of the table have the same name", hint="rename one of them first")
    parts = [HEAD.format(rows=len(table), name=toml(called))]
    for name in table.column_names:
        parts += [f"\n[columns.{_key(name)}]\n", *(f"{line}\n" for line in _column(table.column(name)))]
    return "".join([*parts, *_whole(table)])


def _column(values: pa.ChunkedArray) -> Iterator[str]:
    kind = plain_type(values.type)
    total, nulls = len(values), values.null_count
    yield f"type = {toml(str(kind))}"
    if not nulls:
        yield "null = false"
    elif nulls == total:
        yield "# null in all rows"
        return
    else:
        yield f"# null in {share(nulls, total)} of the rows"
    if not total:
        return
    if pa.types.is_floating(kind):
        strange = pc.sum(pc.is_nan(values)).as_py()
        yield f"# NaN in {share(strange, total)} of the rows" if strange else "nan = false"
    identifies = pa.types.is_integer(kind) or is_text(kind)
    unique = identifies and total > 1 and not nulls and not len(repeated_rows([values]))
    few = _few(values, kind)
    if few is not None:
        yield f"allowed = [{', '.join(map(toml, few))}]"
    elif is_text(kind):
        yield from _text(values)
    elif viewed(kind) or pa.types.is_decimal(kind):
        yield from _range(values, kind, grows=unique)
    if unique:
        yield "unique = true"


def _few(values: pa.ChunkedArray, kind: pa.DataType) -> Sequence[Any] | None:
    """Return the different values of a column, sorted; None if they don't seem to be codes or categories."""
    if not (is_text(kind) or pa.types.is_int8(kind) or pa.types.is_boolean(kind)):
        return None
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.large_string())
    found = pc.unique(values.slice(0, LOOKED_AT)).drop_null()
    if len(found) > FEW:
        return None
    found = pc.unique(values).drop_null()
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    if len(found) > FEW or len(found) * 10 > len(values):
        return None
    listed: list[Any] = sorted(found.to_pylist())
    if listed and all(isinstance(each, str) and _YEAR.search(each) for each in listed):
        return None  # the values seem to be months or years, and new ones will come
    return None if any(isinstance(each, str) and len(each) > 100 for each in listed) else listed


def _text(values: pa.ChunkedArray) -> Iterator[str]:
    if pa.types.is_dictionary(values.type):
        values = values.cast(plain_type(values.type))
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.large_string())
    seen = pc.unique(values.slice(0, LOOKED_AT)).drop_null().to_pylist()
    pattern = pattern_of(seen)
    if pattern is not None and pc.all(pc.match_substring_regex(values, rf"\A(?:{pattern})\z")).as_py():
        yield f"pattern = {toml(pattern)}"
        return
    lengths = pc.min_max(pc.utf8_length(values)).as_py()
    if lengths["min"]:
        yield "min_length = 1"
    yield f"max_length = {_rounded(max(1, 2 * lengths['max']))}  # the longest has {lengths['max']:,} characters"


def _range(values: pa.ChunkedArray, kind: pa.DataType, *, grows: bool) -> Iterator[str]:
    """Yield the lines of TOML with the bounds of a column. There is no upper bound for times, and none for whole
    numbers if `grows` is True."""
    if pa.types.is_floating(kind):
        values = values.cast(pa.float64())
        if pc.any(pc.is_inf(values)).as_py():
            return
        values = values.filter(pc.is_finite(values))
    if pa.types.is_duration(kind) or pa.types.is_time(kind):
        return
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        values = values.cast(pa.timestamp(kind.unit, "UTC"))  # a date in a contract is in UTC
    ends = pc.min_max(values)
    low, high = value_of(ends["min"]), value_of(ends["max"])
    if low is None or isinstance(low, str) or isinstance(high, str):
        return
    if isinstance(low, datetime):
        first = low.astimezone(UTC) if low.tzinfo is not None else low  # a contract's date is in UTC too
        yield f"min = {first.date().isoformat()}  # to {_shown(high)}; later times aren't bounded"
    elif isinstance(low, date):
        yield f"min = {low.isoformat()}  # to {_shown(high)}; later times aren't bounded"
    elif grows:
        least, _ = _widened(low, high, whole=True)
        yield f"min = {toml(least)}  # to {_shown(high)}; unique numbers keep growing, so there is no upper bound"
    else:
        whole = not pa.types.is_floating(kind)
        full = pa.types.is_integer(kind) and _is_full(values, low, high)
        least, most = (low, high) if full else _widened(low, high, whole=whole)
        yield f"min = {toml(least)}  # {_shown(low)} to {_shown(high)} were seen"
        yield f"max = {toml(most)}"


def _is_full(values: pa.ChunkedArray, low: Any, high: Any) -> bool:
    """Return whether a column holds every whole number of a small range, as months and minutes do.

    The column must have at least ten rows per number on average. The lowest and the highest number must each occur in
    at least a quarter of this average number of rows. A column of counts isn't full: its highest values are rare, and
    higher ones may come.
    """
    span = high - low + 1
    if span > FULL or span * 10 > len(values) or distinct(values) != span:
        return False
    usual = (len(values) - values.null_count) / span
    return all(pc.sum(pc.equal(values, end)).as_py() * 4 >= usual for end in (low, high))


def _widened(low: Any, high: Any, *, whole: bool) -> tuple[Any, Any]:
    """Return a range that is somewhat wider than the observed range from `low` to `high`.

    The lower bound isn't negative unless `low` is. A range of fractions within 0 to 1 becomes 0 to 1.
    """
    if whole:
        low, high = math.floor(low), math.ceil(high)
        slack = max(1, math.ceil((high - low) * SLACK))
        least, most = low - slack, high + slack
        return (max(0, least) if low >= 0 else least), most
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    slack = (high - low) * SLACK or abs(high) * SLACK or 1.0
    if not math.isfinite(slack):
        return low, high
    step = 10.0 ** math.floor(math.log10(slack)) if slack > 0 else 1.0
    least, most = _stepped(low - slack, step, math.floor), _stepped(high + slack, step, math.ceil)
    least = min(least, low) if math.isfinite(least) else low
    most = max(most, high) if math.isfinite(most) else high
    return (max(0.0, least) if low >= 0 else least), most


def _stepped(value: float, step: float, towards: Any) -> float:
    count = value / step
    if not math.isfinite(count) or abs(count) > 2**53:
        return value
    return float(f"{towards(count) * step:.12g}")


def _rounded(count: int) -> int:
    """Return a count rounded up to one significant digit.

    >>> _rounded(7), _rounded(43), _rounded(1234)
    (7, 50, 2000)
    """
    if count < 10:
        return count
    step: int = 10 ** (len(str(count)) - 1)
    return -(-count // step) * step


def _whole(table: pa.Table) -> Iterator[str]:
    total = len(table)
    yield "\n[rows]\n"
    yield f"least = {total // 2}\n"
    yield "# shrink = 0.5  # times the median of earlier versions: `ingest.check(..., history=hr.cursor(...))`\n"
    yield "# grow = 2.0\n"
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)]
    for name in times[:1]:
        yield f'\n# [[fresh]]  # needs `ingest.check(..., now=hr.now())`\n# column = {toml(name)}\n# within = "2d"\n'
    for one, other in _ordered(table, times[:8]):
        yield f"\n# [[relations]]  # it holds in all rows: by chance?\n# holds = {toml(f'{one} <= {other}')}\n"


def _ordered(table: pa.Table, times: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of time columns: the first is never later than the second, and earlier in at least one row."""
    if not len(table):
        return
    for one, other in combinations([name for name in times if name.isidentifier()], 2):
        left, right = table.column(one), table.column(other)
        if left.type != right.type or left.null_count or right.null_count:
            continue
        batches = [batch for batch in table.select([one, other]).to_batches() if len(batch)]
        pairs = [(view(batch.column(0)), view(batch.column(1))) for batch in batches]
        if all(bool((a <= b).all()) for a, b in pairs) and any(bool((a < b).any()) for a, b in pairs):
            yield one, other
        elif all(bool((a >= b).all()) for a, b in pairs) and any(bool((a > b).any()) for a, b in pairs):
            yield other, one


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else toml(name)


def toml(value: Any) -> str:
    """Return a value written in TOML.

    >>> toml("a\\n"), toml(3.0), toml(float("inf")), toml(True)
    ('"a\\\\n"', '3.0', 'inf', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(int(value))
    return repr(value)


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
