"""Turns the bodies of responses into rows: JSON, JSON Lines, CSV, Parquet and Arrow."""

from __future__ import annotations

import codecs
import re
from typing import Any, Literal

import msgspec
import pyarrow as pa

from headrace.errors import DefinitionError, SourceError
from headrace.spec.noun import UNREADABLE, Noun
from headrace.stages.ingest._files.formats import Source, read_table, unify
from headrace.stages.ingest._http.answer import Answer
from headrace.stages.ingest._http.pages import find
from headrace.stages.ingest._http.urls import shown

Format = Literal["json", "jsonl", "csv", "parquet", "arrow"]
FORMATS = ("json", "jsonl", "csv", "parquet", "arrow")

_decode = msgspec.json.Decoder().decode
_encode_lines = msgspec.json.Encoder().encode_lines
_TITLE = re.compile(rb"<title[^>]{0,100}>([^<]{0,300})", re.IGNORECASE | re.DOTALL)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;\"']+)", re.IGNORECASE)
_CHARSETS = re.compile(
    r"ascii|utf[-_](8|16|32)(-sig|[-_][bl]e)?|latin[-_]?1|iso8859[-_]\d+|cp\d+|koi8[-_][rtu]|mac[-_]\w+|gb\d+|gbk|big5\w*"
    r"|euc[-_]\w+|shift[-_]jis\w*|iso2022[-_]\w+|johab|hz|ptcp154|tis[-_]620|kz1048"
)
"""Encodings of text, by Python's names.

Python's other codecs (`punycode`, `unicode_escape`, `idna`) aren't for text, and some take time that grows with the
square of the text's length.
"""
_PLACE = re.compile(r"\(byte (\d+)\)")
_NO_NUMBER = re.compile(rb"NaN|Infinity")
_NEVER = ("image/", "video/", "audio/", "font/", "application/pdf")


class Body(Noun, frozen=True):
    """The body of one page.

    `data` has the rows as bytes (JSON as JSON Lines), and `rows` is their number (-1: not counted yet). For JSON,
    `said` is the decoded body, and `items` are the decoded rows. `doubt` is a warning to log, or an empty text.
    """

    data: bytes
    rows: int
    said: Any = None
    items: tuple[Any, ...] = ()
    doubt: str = ""


def check_format(name: str) -> None:
    """Raise DefinitionError if there is no reader for a format."""
    if name not in FORMATS:
        raise DefinitionError(f"format={name!r} is not known", hint=f"give one of {', '.join(FORMATS)}")


def open_body(answer: Answer, form: str, rows: str | None) -> Body:
    """Return the body of a page, split into rows if it is JSON.

    `rows` is the path of the list of rows in the JSON. None: the JSON itself is the list.

    Raises:
        SourceError: the body isn't in the format `form`, or has no list of rows at the path `rows`.
    """
    kind, _, rest = answer.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    _refuse_other(answer, kind, form)
    data = _text(answer, rest) if form in ("json", "jsonl", "csv") else answer.body
    if form != "json":
        return Body(data=data, rows=-1)
    if not data.strip():
        raise SourceError(
            f"`{shown(answer.url)}` sent an empty answer, not `json`", hint="see the service's documentation"
        )
    try:
        said = _decode(data)
    except UNREADABLE as error:
        if number := _number_at(error, data):
            raise SourceError(
                f"`{shown(answer.url)}` answered with a number `{number}`, which JSON doesn't have: {error}",
                hint="ask its operator to send null in its place, or read another format of the service by `format=`",
            ) from error
        raise SourceError(
            f"the answer of `{shown(answer.url)}` isn't JSON{f' ({kind})' if kind else ''}: {error}",
            hint='say which format it has: `format="jsonl"`, `"csv"`, `"parquet"` or `"arrow"`',
        ) from error
    items = _rows(said, rows, answer)
    return Body(
        data=_encode_lines(items), rows=len(items), said=said, items=tuple(items), doubt=_doubt(said, rows, answer)
    )


def _number_at(error: Exception, data: bytes) -> str:
    """Return `NaN` or `Infinity` if decoding JSON failed at this word; otherwise return an empty text."""
    place = _PLACE.search(str(error))
    found = _NO_NUMBER.match(data, int(place[1])) if place else None
    return found[0].decode() if found else ""


def table_of(pages: list[bytes], form: str, schema: pa.Schema | None, url: str) -> pa.Table:
    """Return all pages as one table. The columns' types are found from all pages.

    Raises:
        SourceError: a column changes its type from one row or page to another.
    """
    if form == "json":
        pages, form = [b"".join(pages)], "jsonl"
    tables = []
    for number, data in enumerate(pages, start=1):
        name = f"{shown(url)}" + (f", page {number}" if len(pages) > 1 else "")
        tables.append((name, read_table(Source.of_bytes(name, data), form, schema=schema)))
    return pa.concat_tables(unify(tables, schema=schema, promote="default")) if tables else pa.table({})


def _text(answer: Answer, told: str) -> bytes:
    """Return a body as UTF-8, without a byte order mark; `told` are the parameters of the `Content-Type` header."""
    found = _CHARSET.search(told)
    name = found[1] if found else "utf-8"
    data = answer.body.removeprefix(b"\xef\xbb\xbf")
    try:
        known = codecs.lookup(name).name
        if not _CHARSETS.fullmatch(known):
            raise LookupError("that is not an encoding of texts")
        return data if known == "utf-8" else data.decode(known).encode()
    except (LookupError, UnicodeError) as error:
        raise SourceError(
            f"`{shown(answer.url)}` says that its answer is in `{name}`, but it isn't: {error}",
            hint="tell its operator",
        ) from error


def _refuse_other(answer: Answer, kind: str, form: str) -> None:
    start = answer.body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if kind in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html")):
        title = _TITLE.search(answer.body[: 1 << 16])
        name = " ".join(title[1].decode("utf-8", "replace").split())[:80] if title else ""
        raise SourceError(
            f"`{shown(answer.url)}` answered with a page of HTML{f' (`{name}`)' if name else ''}, not with `{form}`",
            hint="it may be a sign-in or an error page: check the URL and `auth`",
        )
    if kind.startswith(_NEVER) or (form in ("json", "jsonl") and kind in ("text/xml", "application/xml")):
        raise SourceError(f"`{shown(answer.url)}` answered with `{kind}`, not with `{form}`", hint="check the URL")


def _rows(said: object, path: str | None, answer: Answer) -> list[Any]:
    found = said if not path else find(said, path)
    if isinstance(found, dict) and path is not None:
        found = [found]
    if isinstance(found, list):
        for number, row in enumerate(found):
            if not isinstance(row, dict):
                raise SourceError(
                    f"row {number} of `{shown(answer.url)}` isn't an object: {msgspec.json.encode(row)[:60].decode()}",
                    hint="give the path to a list of objects as `rows=`",
                )
        return found
    lists = [f'"{each}"' for each in _lists(said)]
    raise SourceError(
        f"`{shown(answer.url)}` has no list of rows" + (f" at `{path}`" if path else ""),
        hint=f"say where it is: `rows={' or '.join(lists[:3])}`" if lists else "say where it is by `rows`",
    )


def _doubt(said: object, path: str | None, answer: Answer) -> str:
    """Return a warning if the object at `path` was read as the only row, but the body also has lists that may be the
    rows. Otherwise return an empty text."""
    if not path or not isinstance(find(said, path), dict):
        return ""
    beside = [each for each in _lists(said) if not each.startswith(f"{path}.") and _has_objects(find(said, each))]
    if not beside:
        return ""
    lists = " or ".join(f'rows="{each}"' for each in beside[:3])
    return f"`{path}` of `{shown(answer.url)}` is one object, so it was taken for a single row; lists are at {lists}"


def _has_objects(values: Any) -> bool:
    return bool(values) and all(isinstance(each, dict) for each in values)


def _lists(said: object, prefix: str = "", depth: int = 0) -> list[str]:
    if not isinstance(said, dict) or depth > 3:
        return []
    found = []
    for name, value in said.items():
        if isinstance(value, list):
            found.append(f"{prefix}{name}")
        found += _lists(value, f"{prefix}{name}.", depth + 1)
    return found
