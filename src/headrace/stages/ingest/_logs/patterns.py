"""Parses the lines of logs: by a pattern with named groups, as JSON, as logfmt, or as access logs of web servers."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
import pyarrow as pa

from headrace.errors import DefinitionError
from headrace.spec.noun import UNREADABLE
from headrace.stages.ingest._logs.regex import Linear

Parse = Callable[[str], dict[str, Any]]
ParseAll = Callable[[list[str]], list[dict[str, Any] | str]]
Format = Literal["json", "logfmt", "combined"]

COMBINED = (
    r'(?P<host>\S+) (?P<ident>\S+) (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)"'
    r' (?P<status>\d{3}) (?P<size>\d+|-)(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)
"""Matches the log format `combined` of Apache and nginx, and `common`, which is the beginning of `combined`."""
COMBINED_COLUMNS = (
    *("host", "ident", "user", "time", "status", "size", "referer", "agent"),
    *("method", "path", "protocol"),
)
_COMBINED_TYPES = {"time": pa.timestamp("us", "UTC"), "status": pa.int64(), "size": pa.int64()}

EXACT = 2**53
"""The limit up to which a float can hold every whole number exactly."""

_TRUTHS = {"true": True, "false": False}
_PAIR = re.compile(r'\s*([^\s="]+)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?(?=\s|$)')
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def parser_of(form: str | None, pattern: str | None, times: Mapping[str, str]) -> ParseAll:
    """Return a function that parses lines. For each line it returns a row, or the reason why the line can't be parsed.

    Raises:
        DefinitionError: the format is unknown, or the pattern is wrong.
    """
    if form is not None and pattern is not None:
        raise DefinitionError("`format` and `pattern` are both given", hint="give one of them")
    if form is None and pattern is None:
        return lambda lines: [_told({"line": line}, times) for line in lines]
    if form is not None:
        if form not in _FORMATS:
            raise DefinitionError(f"format={form!r} is not known", hint=f"give one of {', '.join(_FORMATS)}")
        return _each(_FORMATS[form], times)
    assert pattern is not None
    linear = Linear(pattern, "pattern")
    if not linear.names:
        raise DefinitionError("`pattern` has no named groups", hint=r"name the columns: `(?P<level>\w+) (?P<text>.*)`")
    return lambda lines: [
        "it doesn't match the pattern" if row is None else _told(row, times) for row in linear.rows(lines)
    ]


def _each(parse: Parse, times: Mapping[str, str]) -> ParseAll:
    def one(line: str) -> dict[str, Any] | str:
        try:
            return _told(parse(line), times)
        except ValueError as error:
            return str(error)

    return lambda lines: [one(line) for line in lines]


def _told(row: dict[str, Any], times: Mapping[str, str]) -> dict[str, Any] | str:
    """Return a row with the columns in `times` parsed as times, or the reason why a time can't be parsed."""
    for name, form in times.items():
        if row.get(name) is not None:
            try:
                row[name] = datetime.strptime(row[name], form)  # noqa: DTZ007  the format says whether there is a time zone
            except (ValueError, TypeError):
                return f"column `{name}` is no time of the form `{form}`: {row[name]!r:.80}"
    return row


def check_times(times: Mapping[str, str]) -> None:
    """Check the formats of times.

    Raises:
        DefinitionError: `strptime` doesn't accept a format. The error names the column.
    """
    for name, form in times.items():
        try:
            datetime.strptime("", form)  # noqa: DTZ007  only the format is tested
        except ValueError as error:
            if "format" in str(error) and "does not match" not in str(error):
                raise DefinitionError(
                    f"`times` has {form!r} for `{name}`: {error}", hint='such as "%Y-%m-%d %H:%M:%S", as in strptime'
                ) from error


def columns_of(form: str | None, pattern: str | None) -> tuple[str, ...] | None:
    """Return the names of the columns that a format or a pattern gives, or None if each line names its own columns.

    >>> columns_of(None, r"(?P<level>\\w+) (?P<text>.*)"), columns_of("json", None)
    (('level', 'text'), None)
    """
    if pattern is not None:
        return Linear(pattern, "pattern").names
    return {None: ("line",), "combined": COMBINED_COLUMNS}.get(form)


def fields_of(form: str | None, pattern: str | None, times: Mapping[str, str]) -> list[pa.Field]:
    """Return the columns that a format or a pattern gives, with their types; the type of a column in `times` is `null`.

    The list is empty if each line names its own columns.

    >>> fields_of(None, None, {}), fields_of("json", None, {})
    ([pyarrow.Field<line: string>], [])
    """
    names = columns_of(form, pattern) or ()
    own = _COMBINED_TYPES if form == "combined" else {}
    return [pa.field(name, pa.null() if name in times else own.get(name, pa.string())) for name in names]


def _json(line: str) -> dict[str, Any]:
    try:
        found = _decode(line)
    except UNREADABLE as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _logfmt(line: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    line, at = line.rstrip(), 0
    while at < len(line):
        pair = _PAIR.match(line, at)
        if pair is None:
            raise ValueError(f"it is no logfmt at character {at + 1}")
        name, value = pair.groups()
        row[name] = _unquoted(value)
        at = pair.end()
    if all(value is None for value in row.values()):
        raise ValueError("it has no `key=value`, as logfmt has")
    return row


def _unquoted(value: str | None) -> str | None:
    if value is None or not value.startswith('"'):
        return value
    try:
        return str(_decode(value))
    except UNREADABLE:
        return value[1:-1]


_LINE = re.compile(COMBINED)


@functools.lru_cache(maxsize=4096)  # many lines have the same time
def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")
    except ValueError as error:
        raise ValueError(f"its time can't be read: {text!r:.80}") from error


def _combined(line: str) -> dict[str, Any]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("it doesn't match the pattern")
    row: dict[str, Any] = found.groupdict()
    time = _time(row["time"])
    words = row.pop("request").split(" ")
    method, path, protocol = words if len(words) == 3 else (None, " ".join(words), None)
    told = {name: None if value == "-" else value for name, value in row.items()}
    return {
        **told,
        "time": time,
        "method": method,
        "path": path,
        "protocol": protocol,
        "status": int(row["status"]),
        "size": None if row["size"] == "-" else int(row["size"]),
    }


_FORMATS: dict[str, Parse] = {"json": _json, "logfmt": _logfmt, "combined": _combined}


def type_of(values: list[Any]) -> pa.DataType:
    """Return the Arrow type of a column of these values, or text if their types differ or no type can hold them all.

    >>> type_of([1, None, 2.5]), type_of([1, "x"]), type_of([{"a": 1}])
    (DataType(double), DataType(string), DataType(string))
    """
    kinds = {type(each) for each in values} - {type(None)}
    if not kinds:
        return pa.null()
    if kinds == {bool}:
        return pa.bool_()
    if kinds <= {int, float}:
        most = 2**63 if kinds == {int} else EXACT
        if any(isinstance(each, int) and not -most <= each < most for each in values):
            return pa.string()
        return pa.int64() if kinds == {int} else pa.float64()
    if kinds == {datetime}:
        zoned = {each.tzinfo is not None for each in values if each is not None}
        return pa.timestamp("us", "UTC" if zoned == {True} else None) if len(zoned) == 1 else pa.string()
    return pa.string()


def fitted(value: Any, kind: pa.DataType) -> Any:
    """Return a value converted to a column's type; raise ValueError if it doesn't fit."""
    if value is None or pa.types.is_null(kind):
        return None
    if pa.types.is_string(kind):
        if isinstance(value, str):
            return value
        return str(value) if isinstance(value, datetime) else _encode(value).decode()
    if isinstance(value, datetime) and pa.types.is_timestamp(kind) and (value.tzinfo is None) == (kind.tz is None):
        return value
    if pa.types.is_boolean(kind):
        value = _TRUTHS.get(value, value) if isinstance(value, str) else value
        fits = isinstance(value, bool)
    elif isinstance(value, bool):
        fits = False
    elif pa.types.is_integer(kind):
        if isinstance(value, str):
            value = int(value)
        fits = isinstance(value, int) and _least(kind) <= value <= _least(kind) + 2**kind.bit_width - 1
    elif pa.types.is_floating(kind):
        if isinstance(value, str):
            value = float(value)
        fits = isinstance(value, float) or (isinstance(value, int) and -EXACT <= value < EXACT)
    else:
        try:
            return pa.scalar(value).cast(kind).as_py()
        except OverflowError as error:  # a whole number too large for Arrow
            raise ValueError(f"{value!r:.80}") from error
    if not fits:
        raise ValueError(f"{value!r:.80}")
    return value


def _least(kind: pa.DataType) -> int:
    return 0 if pa.types.is_unsigned_integer(kind) else -(2 ** (kind.bit_width - 1))
