"""The ledger's statements, declared on its tables, and the text that SQLite runs.

SQLAlchemy costs 110 to 150 ms to import, 80 us a tick and 9 us a lookup, so the hot path doesn't load it: this module
writes the text of each statement into `headrace.record.statements`. After a change here or in `tables`, run

    python -m headrace.record.queries
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import dialect, insert
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import SQLCompiler

from headrace.record.tables import (
    SCHEMA,
    blobs,
    cursors,
    events,
    grants,
    inbox,
    metadata,
    pools,
    results,
    revision,
    runs,
    tasks,
)

ALEMBIC = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
    " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
"""As Alembic itself would make it, so that it finds a new ledger at the last revision."""

Statement = Select[*tuple[Any, ...]] | Insert | Update | Delete

TARGET = Path(__file__).with_name("statements.py")

HEAD = '''"""The text of the statements that SQLite runs. Made by `python -m headrace.record.queries`: don't edit.

A comment names each statement's parameters, in order.
"""

from __future__ import annotations

SCHEMA = {schema}
'''


def _all(table: Table, *but: str) -> dict[str, ColumnElement[object]]:
    return {column.name: bindparam(column.name) for column in table.columns if column.name not in but}


def _put(table: Table, *but: str) -> Statement:
    """Insert a row, or replace what is there under its key."""
    statement = insert(table).values(_all(table, *but))
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in _all(table, *but) if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)


def _run() -> ColumnElement[bool]:
    return runs.c.number == bindparam("number")


def _held() -> ColumnElement[bool]:
    """The epoch is still that of the driver that writes."""
    return _run() & (runs.c.epoch == bindparam("epoch"))


_PROJECTED = ("pipeline", "state", "created", "bundle", "seconds", "usd", "params", "why", "ended")
_LINE = [runs.c[name] for name in ("number", "id", *_PROJECTED, "holder")]
_SHOWN = [
    tasks.c[name]
    for name in (
        "name",
        "stage",
        "kind",
        "state",
        "reason",
        "attempts",
        "seconds",
        "load_s",
        "save_s",
        "usd",
        "pool",
        "out",
    )
]


def writes() -> Mapping[str, Statement]:
    """What the driver writes, all of it within one transaction a tick."""
    return {
        "insert_run": insert(runs).values(_all(runs, "number")),
        "update_run": update(runs).where(_held()).values({name: bindparam(name) for name in _PROJECTED}),
        "held": select(runs.c.number).where(_held()),
        "take_run": update(runs).where(_run()).values(epoch=runs.c.epoch + 1, holder=bindparam("holder")),
        "insert_event": insert(events).values(_all(events)),
        "put_task": _put(tasks),
        "forget_tasks": delete(tasks).where(tasks.c.run == bindparam("run")),
        "put_result": _put(results),
        "put_blob": insert(blobs).values(_all(blobs)).on_conflict_do_nothing(),
        "absorb": delete(inbox).where(inbox.c.run == bindparam("run"), inbox.c.id == bindparam("id")),
        "signal": insert(inbox).values(_all(inbox, "id")),
    }


def reads() -> Mapping[str, Statement]:
    """What the driver reads."""
    return {
        "result": select(results.c.out, results.c.at, runs.c.id)
        .join_from(results, runs, runs.c.number == results.c.run, isouter=True)
        .where(results.c.key == bindparam("key"), results.c.unusable.is_(null())),
        "run_by_id": select(runs.c.number, runs.c.epoch, runs.c.pipeline, runs.c.state).where(
            runs.c.id == bindparam("id")
        ),
        "next_seq": select(func.coalesce(func.max(events.c.seq), -1) + 1).where(events.c.run == bindparam("run")),
        "events_from": select(events.c.seq, events.c.body)
        .where(events.c.run == bindparam("run"), events.c.seq >= bindparam("seq"))
        .order_by(events.c.seq)
        .limit(bindparam("limit")),
        "earlier_runs": select(runs.c.number, runs.c.id)
        .where(runs.c.pipeline == bindparam("pipeline"), runs.c.number < bindparam("number"))
        .order_by(runs.c.number.desc())
        .limit(bindparam("limit")),
        "ingredients": select(tasks.c.name, tasks.c.key, tasks.c.code, tasks.c.inputs).where(
            tasks.c.run == bindparam("run"), tasks.c.key.is_not(null())
        ),
        "inbox": select(inbox.c.id, inbox.c.kind, inbox.c.by, inbox.c.body)
        .where(inbox.c.run == bindparam("run"))
        .order_by(inbox.c.id),
    }


def sharing() -> Mapping[str, Statement]:
    """How runs share a pool."""
    return {
        "claims": select(*(column for column in grants.columns if column.name != "pool"))
        .where(grants.c.pool == bindparam("pool"))
        .order_by(grants.c.arrived),
        "pool_epoch": select(pools.c.epoch).where(pools.c.name == bindparam("name")),
        "put_pool": _put(pools),
        "put_grant": _put(grants),
        "forget_grant": delete(grants).where(grants.c.pool == bindparam("pool"), grants.c.run == bindparam("run")),
        "forget_grants": delete(grants).where(grants.c.run == bindparam("run")),
    }


def kept_values() -> Mapping[str, Statement]:
    """Cursors: values that live between runs."""
    return {
        "cursor": select(cursors.c.version, cursors.c.value)
        .where(cursors.c.name == bindparam("name"))
        .order_by(cursors.c.version.desc())
        .limit(1),
        "advance_cursor": insert(cursors).values(_all(cursors)),
        "put_cursor": _put(cursors),
    }


def views() -> Mapping[str, Statement]:
    """What people look at."""
    count = func.count().label("tasks")
    return {
        "newest_run": select(*_LINE).order_by(runs.c.number.desc()).limit(1),
        "run_line": select(*_LINE).where(runs.c.id == bindparam("id")),
        "runs_by_prefix": select(*_LINE)
        .where(runs.c.id >= bindparam("first"), runs.c.id < bindparam("past"))
        .limit(bindparam("limit")),
        "run_lines": select(*_LINE)
        .where(runs.c.number < bindparam("before"))
        .order_by(runs.c.number.desc())
        .limit(bindparam("limit")),
        "run_lines_of": select(*_LINE)
        .where(runs.c.pipeline == bindparam("pipeline"), runs.c.number < bindparam("before"))
        .order_by(runs.c.number.desc())
        .limit(bindparam("limit")),
        "run_ids": select(runs.c.id).order_by(runs.c.number.desc()).limit(bindparam("limit")),
        "task_lines": select(tasks.c.ordinal, *_SHOWN).where(tasks.c.run == bindparam("run")),
        "failed_lines": select(tasks.c.ordinal, *_SHOWN)
        .where(tasks.c.run == bindparam("run"), tasks.c.state == literal_column("'failed'"))
        .order_by(tasks.c.ordinal)
        .limit(bindparam("limit")),
        "task_row": select(tasks).where(tasks.c.run == bindparam("run"), tasks.c.name == bindparam("name")),
        "task_rows": select(tasks).where(tasks.c.run == bindparam("run")),
        "task_outs": select(tasks.c.name, tasks.c.out).where(
            tasks.c.run == bindparam("run"), tasks.c.out.is_not(null())
        ),
        "tasks_by_digest": select(tasks.c.run, tasks.c.name)
        .where(tasks.c.digest >= bindparam("first"), tasks.c.digest < bindparam("past"))
        .order_by(tasks.c.run.desc()),
        "runs_by_blob": select(blobs.c.run, blobs.c.digest)
        .where(blobs.c.digest >= bindparam("first"), blobs.c.digest < bindparam("past"))
        .order_by(blobs.c.run.desc())
        .distinct(),
        "run_id": select(runs.c.id).where(_run()),
        "task_names": select(tasks.c.name).where(tasks.c.run == bindparam("run")),
        "task_states": select(tasks.c.state, count)
        .where(tasks.c.run == bindparam("run"), tasks.c.name.not_in(_maps()))
        .group_by(tasks.c.state)
        .order_by(func.min(tasks.c.ordinal)),
        "stage_lines": select(
            tasks.c.stage,
            tasks.c.kind,
            tasks.c.state,
            func.min(tasks.c.ordinal).label("first"),
            count,
            func.sum(tasks.c.seconds).label("seconds"),
            func.max(tasks.c.seconds).label("longest_s"),
            func.sum(tasks.c.usd).label("usd"),
            func.sum(tasks.c.bytes).label("bytes"),
            func.sum(tasks.c.attempts).label("attempts"),
        )
        .where(tasks.c.run == bindparam("run"))
        .group_by(tasks.c.stage, tasks.c.kind, tasks.c.state),
        "history": _history(),
    }


def keeping() -> Mapping[str, Statement]:
    """What the collector and the checker read and write."""
    result, task = results.c.key == bindparam("key"), tasks.c.name == bindparam("name")
    return {
        "all_runs": select(
            runs.c.number, runs.c.id, runs.c.state, runs.c.created, runs.c.ended, runs.c.bundle
        ).order_by(runs.c.number),
        "all_blobs": select(blobs.c.run, blobs.c.digest, blobs.c.nonce, blobs.c.size),
        "all_results": select(results.c.key, results.c.run, results.c.task, results.c.out, results.c.unusable),
        "all_outs": select(tasks.c.run, tasks.c.name, tasks.c.state, tasks.c.key, tasks.c.out).where(
            tasks.c.out.is_not(null())
        ),
        "running_since": select(func.min(tasks.c.started)).where(
            tasks.c.run == bindparam("run"), tasks.c.state == literal_column("'running'")
        ),
        "forget_events": delete(events).where(events.c.run == bindparam("run")),
        "forget_blobs": delete(blobs).where(blobs.c.run == bindparam("run")),
        "forget_inbox": delete(inbox).where(inbox.c.run == bindparam("run")),
        "forget_run": delete(runs).where(_run()),
        "forget_result": delete(results).where(result, results.c.run == bindparam("number")),
        "adopt_result": update(results)
        .where(result, results.c.run == bindparam("number"))
        .values(run=bindparam("adopter")),
        "doubt_result": update(results).where(result).values(unusable=bindparam("why")),
        "point_result": update(results).where(result).values(out=bindparam("to")),
        "point_task": update(tasks).where(tasks.c.run == bindparam("number"), task).values(out=bindparam("to")),
        "point_event": update(events)
        .where(events.c.run == bindparam("number"), events.c.seq == bindparam("at"))
        .values(body=bindparam("to")),
        "forget_blob": delete(blobs).where(
            blobs.c.run == bindparam("run"), blobs.c.digest == bindparam("digest"), blobs.c.nonce == bindparam("nonce")
        ),
        "blob": select(blobs.c.size, blobs.c.born).where(
            blobs.c.run == bindparam("run"), blobs.c.digest == bindparam("digest"), blobs.c.nonce == bindparam("nonce")
        ),
        "event_span": select(func.count(), func.min(events.c.seq), func.max(events.c.seq)).where(
            events.c.run == bindparam("run")
        ),
    }


def _maps() -> Select[Any]:
    """Name a run's maps: those that are the parent of another task."""
    return select(tasks.c.parent).where(tasks.c.run == bindparam("run_of_maps"), tasks.c.parent.is_not(null()))


def _history() -> Statement:
    """What the latest runs of a pipeline took: by task, elements of a map together under their task."""
    latest = (
        select(runs.c.number)
        .where(runs.c.pipeline == bindparam("pipeline"))
        .order_by(runs.c.number.desc())
        .limit(bindparam("limit"))
    )
    name = func.coalesce(tasks.c.parent, tasks.c.name).label("task")
    took = case(((tasks.c.state == literal_column("'succeeded'")) & (tasks.c.attempts > literal_column("0")), 1))
    size = case((tasks.c.key.is_not(null()), tasks.c.bytes))  # a mapped task's own row has no key, and sums up
    return (
        select(
            tasks.c.run,
            name,
            tasks.c.stage,
            func.count(took).label("ran"),
            func.count(tasks.c.parent).label("elements"),
            func.avg(took * tasks.c.seconds).label("seconds"),
            func.max(took * tasks.c.seconds).label("longest_s"),
            func.avg(took * (tasks.c.load_s + tasks.c.save_s)).label("moving_s"),
            func.avg(size).label("bytes"),
        )
        .where(tasks.c.run.in_(latest))
        .group_by(tasks.c.run, name, tasks.c.stage)
    )


def schema() -> list[str]:
    """Give the text that makes an empty ledger, table by table."""
    found = []
    for table in metadata.sorted_tables:
        found.append(str(CreateTable(table).compile(dialect=dialect())))
        found += [
            str(CreateIndex(index).compile(dialect=dialect()))
            for index in sorted(table.indexes, key=lambda index: str(index.name))
        ]
    return [*found, ALEMBIC, f"INSERT INTO alembic_version (version_num) VALUES ('{revision()}')"]


def source() -> str:
    """Give the text of the module `statements`."""
    parts = [HEAD.format(schema=SCHEMA)]
    for group in (writes(), reads(), sharing(), kept_values(), views(), keeping()):
        parts += [_constant(name.upper(), statement) for name, statement in group.items()]
    tables = "".join(f'    """\n{textwrap.indent(_tidy(text), "    ")}\n    """,\n' for text in schema())
    parts.append(f"CREATE = (\n{tables})\n")
    return "\n".join(parts)


def _constant(name: str, statement: Statement) -> str:
    compiled = statement.compile(dialect=dialect(paramstyle="qmark"))
    assert isinstance(compiled, SQLCompiler)
    names = []
    first, *rest = str(compiled).split("?")
    text = first
    for parameter, piece in zip(compiled.positiontup or (), rest, strict=True):
        value = compiled.params[parameter]
        if value is None:
            names.append(parameter)
        text += ("?" if value is None else repr(value)) + piece
    order = textwrap.fill(", ".join(names), 116, initial_indent="# ", subsequent_indent="# ") + "\n" if names else ""
    return f'{order}{name} = """\n{_tidy(text)}\n"""\n'


def _tidy(text: str) -> str:
    words = " ".join(text.split()).replace("( ", "(").replace(" )", ")").replace(" OFFSET 0", "")
    return textwrap.fill(words, 116, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8")
