"""The stages behind `ingest.sql`: the first asks for the source's version, the second reads all rows, and the third
reads new rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa
from msgspec.structs import replace

from headrace.codec.joined import Joined
from headrace.codec.later import Later, table_of
from headrace.define.attempt import attempt
from headrace.define.cursor import Cursor, advance
from headrace.define.log import warn
from headrace.define.stage import ready
from headrace.errors import SourceError
from headrace.spec.noun import Noun
from headrace.spec.redaction import masked
from headrace.spec.report import Fact, Report
from headrace.stages.ingest._sql.columns import check_columns, in_order
from headrace.stages.ingest._sql.opening import session, shown_of
from headrace.stages.ingest._sql.question import Question, differences, digest_of, question_of
from headrace.stages.ingest._sql.reading import behind, parts_of, since, version_of
from headrace.stages.ingest._sql.session import Session, dialect_of
from headrace.stages.ingest._sql.statement import Statement, check_given, parse
from headrace.stages.ingest._sql.watermark import ahead, begin, highest
from headrace.stages.tables.increment import Merged, check_keys, compacted, ends_of, merged, retyped
from headrace.stages.tables.parts import part_rows

Mode = Literal["table", "increment", "snapshot"]
OPTIONS_OF_SQL = ("version", "mode", "watermark", "key", "overlap", "cursor", "batch_rows", "driver", "url", "query")
_DRIVERS = ("adbc_driver_manager", "adbc_driver_sqlite", "adbc_driver_postgresql")


class Grown(NamedTuple):
    """All rows of a source, and the changes since the last read."""

    table: Any
    """All rows so far, each key once, in its latest version (`pyarrow.Table`)."""
    new: Any
    """The rows that this read added: rows with a new key, and rows whose values changed (`pyarrow.Table`)."""
    gone: Any
    """Rows that the source no longer has, as last read (`pyarrow.Table`). Empty unless `mode="snapshot"`."""
    report: Report
    """The numbers of rows read, new, changed and held."""


class Held(Noun, frozen=True):
    """The value of a cursor: the query, how far it has been read, and the rows so far."""

    question: str
    reached: Any
    parts: list[Any]
    """The rows so far, as `Later` values, or as tables if an earlier version of Headrace saved them."""
    ends: list[Any]
    """The lowest and the highest key of each part. Because of these keys, most parts needn't be opened if there are few
    new rows."""
    asked: Question | None = None
    """The query and its options; `question` is their digest. None if an earlier version of Headrace saved the cursor's
    value."""
    state: str | None = None
    """The source of the rows, its version at the last read, and the overlap of that read. None if an earlier version of
    Headrace saved the cursor's value."""


@ready("ingest.sql.version", version=1, on=_DRIVERS, kind="ingest", cache=False)
def sql_version(
    url: str,
    query: str,
    *,
    parameters: dict[str, Any],
    secrets: dict[str, str],
    probe: str | None = None,
    driver: str | None = None,
) -> str:
    """Return the version of the data that a query reads; if the database has no version, return a new text each
    time."""
    statement = _statement(url, query, driver, parameters)
    with session(url, secrets, driver, attempt().project) as opened:
        found = version_of(opened, statement, parameters, probe)
    return found or f"unknown, so new at {dt.datetime.now(dt.UTC).isoformat()}"


@ready("ingest.sql", version=1, on=_DRIVERS, kind="ingest", name="sql")
def read(
    url: str,
    query: str,
    *,
    version: str,
    parameters: dict[str, Any],
    secrets: dict[str, str],
    probe: str | None = None,
    driver: str | None = None,
    batch_rows: int | None = None,
) -> pa.Table:
    """Return a query's rows. `version` is the version that `sql_version` returned; the source may have changed
    since."""
    statement = _statement(url, query, driver, parameters)
    with session(url, secrets, driver, attempt().project) as opened:
        attempt().saw(version=version_of(opened, statement, parameters, probe) or version)
        parts = parts_of(opened, statement, parameters, rows=batch_rows)
    return _joined(parts)


@ready("ingest.sql.on", version=3, on=_DRIVERS, kind="ingest", name="sql")
def read_on(
    url: str,
    query: str,
    *,
    version: str,
    mode: Mode,
    watermark: str | None,
    key: list[str],
    overlap: str | float | None,
    cursor: Cursor,
    parameters: dict[str, Any],
    secrets: dict[str, str],
    probe: str | None = None,
    driver: str | None = None,
    batch_rows: int | None = None,
) -> Grown:
    """Return all rows of a query so far: the rows that the cursor holds, and the rows that are new or changed since the
    last read. In mode `snapshot`, return only the rows that the source still has."""
    statement = _statement(url, query, driver, parameters)
    question = statement, mode, watermark, key, parameters
    held = _held(cursor, digest_of(*question), question_of(*question))
    complete = mode == "snapshot"
    if held.parts and held.state == _state(url, probe, version, overlap):
        return _held_on(held, url, query, complete=complete)
    with session(url, secrets, driver, attempt().project) as opened:
        seen = version_of(opened, statement, parameters, probe) or version
        attempt().saw(version=seen)
        fresh, at_source = _fresh(opened, statement, parameters, held, cursor.name, watermark, overlap, batch_rows)
    held = replace(held, parts=retyped(held.parts, fresh[0].schema))
    like = _schema_of(held)
    check_columns(fresh[0].schema, like, key, watermark, cursor.name)
    check_keys(fresh, key)
    reached = held.reached
    if watermark is not None:
        marks = pa.concat_tables(fresh)[watermark]
        reached = highest(marks, reached, watermark)
        if reached is not None:
            begin(reached, overlap, watermark)  # raises if the next read couldn't start there
        if said := ahead(marks, watermark, now=dt.datetime.now(dt.UTC)):
            warn(said)
    result = merged(held.parts, fresh, key, complete=complete, ends=held.ends)
    schema = fresh[0].schema if like is None else like
    parts = compacted([*result.kept, *result.new], batch_rows or part_rows(schema))
    if result.new or result.gone or result.replaced:
        then = replace(held, reached=reached, state=_state(url, probe, seen, overlap))
        advance(cursor, _holding(then, parts, key))
    report = _report(url, query, fresh, parts, result, complete=complete, at_source=at_source)
    return _grown(schema, parts, result, report)


def _fresh(
    opened: Session,
    statement: Statement,
    values: dict[str, Any],
    held: Held,
    cursor: str,
    watermark: str | None,
    overlap: str | float | None,
    rows: int | None,
) -> tuple[list[Any], int | None]:
    """Return the source's rows whose watermark is null or is at least the last watermark minus `overlap`. Also return
    the number of rows with a lower watermark.

    If no watermark has been reached yet, return all rows and None.
    """
    like = _schema_of(held)
    if like is not None:
        statement = in_order(statement, opened.columns(statement, values, like.names), like.names, cursor)
    count = None
    if watermark is not None and held.reached is not None:
        mark = begin(held.reached, overlap, watermark)
        count = behind(opened, statement, values, watermark, mark)
        statement, values = since(opened, statement, values, watermark, mark)
    return parts_of(opened, statement, values, rows=rows, like=like), count


def _schema_of(held: Held) -> Any:
    """Return the schema of the rows that a cursor holds; None if the cursor holds no rows."""
    return table_of(held.parts[-1]).schema if held.parts else None


def _holding(held: Held, parts: list[Any], key: list[str]) -> Held:
    """Return the cursor's value `held` with `parts` in place of its parts. The lowest and the highest key are computed
    only for parts that weren't in `held` already."""
    known = {id(part): ends for part, ends in zip(held.parts, held.ends, strict=True)}
    ends = [known[id(each)] if id(each) in known else ends_of(each, key) for each in parts]
    return replace(held, parts=[each if isinstance(each, Later) else Later.of(each) for each in parts], ends=ends)


def _grown(schema: Any, parts: list[Any], result: Merged, report: Report) -> Grown:
    """Return the result of a read; a list without tables becomes a table without rows."""
    none = [pa.Table.from_batches([], schema)]
    return Grown(_joined(parts or none), _joined(result.new or none), _joined(result.gone or none), report)


def _state(url: str, probe: str | None, version: str, overlap: str | float | None) -> str:
    """Return a text of the source, its version and the overlap. If this text has changed since the last read, the
    source must be read again. A longer overlap finds more rows even if the version is the same."""
    state = masked(url), probe, version  # a URL holds the name of a secret, not its value
    return repr(state if overlap is None else (*state, overlap))


def _held_on(held: Held, url: str, query: str, *, complete: bool) -> Grown:
    """Return the rows that a cursor holds, without reading the source. This is the result if neither the source's
    version nor the overlap has changed since the last read. `complete` is True for mode `snapshot`."""
    nothing = Merged(kept=held.parts, new=[], gone=[], replaced=0, unchanged=0)
    report = _report(url, query, [], held.parts, nothing, complete=complete)
    unread = "The source's version is still the one that these rows were read from, so it was not read again."
    return _grown(_schema_of(held), held.parts, nothing, replace(report, limits=(unread, *report.limits)))


def _statement(url: str, query: str, driver: str | None, parameters: Mapping[str, Any]) -> Statement:
    statement = parse(query, dialect_of(url, driver))
    check_given(statement, parameters, OPTIONS_OF_SQL)
    return statement


def _held(cursor: Cursor, digest: str, asked: Question) -> Held:
    """Return a cursor's value; an empty one if the cursor is new.

    Raises:
        SourceError: the cursor holds the rows of another query.
    """
    if cursor.value is None:
        return Held(question=digest, reached=None, parts=[], ends=[], asked=asked)
    if not isinstance(cursor.value, Held):
        raise SourceError(f"cursor `{cursor.name}` is not one of `ingest.sql`", hint="give another name by `cursor=`")
    if cursor.value.question == digest:
        return replace(cursor.value, asked=asked)
    if cursor.value.asked is None:  # an earlier version of Headrace saved it
        told = "its query, parameters, `key`, `watermark` or `mode` was another one"
    else:
        told = "; ".join(differences(cursor.value.asked, asked))
    raise SourceError(
        f"cursor `{cursor.name}` holds the rows of another query: {told}",
        hint="use the query as before to go on from there; or give the new query a cursor of its own by `cursor=`: "
        "then all rows are read again",
    )


def _report(
    url: str,
    query: str,
    fresh: list[Any],
    parts: list[Any],
    result: Merged,
    *,
    complete: bool,
    at_source: int | None = None,
) -> Report:
    """Return a report of the numbers of rows.

    `complete` is True if rows that are gone from the source were noticed, as in mode `snapshot`. `at_source` is the
    number of rows that the source has below the watermark where the read began; None if there was no watermark. If the
    cursor holds fewer rows below this watermark, a warning is logged: no later read will see the missing rows. More
    rows than the difference may be missing, because the cursor may also hold rows that the source has deleted.
    """
    counts = {
        "rows read": _rows(fresh),
        "new rows": _rows(result.new) - result.replaced,
        "changed rows": result.replaced,
        "rows held already": result.unchanged,
        "rows in all": _rows(parts),
    }
    if complete:
        counts["rows gone"] = _rows(result.gone)
    limits = [] if complete else ["Rows deleted at the source are still held: a watermark doesn't show them."]
    if at_source is not None:
        read_before = _rows(parts) - _rows(fresh)
        counts["rows behind the mark at the source"] = at_source
        counts["rows behind the mark that were read"] = read_before
        limits.append("Late rows are found by comparing the two counts behind the mark, so deleted rows can hide them.")
        if at_source > read_before:
            warn(_late(at_source - read_before))
    return Report(
        title="What was read",
        about=f"`{' '.join(query.split())}` from {shown_of(url)}",
        facts=tuple(Fact(name=name, value=float(count), unit="rows") for name, count in counts.items()),
        limits=tuple(limits),
    )


def _late(count: int) -> str:
    """Return a warning that at least `count` rows will never be read."""
    several = (
        "row at the source lies behind the mark and was never read: it"
        if count == 1
        else ("rows at the source lie behind the mark and were never read: they")
    )
    return (
        f"at least {count:,} {several} came later, with a lower watermark; give a longer `overlap=`, or read all anew"
        " after `headrace rewind`"
    )


def _rows(tables: Sequence[Any]) -> int:
    return sum(each.num_rows for each in tables)


def _joined(parts: list[Any]) -> Any:
    """Return tables as one value. A single table is returned unchanged, so that it is stored as the same artifact as an
    equal table that isn't in parts."""
    return table_of(parts[0]) if len(parts) == 1 else Joined(parts)
