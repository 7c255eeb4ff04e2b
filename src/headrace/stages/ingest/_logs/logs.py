"""`ingest.logs`: reads the lines of logs as a table, each line once, however the logs are rotated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from blake3 import blake3

from headrace.codec.joined import Joined
from headrace.define.argument_check import held_to_types
from headrace.define.attempt import attempt
from headrace.define.cursor import Cursor, advance
from headrace.define.cursor import cursor as cursor_named
from headrace.define.log import warn
from headrace.define.ports import current
from headrace.define.stage import ready
from headrace.errors import DefinitionError, SourceError, meant
from headrace.spec.report import Fact, Grid, Report
from headrace.stages.ingest._check.finding import share
from headrace.stages.ingest._files.formats import Pairs, schema_of
from headrace.stages.ingest._files.locations import Local, Look, cursor_name_of
from headrace.stages.ingest._files.texts import check_encoding, line_bytes_of
from headrace.stages.ingest._logs.events import Event, batches, lines, together
from headrace.stages.ingest._logs.patterns import Format, check_times, columns_of, fields_of, parser_of
from headrace.stages.ingest._logs.regex import Linear
from headrace.stages.ingest._logs.rotation import Broken, Known, Log, Moving, assigned
from headrace.stages.ingest._logs.table import LogTable, extended

PASSES = 5
"""How many times all logs are read if one is renamed or truncated during each reading. After the last reading, the task
fails."""

FORGOTTEN = 1000
"""The cursor remembers at most this many logs that no longer exist, because such a log may come back as a packed
file."""

_decode_known = msgspec.json.Decoder(list[Known]).decode


class Logs(NamedTuple):
    """The result of reading logs: the rows, the refused lines (`file`, `line`, `text`, `why`), and a report."""

    rows: pa.Table
    quarantine: pa.Table
    report: Report


class Lines(NamedTuple):
    """The settings for reading lines."""

    form: str | None
    pattern: str | None
    multiline: str | None
    schema: pa.Schema | None
    times: dict[str, str]
    encoding: tuple[str, ...]
    line_bytes: int
    file_column: str | None
    line_column: str | None


@held_to_types("ingest.logs", apart=("schema",))
def logs(
    files: str,
    *,
    format: Format | None = None,
    pattern: str | None = None,
    multiline: str | None = None,
    schema: pa.Schema | Pairs | None = None,
    times: Mapping[str, str] | None = None,
    new_only: bool = False,
    cursor: str | None = None,
    encoding: str | Sequence[str] = "utf-8",
    line_mib: float = 1,
    file_column: str | None = None,
    line_column: str | None = None,
    links: bool = False,
) -> Logs:
    r"""Read a folder of logs, and return all lines read so far as rows, each line once.

    Logs may be renamed, copied, truncated or packed (`.gz`, `.bz2`, `.xz`, `.zst`), between two runs or while they are
    read. A cursor recognizes each log by its content, and remembers how far it has been read. A last line without a
    line break is left for the next run.

    Args:
        files: a pattern of paths that also matches rotated logs, such as `logs/app*.log*`, relative to the project's
            folder or absolute.
        format: the format of a line. `"json"`: an object. `"logfmt"`: `key=value`. `"combined"`: the access log of
            Apache and nginx. None: `pattern` describes the line. Without `format` and `pattern`, each line is a text in
            the column `line`.
        pattern: a regular expression with a named group for each column, in place of `format`. It must match the whole
            line. It is matched by RE2 in time proportional to the line's length. RE2 has no look-around and no back
            references, and its `\d`, `\w` and `\s` match only ASCII.
        multiline: a regular expression that matches the first line of an event of several lines. The last event of a
            log is left for a later run, because its lines may not be complete until the next event begins. None: each
            line is an event.
        schema: the types of columns, as a schema or as pairs of a name and a type. Other columns are text, or have the
            types found in JSON.
        times: the names of columns that are times, each with its format as for `strptime`.
        new_only: return only the lines that are new since the last run that succeeded.
        cursor: the name of the cursor that remembers what was read. None: made from the pattern and all options. If the
            options change, this name changes too, so all logs that still exist are read from the beginning.
        encoding: the encoding of the text, or several to try in turn. A line that isn't valid in any of them goes to
            the quarantine.
        line_mib: the longest line (or event) allowed, in MiB. A longer line is cut and goes to the quarantine.
        file_column: the name of a column to add, with the file that a row was read from. None: no such column.
        line_column: the name of a column to add, with the number of the line in its log, from 1. None: no such column.
        links: whether symbolic links may lead out of the pattern's folder.

    Raises:
        DefinitionError: an argument is wrong, or two don't go together.
        SourceError: the logs can't be read.
    """
    look = Look(pattern=files, links=links)
    if look.is_remote:
        raise DefinitionError(
            "`ingest.logs` reads local folders only", hint="to read files in a bucket, use `ingest.files`"
        )
    parser_of(format, pattern, times or {})
    if multiline is not None:
        Linear(multiline, "multiline")
    check_times(times or {})
    typed = schema_of(schema)
    _check_columns(columns_of(format, pattern), typed, times or (), (file_column, line_column))
    names = (encoding,) if isinstance(encoding, str) else tuple(encoding)
    _check_encodings(names)
    how = Lines(
        format,
        pattern,
        multiline,
        typed,
        dict(times or {}),
        names,
        line_bytes_of(line_mib),
        file_column,
        line_column,
    )
    told = f"{files} {how} {new_only}"
    known = cursor_named(cursor or cursor_name_of("logs", files, told, once=new_only))
    return read(look, logs_version(look), known, how=how, new_only=new_only)


def _check_columns(
    told: Sequence[str] | None, typed: pa.Schema | None, times: Iterable[str], own: Iterable[str | None]
) -> None:
    """Check the names of columns; `told` are the columns of a line, or None if each line names its own columns.

    Raises:
        DefinitionError: two columns would have the same name, or `schema` or `times` names a column that no line has.
    """
    named = [each for each in own if each is not None]
    if twice := [each for each in named if each in (told or ()) or named.count(each) > 1]:
        raise DefinitionError(
            f"two columns would be called `{twice[0]}`", hint="give another name for `file_column` or `line_column`"
        )
    if told is None:
        return
    _known_columns("schema", () if typed is None else typed.names, [*told, *named])
    _known_columns("times", times, told)


def _check_encodings(names: Sequence[str]) -> None:
    if not names:
        raise DefinitionError("`encoding` is empty", hint='write "utf-8", or leave it out')
    for each in names:
        check_encoding(each)
        if "\n".encode(each) != b"\n":
            raise DefinitionError(f"logs in `{each}` can't be split into lines", hint="write them as UTF-8")


def _known_columns(parameter: str, named: Iterable[str], columns: Sequence[str]) -> None:
    """Raise DefinitionError if the argument `parameter` names a column that isn't in `columns`."""
    for name in named:
        if name not in columns:
            hint = meant(name, columns, f"there are {', '.join(columns)}")
            raise DefinitionError(f"`{parameter}` names `{name}`, and lines have no such column", hint=hint)


@ready("ingest.logs.version", version=1, kind="ingest", cache=False)
def logs_version(look: Look) -> str:
    """Return a digest of the paths and the stamps of all logs that match a pattern."""
    return _version((each.path, each.stamp) for each in Local(look).files())


@ready("ingest.logs", version=5, on=("pyarrow",), kind="ingest", name="logs")
def read(look: Look, version: str, known: Cursor, *, how: Lines, new_only: bool) -> Logs:
    """Read the new lines of the logs. Return all earlier lines and the new lines, or only the new lines if
    `new_only`."""
    state = known.value or {"known": "[]", "rows": [], "quarantine": []}
    before = _decode_known(state["known"])
    place = Local(look)
    excluded: dict[str, str] = {}
    moved = 0
    while True:
        reading = _Reading(how, state["rows"][-1].schema if state["rows"] else None)
        try:
            after = reading.all(place, before, excluded)
            break
        except Broken as broken:
            excluded[broken.path] = broken.why
        except Moving as moving:
            moved += 1
            if moved == PASSES:
                raise SourceError(
                    f"`{moving}` was moved or truncated, {PASSES} times over, before it was read", hint="run again"
                ) from moving
    if reading.version != version:
        attempt().saw(version=reading.version)
    rows, quarantine = reading.rows.table(), reading.quarantine.table()
    old_rows, old_quarantine = ([], []) if new_only else (list(state["rows"]), list(state["quarantine"]))
    rows_parts, quarantine_parts = extended(old_rows, rows), extended(old_quarantine, quarantine)
    if set(after) != set(before):
        advance(
            known,
            {
                "known": msgspec.json.encode(after).decode(),
                "rows": [rows_parts[-1].schema.empty_table()] if new_only else rows_parts,
                "quarantine": [] if new_only else quarantine_parts,
            },
        )
    _warn(look.pattern, "lines" if how.multiline is None else "events", rows_parts, quarantine_parts)
    report = reading.report(look.pattern, rows.num_rows, quarantine)
    return Logs(_whole(rows_parts), _whole(quarantine_parts), report)


def _warn(pattern: str, what: str, rows: Sequence[pa.Table], quarantine: Sequence[pa.Table]) -> None:
    """Warn of lines or events that are in quarantine, with the most frequent reasons."""
    reasons = pa.concat_tables(quarantine)["why"]
    if len(reasons):
        part = f"{len(reasons):,} of {(total := len(reasons) + sum(map(len, rows))):,} {what}"
        warn(f"logs `{pattern}`: {part} ({share(len(reasons), total)}) are in quarantine: {_counted(reasons)}")


def _counted(reasons: pa.ChunkedArray) -> str:
    """Return the three most frequent reasons, each with its count."""
    counts = sorted(reasons.value_counts().to_pylist(), key=lambda each: -each["counts"])
    return "; ".join(f"{each['counts']:,} x {each['values']}" for each in counts[:3])


class _Reading:
    """One pass over all logs."""

    def __init__(self, how: Lines, before: pa.Schema | None) -> None:
        more = [
            pa.field(name, kind)
            for name, kind in ((how.file_column, pa.string()), (how.line_column, pa.int64()))
            if name is not None
        ]
        self._how = how
        self._parse = parser_of(how.form, how.pattern, how.times)
        self._begins = None if how.multiline is None else Linear(how.multiline, "multiline").begins
        self.rows = LogTable(how.schema, more, before, fields_of(how.form, how.pattern, how.times))
        self.quarantine = LogTable(QUARANTINE)
        self._has_columns = how.schema is not None or bool(before is not None and before.names)
        self._grid: list[tuple[str, int, int, str]] = []
        self._bytes = 0
        self.version = ""

    def all(self, place: Local, before: Sequence[Known], excluded: Mapping[str, str]) -> list[Known]:
        """Read the new lines of all logs except those in `excluded`, and return how far each log has now been read."""
        self._grid = [(path, 0, 0, f"can't be unpacked yet: {why}") for path, why in excluded.items()]
        opened: list[Log] = []
        try:
            for path in self._paths(place):
                if path not in excluded:
                    opened.append(Log(path, place.real(path)))  # noqa: PERF401  if one fails, those opened before are closed
            self.version = _version([*((log.path, log.stamp) for log in opened), *_stamps(place, excluded)])
            pairs = assigned(opened, before)
            after = [self._one(log, known) for log, known in pairs]
        finally:
            for log in opened:
                log.close()
        gone = [each for each in before if all(each is not known for _, known in pairs)]
        return [*gone[-FORGOTTEN:], *(each for each in after if each is not None)]

    def _paths(self, place: Local) -> list[str]:
        paths = place.paths()
        if not paths and not self._has_columns:
            raise SourceError(
                f"no log fits `{place.shown}`",
                hint="correct the pattern; if there may be no logs, `schema=` gives a table without rows",
            )
        return paths

    def _one(self, log: Log, known: Known | None) -> Known | None:
        """Read the new lines of a log, and return how far it has been read; None if nothing has been read of it."""
        if known is not None and log.is_unchanged(known):
            return known
        offset, line = (0, 0) if known is None else (known.offset, known.line)
        log.go(offset)
        taken, bad = self.rows.count, self.quarantine.count
        began = offset
        for batch in batches(self._events(log, offset, line + 1)):
            self._take(batch, log.path)
            offset, line = batch[-1].end, batch[-1].last
        if not log.is_as_it_was():
            raise Moving(log.path)
        self._bytes += offset - began
        self._grid.append((log.path, self.rows.count - taken, self.quarantine.count - bad, ""))
        if offset == 0:
            return None
        return log.known(offset, line)

    def _events(self, log: Log, offset: int, line: int) -> Iterator[Event]:
        limit = self._how.line_bytes
        found = lines(log.read, offset=offset, line=line, limit=limit, final=log.packed)
        return found if self._begins is None else together(found, self._begins, limit=limit, final=log.packed)

    def _take(self, events: Sequence[Event], path: str) -> None:
        """Add each line to the rows. If a line can't be used, add it to the quarantine, with the reason."""
        read = [self._read(each) for each in events if each.long or not (not each.data or each.data.isspace())]
        parsed = iter(self._parse([text for _, text, why in read if not why]))
        for event, _, why in read:
            row = why or next(parsed)
            if isinstance(row, str):
                self._refuse(event, path, row)
                continue
            for name, value in ((self._how.file_column, path), (self._how.line_column, event.line)):
                if name is not None and name in row:
                    raise SourceError(
                        f"`{path}` has a column `{name}` of its own",
                        hint="give another name for `file_column` or `line_column`",
                    )
                if name is not None:
                    row[name] = value
            if (misfit := self.rows.add(row)) is not None:
                self._refuse(event, path, misfit)

    def _read(self, event: Event) -> tuple[Event, str, str]:
        """Return an event, its text, and an empty reason. If the event is too long or can't be decoded, the text is
        empty, and the reason says why."""
        if event.long:
            limit = self._how.line_bytes / 2**20
            return event, "", f"it is {event.long:,} bytes long, over the limit of {limit:,.3g} MiB"
        text, why = self._decoded(event.data)
        return event, text or "", why

    def _decoded(self, data: bytes) -> tuple[str | None, str]:
        why = ""
        for name in self._how.encoding:
            try:
                return data.decode(name), ""
            except UnicodeDecodeError as error:
                why = why or f"byte {error.start} of it (0x{data[error.start]:02x}) is no {name.upper()}"
        return None, why

    def _refuse(self, event: Event, path: str, why: str) -> None:
        text = event.data[:1000].decode("utf-8", "replace")
        self.quarantine.add({"file": path, "line": event.line, "text": text, "why": why})

    def report(self, pattern: str, rows: int, quarantine: pa.Table) -> Report:
        """Return a report of what was read."""
        examples = quarantine.slice(0, 5).to_pylist()
        grids = [
            Grid(title="Files read", columns=("file", "rows", "quarantined", "note"), rows=tuple(self._grid[:100])),
        ]
        if examples:
            grids.append(
                Grid(
                    title="Quarantined, for example",
                    columns=("file", "line", "text", "why"),
                    rows=tuple((e["file"], e["line"], e["text"][:120], e["why"]) for e in examples),
                    note=_counted(quarantine["why"]),
                )
            )
        return Report(
            title=f"Logs `{pattern}`",
            about=f"{rows:,} new rows; files with something new: {len(self._grid):,}.",
            facts=(
                Fact(name="rows", value=rows, unit="rows"),
                Fact(name="quarantined", value=quarantine.num_rows, unit="rows", better="lower"),
                Fact(name="bytes", value=self._bytes, unit="B"),
            ),
            grids=tuple(grids),
            limits=("Lines that were truncated before a run could read them are missing.",),
        )


QUARANTINE = pa.schema([("file", pa.string()), ("line", pa.int64()), ("text", pa.string()), ("why", pa.string())])


def _version(files: Iterable[tuple[str, str]]) -> str:
    return blake3("\n".join(sorted(f"{path} {stamp}" for path, stamp in files)).encode()).hexdigest()


def _stamps(place: Local, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((path, place.stamp(path)) for path in paths)


def _whole(parts: Sequence[pa.Table]) -> Any:
    whole = Joined(parts)
    return whole.table if current() is None else whole
