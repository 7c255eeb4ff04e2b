"""Checks a column against its rules, block by block. A column without errors is read once and isn't copied.

NumPy reads numbers and times directly from Arrow's memory. If a block's lowest and highest values are in range and not
NaN, all values of the block are in range and not NaN. Otherwise each value is compared with the limits. Blocks fit in
the CPU's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import DefinitionError
from headrace.models.types import bound, is_text, kind_named, plain_type, type_is
from headrace.stages.ingest._check.contract import Action, Column
from headrace.stages.ingest._check.finding import NONE, Finding, cell, of_rows, shown

BLOCK = 1 << 16
TEXT_BLOCK = 1 << 17
Rows = np.ndarray[Any, Any]


def check_column(name: str, column: Column, values: pa.ChunkedArray, otherwise: Action) -> list[Finding]:
    """Return the finding of each rule of a column, except `unique`, which `check.py` checks."""
    kind, fits = values.type, True
    found: list[Finding] = []
    if column.type is not None:
        fits = type_is(kind, column.type)
        why = f"it is `{kind}`" if fits else f"it is `{kind}`, not `{column.type}`{_misfit(values, column.type)}"
        found.append(Finding(rule=f"{name}: type", action=column.action("type", otherwise), holds=fits, why=why))
    if not column.null:
        rows = null_rows(values) if values.null_count else NONE
        found.append(_finding(name, column, "null", rows, values, otherwise, "filled"))
    for each in _values(name, column, values, otherwise):
        is_moot = each.holds is None and not fits and each.rule in (f"{name}: range", f"{name}: allowed")
        found.append(replace(each, why=f"it can't be checked in a column of `{kind}`") if is_moot else each)
    return found


def _misfit(values: pa.ChunkedArray, wanted: str) -> str:
    """If a column has texts where another type is wanted, say which text can't be read as one, otherwise return an
    empty text."""
    kind = _READ_AS.get(wanted) or kind_named(wanted)
    if kind is None or is_text(kind) or not is_text(plain_type(values.type)):
        return ""
    start = 0
    if values.null_count == len(values):
        return ""
    for chunk in values.chunks:
        texts = _plain(_decoded(chunk))
        try:
            place = next(_unreadable(texts, kind), None)
        except pa.ArrowNotImplementedError:
            return ""
        if place is not None:
            text = cell(texts[place].as_py())
            return f": the first text that can't be read as one is `{text}` in row {start + place:,}, counted from 0"
        start += len(chunk)
    return ", though each of its texts can be read as one"


_READ_AS = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "boolean": pa.bool_(),
}


def _unreadable(texts: pa.Array, kind: pa.DataType) -> Iterator[int]:
    """Yield the places of the texts that Arrow can't read as values of this type, found by halving."""
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        half = len(texts) // 2
        if half == 0:
            yield 0
        else:
            yield from _unreadable(texts[:half], kind)
            yield from (half + place for place in _unreadable(texts[half:], kind))


def _values(name: str, column: Column, values: pa.ChunkedArray, otherwise: Action) -> Iterator[Finding]:
    plain = plain_type(values.type)
    if pa.types.is_null(plain):
        values, plain = _nothing(values, column)
    yield from _numbers(name, column, values, otherwise, plain)
    if column.allowed:
        try:
            rows = _disallowed(values, column, plain)
        except _UNCHECKED as error:
            yield _unchecked(name, column, "allowed", otherwise, _said(error))
        else:
            among = ", ".join(shown(each) for each in column.allowed[:6]) + (", ..." if len(column.allowed) > 6 else "")
            yield _finding(name, column, "allowed", rows, values, otherwise, f"one of {among}")
    yield from _texts(name, column, values, otherwise)


_UNCHECKED = (DefinitionError, pa.ArrowInvalid, pa.ArrowNotImplementedError)


def _said(error: Exception) -> str:
    return error.message if isinstance(error, DefinitionError) else str(error)


def _numbers(
    name: str, column: Column, values: pa.ChunkedArray, otherwise: Action, plain: pa.DataType
) -> Iterator[Finding]:
    """Yield the findings on NaN and on values out of range. Both come from one pass if the column has numbers or
    times."""
    want_nan = not column.nan and pa.types.is_floating(plain)
    low = high = None
    outside: Rows | None = None
    unchecked: Finding | None = None
    if column.min is not None or column.max is not None:
        try:
            if viewed(plain):
                low, high = _raw(column.min, plain), _raw(column.max, plain)
            else:
                outside = _compared(values, column, plain)
        except _UNCHECKED as error:
            unchecked = _unchecked(name, column, "range", otherwise, _said(error))
    if want_nan or low is not None or high is not None:
        strange, outside = number_rows(values, low, high, nan=want_nan)
        if want_nan:
            yield _finding(name, column, "nan", strange, values, otherwise, "a number")
    if unchecked is not None:
        yield unchecked
    elif column.min is not None or column.max is not None:
        assert outside is not None
        yield _finding(name, column, "range", outside, values, otherwise, _range(column))


def _nothing(values: pa.ChunkedArray, column: Column) -> tuple[pa.ChunkedArray, pa.DataType]:
    """Cast a column of Arrow's type `null` to a type that its rules can check. Return the cast column and its new
    type."""
    told = [each for each in (column.min, column.max, *column.allowed) if each is not None]
    textual = column.pattern is not None or column.min_length is not None or column.max_length is not None
    kind = pa.scalar(told[0]).type if told else pa.string() if textual else pa.float64()
    return values.cast(kind), kind


def _texts(name: str, column: Column, values: pa.ChunkedArray, otherwise: Action) -> Iterator[Finding]:
    wanted = {"pattern": column.pattern, "length": column.min_length or column.max_length}
    for rule in (rule for rule, told in wanted.items() if told is not None):
        if not is_text(plain_type(values.type)):
            yield _unchecked(name, column, rule, otherwise, f"the column is `{values.type}`, not text")
            continue
        try:
            rows = _mismatched(values, column.pattern or "") if rule == "pattern" else _misshapen(values, column)
        except pa.ArrowInvalid as error:
            yield _unchecked(name, column, rule, otherwise, f"RE2 can't read `{column.pattern}`: {error}")
            continue
        want = f"of the form `{column.pattern}`" if rule == "pattern" else _length(column)
        yield _finding(name, column, rule, rows, values, otherwise, want)


def _finding(
    name: str,
    column: Column,
    rule: str,
    rows: Rows,
    values: pa.ChunkedArray,
    otherwise: Action,
    wanted: str,
) -> Finding:
    return of_rows(f"{name}: {rule}", column.action(rule, otherwise), rows, len(values), (name,), wanted)


def _unchecked(name: str, column: Column, rule: str, otherwise: Action, why: str) -> Finding:
    action = column.action(rule, otherwise)
    return Finding(rule=f"{name}: {rule}", action="warn" if action == "warn" else "stop", holds=None, why=why)


def _range(column: Column) -> str:
    low, high = column.min, column.max
    if low is None:
        return f"{high} or less"
    return f"{low} or more" if high is None else f"from {low} to {high}"


def _length(column: Column) -> str:
    low, high = column.min_length, column.max_length
    if low is None:
        return f"{high} characters or fewer"
    return f"{low} characters or more" if high is None else f"{low} to {high} characters"


def viewed(kind: pa.DataType) -> bool:
    """Return whether NumPy can read values of this type directly from Arrow's memory: numbers, dates and times."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or (pa.types.is_temporal(kind) and not pa.types.is_interval(kind))
    )


def view(chunk: pa.Array) -> Rows:
    """Return a chunk's values as a NumPy array, without a copy.

    A time is returned as the whole number that Arrow stores for it. Where the chunk has a null, the array has an
    arbitrary value.
    """
    kind = chunk.type
    if len(chunk) == 0:
        return np.empty(0, dtype=np.int64)
    dtype = np.dtype(kind.to_pandas_dtype()) if not pa.types.is_temporal(kind) else np.dtype(f"i{kind.bit_width // 8}")
    return np.frombuffer(chunk.buffers()[1], dtype=dtype)[chunk.offset : chunk.offset + len(chunk)]


def valid(chunk: pa.Array, start: int, stop: int) -> Rows | None:
    """Return a mask of the values from `start` to `stop`, True for each value that isn't null. Return None if there are
    no nulls among these values."""
    if chunk.null_count == 0:
        return None
    piece = chunk.slice(start, stop - start)
    if piece.null_count == 0:
        return None
    mask: Rows = piece.is_valid().to_numpy(zero_copy_only=False)
    return mask


def null_rows(values: pa.ChunkedArray) -> Rows:
    """Return the places of the rows in which a column is null."""
    found, start = [], 0
    for chunk in values.chunks:
        if chunk.null_count:
            found.append(np.flatnonzero(chunk.is_null().to_numpy(zero_copy_only=False)) + start)
        start += len(chunk)
    return _joined(found)


def number_rows(values: pa.ChunkedArray, low: Any, high: Any, *, nan: bool) -> tuple[Rows, Rows]:
    """Return the places of the NaN (none if `nan` is False), and the places of the values outside of [low, high]. Nulls
    are ignored."""
    strange: list[Rows] = []
    outside: list[Rows] = []
    start = 0
    for chunk in values.chunks:
        numbers = view(_decoded(chunk))
        floating = numbers.dtype.kind == "f"
        for at in range(0, len(numbers), BLOCK):
            block = numbers[at : at + BLOCK]
            least, most = block.min().item(), block.max().item()
            odd = floating and least != least
            if not odd and (low is None or least >= low) and (high is None or most <= high):
                continue
            there = valid(chunk, at, at + len(block))
            if odd and nan:
                _note(strange, np.isnan(block), there, start + at)
            beyond = np.zeros(len(block), dtype=bool)
            if low is not None:
                beyond |= block < low
            if high is not None:
                beyond |= block > high
            _note(outside, beyond, there, start + at)
        start += len(chunk)
    return _joined(strange), _joined(outside)


def _decoded(chunk: pa.Array) -> pa.Array:
    return chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk


def _note(found: list[Rows], broken: Rows, there: Rows | None, start: int) -> None:
    if there is not None:
        broken = broken & there
    if broken.any():
        found.append(np.flatnonzero(broken) + start)


def _joined(found: list[Rows]) -> Rows:
    return np.concatenate(found) if found else NONE


def _raw(value: Any, kind: pa.DataType) -> Any:
    """Return `value`, a bound of a column, as a number that can be compared with the column's NumPy view. A time
    becomes the whole number that Arrow stores for it."""
    if value is None:
        return None
    if pa.types.is_temporal(kind):
        return bound(value, kind).value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DefinitionError(f"{value!r} can't be a bound of a `{kind}`", hint="correct the contract")
    return value


def _compared(values: pa.ChunkedArray, column: Column, kind: pa.DataType) -> Rows:
    """Return the places of the values out of range. Use this function for values that only Arrow can compare, such as
    texts or decimals."""
    low = None if column.min is None else bound(column.min, kind)
    high = None if column.max is None else bound(column.max, kind)

    def broken(block: pa.Array) -> pa.Array:
        below = pc.less(block, low) if low is not None else None
        above = pc.greater(block, high) if high is not None else None
        return below if above is None else above if below is None else pc.or_(below, above)

    return _broken_rows(values, broken)


def _disallowed(values: pa.ChunkedArray, column: Column, kind: pa.DataType) -> Rows:
    allowed = pa.array([bound(each, kind).as_py() for each in column.allowed], kind)
    floating = pa.types.is_floating(kind)

    def broken(block: pa.Array) -> pa.Array:
        strange = pc.invert(pc.is_in(block, value_set=allowed))
        strange = pc.and_(strange, pc.is_valid(block))
        return pc.and_not(strange, pc.fill_null(pc.is_nan(block), False)) if floating else strange

    return _broken_rows(values, broken)


def _mismatched(values: pa.ChunkedArray, pattern: str) -> Rows:
    whole = rf"\A(?:{pattern})\z"
    return _broken_rows(values, lambda block: pc.invert(pc.match_substring_regex(block, whole)))


def _misshapen(values: pa.ChunkedArray, column: Column) -> Rows:
    low, high = column.min_length, column.max_length

    def broken(block: pa.Array) -> pa.Array:
        length = pc.utf8_length(block)
        below = pc.less(length, low) if low is not None else None
        above = pc.greater(length, high) if high is not None else None
        return below if above is None else above if below is None else pc.or_(below, above)

    return _broken_rows(values, broken)


def _broken_rows(values: pa.ChunkedArray, broken: Callable[[pa.Array], pa.Array]) -> Rows:
    """Return the rows that `broken` marks. `broken` takes a block of values, and returns a mask.

    If a block of text repeats its values, each distinct text is tested only once, because testing a text takes longer
    than finding equal texts.
    """
    found: list[Rows] = []
    start = 0
    encode = is_text(values.type)
    for chunk in values.chunks:
        for at in range(0, len(chunk), TEXT_BLOCK):
            block = chunk.slice(at, TEXT_BLOCK)
            if encode:
                block = block.dictionary_encode()
                encode = len(block.dictionary) * 4 < len(block) or len(block) < BLOCK
            if pa.types.is_dictionary(block.type):
                words = _true(broken(_plain(block.dictionary)))
                if not words.any():
                    continue
                mask = words[pc.fill_null(block.indices, 0).to_numpy(zero_copy_only=False)]
            else:
                mask = _true(broken(_plain(block)))
                if not mask.any():
                    continue
            there = valid(block, 0, len(block))
            _note(found, mask, there, start + at)
        start += len(chunk)
    return _joined(found)


def _plain(block: pa.Array) -> pa.Array:
    return block.cast(pa.large_string()) if pa.types.is_string_view(block.type) else block


def _true(mask: pa.Array) -> Rows:
    told: Rows = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return told
