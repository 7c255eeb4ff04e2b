"""The votes of labelling functions on every row, as a matrix."""

from __future__ import annotations

import functools
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa

from headrace.errors import DefinitionError, UsageError
from headrace.spec.noun import Noun

Label = str | int | bool
LabellingFunction = Callable[[Any], Any]
ABSTAINS = -1
BATCH_ROWS = 2048
MOST_CLASSES = 100


class Votes(Noun, frozen=True):
    """The vote of each function on each row.

    `codes` is an int8 array of rows by functions: the position of the label in `classes`, or -1 where the function
    abstained.
    """

    names: tuple[str, ...]
    classes: tuple[Label, ...]
    codes: np.ndarray[Any, np.dtype[np.int8]]


def ask(table: pa.Table, functions: Sequence[LabellingFunction], classes: Sequence[Label] | None) -> Votes:
    """Return the votes of every function on every row.

    The labels are those of `classes`, or else all labels that a function returned, sorted. A function takes a row (a
    dictionary from column to value) and returns a label or None. If its parameter is annotated `pa.RecordBatch`, it
    takes a batch, and returns a label or None for each of its rows.

    Raises:
        DefinitionError: there is no function.
        UsageError: a function raised, or returned something that isn't a label. The error names the row.
    """
    if not functions:
        raise no_functions()
    names = named(functions)
    given = checked(classes) if classes is not None else None
    said: list[list[Any]] = [[] for _ in functions]
    wants_batch = [_wants_batch(each) for each in functions]
    row_wise = not all(wants_batch)
    for start, batch in _batches(table):
        rows = batch.to_pylist() if row_wise else []
        for place, function in enumerate(functions):
            if wants_batch[place]:
                votes = _of_batch(function, names[place], batch, start)
            else:
                votes = _of_rows(function, names[place], rows, start)
            said[place] += votes
    found = given if given is not None else _found(said, names)
    if len(found) > MOST_CLASSES:
        raise UsageError(
            f"labelling functions gave {len(found)} different labels, among them {list(found[:3])!r}",
            hint=f"a label stands for a class, and there may be at most {MOST_CLASSES} classes",
        )
    codes = np.full((table.num_rows, len(functions)), ABSTAINS, dtype=np.int8)
    place_of = {(type(label), label): code for code, label in enumerate(found)}
    for place, votes in enumerate(said):
        for row, vote in enumerate(votes):
            if vote is not None:
                codes[row, place] = _code(place_of, vote, names[place], row, found)
    return Votes(names=names, classes=found, codes=codes)


def no_functions() -> DefinitionError:
    """Return the error for a call without labelling functions."""
    return DefinitionError("`label` needs labelling functions", hint="give `functions=[...]`, one is enough to begin")


def named(functions: Sequence[LabellingFunction]) -> tuple[str, ...]:
    """Return the names of functions for reports. The name of a `partial` includes its arguments.

    If several functions have the same name, a number is added to each of these names.
    """
    plain = [_name(each) for each in functions]
    many = {name for name, count in Counter(plain).items() if count > 1}
    seen: Counter[str] = Counter()
    names = []
    for name in plain:
        names.append(f"{name}[{seen[name]}]" if name in many else name)
        seen[name] += 1
    return tuple(names)


def _name(function: LabellingFunction) -> str:
    if isinstance(function, functools.partial):
        held = [repr(each) for each in function.args] + [f"{key}={value!r}" for key, value in function.keywords.items()]
        text = ", ".join(held)
        return f"{_name(function.func)}({text if len(text) <= 40 else text[:37] + '...'})"
    return str(getattr(function, "__name__", type(function).__name__))


def _wants_batch(function: LabellingFunction) -> bool:
    plain = function
    while isinstance(plain, functools.partial):
        plain = plain.func
    try:
        hints = get_type_hints(plain if hasattr(plain, "__name__") else type(plain).__call__)
    except (NameError, TypeError):
        return False
    hints.pop("return", None)
    return pa.RecordBatch in hints.values()


def _batches(table: pa.Table) -> Iterator[tuple[int, pa.RecordBatch]]:
    start = 0
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        yield start, batch
        start += batch.num_rows


def _of_rows(function: LabellingFunction, name: str, rows: list[dict[str, Any]], start: int) -> list[Any]:
    votes = []
    for place, row in enumerate(rows):
        try:
            votes.append(function(row))
        except Exception as error:
            raise UsageError(
                f"labelling function `{name}` failed on row {start + place}: {_told(error)}",
                hint=f"that row begins {_shown(row)}; give None where a function can't tell",
            ) from error
    return votes


def _of_batch(function: LabellingFunction, name: str, batch: pa.RecordBatch, start: int) -> list[Any]:
    rows = f"rows {start} to {start + batch.num_rows - 1}"
    try:
        found = function(batch)
    except Exception as error:
        raise UsageError(
            f"labelling function `{name}` failed on {rows}: {_told(error)}",
            hint="give None for each row that a function can't tell",
        ) from error
    if not isinstance(found, Iterable) or isinstance(found, str | bytes | Mapping):
        raise UsageError(
            f"labelling function `{name}` returned {found!r:.80} for {rows}",
            hint="a function of batches gives one label, or None, for each row",
        )
    votes = found.to_pylist() if isinstance(found, pa.Array | pa.ChunkedArray) else list(found)
    if len(votes) != batch.num_rows:
        raise UsageError(
            f"labelling function `{name}` returned {len(votes)} votes for {batch.num_rows} rows ({rows})",
            hint="a function of batches gives one label, or None, for each row",
        )
    return votes


def _told(error: Exception) -> str:
    """Return an exception as one line, with the place in the user's file where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f" ({last.filename.rpartition('/')[2]}:{last.lineno})" if last is not None else ""
    return f"{type(error).__name__}: {error}{where}"


def _shown(row: dict[str, Any]) -> str:
    text = repr(row)
    return text if len(text) <= 160 else f"{text[:157]}..."


def _plain(vote: Any) -> Any:
    """Return a NumPy scalar as a Python value, and any other value as it is."""
    return vote.item() if isinstance(vote, np.generic) else vote


def _is_label(vote: Any) -> bool:
    """Return whether a value is a text, a boolean, or a whole number that fits into 64 bits."""
    return type(vote) in (str, bool) or (type(vote) is int and -(2**63) <= vote < 2**63)


def checked(classes: Sequence[Any]) -> tuple[Label, ...]:
    """Return the classes that a user named.

    Raises:
        DefinitionError: the classes are of several types, or one is named twice.
    """
    found = tuple(_plain(each) for each in classes)
    kinds = {type(each) for each in found}
    if len(kinds) != 1 or not all(map(_is_label, found)):
        raise DefinitionError(
            f"`classes` are {list(found)!r}",
            hint="give labels of one kind: all texts, all whole numbers, or all booleans",
        )
    if len(set(found)) != len(found):
        raise DefinitionError(f"`classes` name a label twice: {list(found)!r}", hint="name each label once")
    return found


def _found(said: list[list[Any]], names: tuple[str, ...]) -> tuple[Label, ...]:
    """Return all labels that the functions returned, sorted."""
    first: dict[type, tuple[str, int, Any]] = {}
    labels: set[Any] = set()
    for place, votes in enumerate(said):
        for row, vote in enumerate(votes):
            vote = _plain(vote)
            if vote is None:
                continue
            if not _is_label(vote):
                raise UsageError(
                    f"labelling function `{names[place]}` returned {vote!r} for row {row}, which is not a label",
                    hint="labels are texts, whole numbers or booleans; None where it can't tell",
                )
            first.setdefault(type(vote), (names[place], row, vote))
            labels.add(vote)
    if len(first) > 1:
        told = " and ".join(f"{vote!r} (`{name}`, row {row})" for name, row, vote in first.values())
        raise UsageError(
            f"labelling functions gave labels of several kinds: {told}", hint="let all of them give labels of one kind"
        )
    return tuple(sorted(labels))


def _code(place_of: dict[Any, int], vote: Any, name: str, row: int, classes: tuple[Label, ...]) -> int:
    vote = _plain(vote)
    try:
        return place_of[type(vote), vote]
    except (KeyError, TypeError):
        raise UsageError(
            f"labelling function `{name}` returned {vote!r} for row {row}, which is none of {list(classes)!r}",
            hint="add it to `classes`, or let the function give None there",
        ) from None
