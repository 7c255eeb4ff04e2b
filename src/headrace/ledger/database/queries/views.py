"""What people look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Float,
    Integer,
    LargeBinary,
    Select,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
)

from headrace.ledger.database.queries.form import PROJECTED, Statement, Target, of_run
from headrace.ledger.database.tables import blobs, events, runs, tasks

_LINE = [runs.c[name] for name in ("number", "id", *PROJECTED, "holder")]
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
        "started",
    )
]


def views(_: Target) -> Mapping[str, Statement]:
    """What people look at."""
    count = func.count().label("tasks")
    return {
        "newest_run": select(*_LINE).order_by(runs.c.number.desc()).limit(1),
        "run_line": select(*_LINE).where(runs.c.id == bindparam("id")),
        "runs_by_prefix": select(*_LINE)
        .where(runs.c.id >= bindparam("first"), runs.c.id < bindparam("past"))
        .limit(bindparam("limit", type_=BigInteger)),
        "run_lines": select(*_LINE)
        .where(runs.c.number < bindparam("before"))
        .order_by(runs.c.number.desc())
        .limit(bindparam("limit", type_=BigInteger)),
        "run_lines_of": select(*_LINE)
        .where(runs.c.pipeline == bindparam("pipeline"), runs.c.number < bindparam("before"))
        .order_by(runs.c.number.desc())
        .limit(bindparam("limit", type_=BigInteger)),
        "run_ids": select(runs.c.id).order_by(runs.c.number.desc()).limit(bindparam("limit", type_=BigInteger)),
        "task_lines": select(tasks.c.ordinal, *_SHOWN).where(tasks.c.run == bindparam("run")),
        "failed_lines": select(tasks.c.ordinal, *_SHOWN)
        .where(tasks.c.run == bindparam("run"), tasks.c.state == literal_column("'failed'"))
        .order_by(tasks.c.ordinal)
        .limit(bindparam("limit", type_=BigInteger)),
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
        "run_id": select(runs.c.id).where(of_run()),
        "run_line_by_number": select(*_LINE).where(of_run()),
        "last_of_kind": select(func.coalesce(func.max(events.c.seq), -1)).where(
            events.c.run == bindparam("run"),
            func.substr(events.c.body, 2, cast(bindparam("length"), Integer)) == bindparam("tag", type_=LargeBinary),
        ),
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
            cast(func.sum(tasks.c.bytes), BigInteger).label("bytes"),
            func.sum(tasks.c.attempts).label("attempts"),
        )
        .where(tasks.c.run == bindparam("run"))
        .group_by(tasks.c.stage, tasks.c.kind, tasks.c.state),
        "running_lines": select(tasks.c.stage, tasks.c.kind, tasks.c.started).where(
            tasks.c.run == bindparam("run"), tasks.c.state == literal_column("'running'"), tasks.c.started > 0
        ),
        "history": _history(),
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
        .limit(bindparam("limit", type_=BigInteger))
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
            cast(func.avg(size), Float).label("bytes"),
        )
        .where(tasks.c.run.in_(latest))
        .group_by(tasks.c.run, name, tasks.c.stage)
    )
