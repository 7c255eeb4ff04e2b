"""Files that people fill in with labels: written for a spreadsheet or a script, and read back with people's changes.

Each line has an `id`, the columns to look at, and a `label` to fill in. The person is named by `annotator`, or else by
the file's name.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import SourceError
from headrace.spec.noun import Noun

ID, LABEL, ANNOTATOR = "id", "label", "annotator"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The first characters of a cell that a spreadsheet takes for a formula (OWASP, "CSV injection")."""
LONGEST_SHOWN = 200
LONGEST_FIELD = 1 << 30


class Given(Noun, frozen=True):
    """A label that a person gave, with its file and line."""

    id: str
    label: str
    annotator: str
    file: str
    line: int


class Malformed(Noun, frozen=True):
    """A line that can't be used, and the reason."""

    file: str
    line: int
    reason: str
    content: str


class Sheet(Noun, frozen=True):
    """The content of a file of labels.

    `unfilled` is the number of lines without a label, and `foreign` the number of lines that were read as Windows-1252.
    """

    given: tuple[Given, ...]
    malformed: tuple[Malformed, ...]
    unfilled: int
    foreign: int


def id_of(values: Sequence[Any]) -> str:
    """Return an id of a row that depends on its values only, so it stays the same when the table is sorted or grows.

    >>> id_of(["a fine film"])
    'fb52a29dcb8e1069'
    """
    text = json.dumps(values, ensure_ascii=False, default=str, separators=(",", ":"))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def is_own(name: str) -> bool:
    """Return whether a column is called `id`, `label` or `annotator`, in capital or small letters. In a file of labels,
    these names have a fixed meaning."""
    return name.strip().lower() in (ID, LABEL, ANNOTATOR)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a file for a spreadsheet. A cell that looks like a formula gets an apostrophe at its beginning."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([ID, *columns, LABEL])
        for row in rows:
            writer.writerow([_cell(row[ID]), *(_cell(row[name]) for name in columns), ""])


def write_jsonl(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a file for a script: a JSON object per line, with a `label` of null."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            line = {ID: row[ID], **{name: row[name] for name in columns}, LABEL: None}
            file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _bare(cell: str) -> str:
    """Return an id without the apostrophe that `_cell` added."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def read_sheets(paths: Sequence[Path]) -> list[Sheet]:
    """Return the contents of the filled-in files: CSV (comma, semicolon or tab) or JSON Lines, by their suffix.

    The annotator is the line's `annotator`, or else the file's name without its suffix. If several files have the same
    name, the annotators of the second, third and later ones are `name[1]`, `name[2]` and so on.

    Raises:
        SourceError: a file has another suffix, or isn't a file of labels.
    """
    seen: Counter[str] = Counter()
    sheets = []
    for path in paths:
        name = path.stem if not seen[path.stem] else f"{path.stem}[{seen[path.stem]}]"
        seen[path.stem] += 1
        sheets.append(_read(path, name))
    return sheets


def _read(path: Path, annotator: str) -> Sheet:
    try:
        text, foreign = decode(path.read_bytes())
    except OSError as error:
        raise SourceError(f"`{path.name}` can't be read: {error.strerror}", hint="give a file of labels") from error
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        lines = _json_lines(text, path.name)
    elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
        lines = _csv_lines(text, path.name)
    else:
        raise SourceError(f"`{path.name}` is not a file of labels", hint="its name must end in .csv, .tsv or .jsonl")
    given: list[Given] = []
    malformed: list[Malformed] = []
    unfilled = 0
    for line, row, problem in lines:
        if problem:
            malformed.append(Malformed(file=path.name, line=line, reason=problem, content=_shown(row)))
            continue
        name, label = _text(row.get(ID)), _text(row.get(LABEL))
        if not name:
            malformed.append(Malformed(file=path.name, line=line, reason="it has no id", content=_shown(row)))
        elif not label:
            unfilled += 1
        else:
            who = _text(row.get(ANNOTATOR)) or annotator
            given.append(Given(id=name, label=label, annotator=who, file=path.name, line=line))
    return Sheet(given=tuple(given), malformed=tuple(malformed), unfilled=unfilled, foreign=foreign)


def decode(data: bytes) -> tuple[str, int]:
    """Return a file's text, and the number of its lines that weren't UTF-8 and were read as Windows-1252.

    Spreadsheets save files as UTF-8 with a byte order mark, as UTF-16 or as Windows-1252. A file that was pasted
    together may have several encodings.

    >>> decode("naïf\\n".encode() + "naïf\\n".encode("cp1252"))
    ('naïf\\nnaïf\\n', 1)
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), 0
    lines, foreign = [], 0
    for line in data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            foreign += 1
            lines.append(line.decode("cp1252", errors="replace"))
    return "".join(lines), foreign


def _csv_lines(text: str, name: str) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Yield the lines below the header: the line's number, its cells, and what is wrong with the line (an empty text if
    it is right)."""
    with _long_fields():
        delimiter, header = _header(text, name)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        next(reader)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield reader.line_num, {}, f"it isn't CSV: {error}"
                continue
            row = dict(zip(header, cells, strict=False))
            row |= {ID: _bare(row[ID])} if ID in row else {}
            if cells and len(cells) != len(header):
                yield reader.line_num, row, f"it has {len(cells)} cells, and the header has {len(header)}"
            elif any(cells):
                yield reader.line_num, row, ""


def _header(text: str, name: str) -> tuple[str, list[str]]:
    first = text.split("\n", 1)[0].rstrip("\r")
    found: list[str] = []
    for delimiter in (",", ";", "\t"):
        cells = next(csv.reader([first], delimiter=delimiter), [])
        header = [cell.strip().lower() if is_own(cell) else cell for cell in cells]
        if ID in header and LABEL in header:
            return delimiter, header
        found = max(found, cells, key=len)
    there = ", ".join(map(repr, found)) or "nothing"
    raise SourceError(
        f"`{name}` has no columns `{ID}` and `{LABEL}`; its first line has {there:.{LONGEST_SHOWN}}",
        hint="fill in the `label` of a file that `to_label` wrote, and keep its first line",
    )


@contextmanager
def _long_fields() -> Iterator[None]:
    """Allow cells longer than 128 KiB while the context is open."""
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _json_lines(text: str, name: str) -> Iterator[tuple[int, dict[str, Any], str]]:
    some = False
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            yield number, {"": line}, f"it isn't JSON: {error}"
            continue
        if not isinstance(row, dict):
            yield number, {"": line}, "it isn't a JSON object"
            continue
        some = some or LABEL in row
        yield number, row, ""
    if not some:
        raise SourceError(
            f"no line of `{name}` has a `{LABEL}`", hint="fill in the `label` of a file that `to_label` wrote"
        )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _shown(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."
