"""What the collector, the checker and an export read and write.

`scans` go over tables some rows at a time, in the order of their keys: `headrace.ledger.database.scan` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Integer, Select, bindparam, delete, func, literal_column, null, select, tuple_, update

from headrace.ledger.database.queries.form import Statement, Target, of_run
from headrace.ledger.database.tables import blobs, cursors, events, inbox, results, runs, tasks


def scans() -> Mapping[str, Select[*tuple[Any, ...]]]:
    """What is read of many rows."""
    limit = bindparam("limit", type_=Integer)
    blob, cursor = (blobs.c.digest, blobs.c.nonce), (cursors.c.name, cursors.c.version)
    return {
        "run_row": select(runs).where(runs.c.number == bindparam("number")),
        "tasks_from": select(tasks)
        .where(tasks.c.run == bindparam("run"), tasks.c.name > bindparam("after"))
        .order_by(tasks.c.name)
        .limit(limit),
        "outs_from": select(tasks.c.name, tasks.c.key, tasks.c.out)
        .where(tasks.c.run == bindparam("run"), tasks.c.name > bindparam("after"), tasks.c.out.is_not(null()))
        .order_by(tasks.c.name)
        .limit(limit),
        "blobs_from": select(*blob, blobs.c.size, blobs.c.born)
        .where(
            blobs.c.run == bindparam("run"),
            tuple_(*blob) > tuple_(bindparam("after_digest"), bindparam("after_nonce")),
        )
        .order_by(*blob)
        .limit(limit),
        "results_from": select(results).where(results.c.key > bindparam("after")).order_by(results.c.key).limit(limit),
        "cursors_from": select(cursors)
        .where(tuple_(*cursor) > tuple_(bindparam("after_name"), bindparam("after_version")))
        .order_by(*cursor)
        .limit(limit),
        "result_row": select(results).where(results.c.key == bindparam("key")),
        "cursor_row": select(cursors.c.value, cursors.c.run).where(
            cursors.c.name == bindparam("name"), cursors.c.version == bindparam("version")
        ),
        "signals": select(inbox.c.kind, inbox.c.by, inbox.c.body, inbox.c.at)
        .where(inbox.c.run == bindparam("run"))
        .order_by(inbox.c.id),
    }


def keeping(_: Target) -> Mapping[str, Statement]:
    """What the collector and the checker read and write."""
    result, task = results.c.key == bindparam("key"), tasks.c.name == bindparam("name")
    return {
        "all_runs": select(
            runs.c.number, runs.c.id, runs.c.pipeline, runs.c.state, runs.c.created, runs.c.ended, runs.c.bundle
        ).order_by(runs.c.number),
        "running_since": select(func.min(tasks.c.started)).where(
            tasks.c.run == bindparam("run"),
            # One that waits may have been launched: its worker begins late, and maybe after its driver has died.
            (tasks.c.state == literal_column("'running'"))
            | ((tasks.c.state == literal_column("'waiting'")) & (tasks.c.attempts > literal_column("0"))),
        ),
        "forget_events": delete(events).where(events.c.run == bindparam("run")),
        "forget_blobs": delete(blobs).where(blobs.c.run == bindparam("run")),
        "forget_inbox": delete(inbox).where(inbox.c.run == bindparam("run")),
        "forget_run": delete(runs).where(of_run()),
        "forget_result": delete(results).where(result, results.c.run == bindparam("number")),
        "adopt_result": update(results)
        .where(result, results.c.run == bindparam("number"))
        .values(run=bindparam("adopter"), task=bindparam("its_task")),
        "doubt_result": update(results).where(result).values(unusable=bindparam("why")),
        "point_result": update(results).where(result, results.c.out == bindparam("was")).values(out=bindparam("to")),
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
