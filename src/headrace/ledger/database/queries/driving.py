"""What a driver reads and writes: its run, the pool that it shares, cursors, leases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    DateTime,
    Float,
    ScalarSelect,
    bindparam,
    cast,
    delete,
    func,
    literal_column,
    null,
    select,
    update,
)

from headrace.ledger.database.queries.form import PROJECTED, Statement, Target, all_of, held, must, of_run, put
from headrace.ledger.database.tables import (
    about,
    blobs,
    cursors,
    events,
    grants,
    inbox,
    leases,
    metrics,
    pools,
    results,
    runs,
    tasks,
)


def writes(to: Target) -> Mapping[str, Statement]:
    """What the driver writes, all of it within one transaction a tick."""
    return {
        "insert_run": to.insert(runs).values(all_of(runs, "number")),
        "update_run": must(to, update(runs).where(held()).values({name: bindparam(name) for name in PROJECTED})),
        "held": must(to, select(runs.c.number).where(held()).with_for_update(key_share=True)),
        "take_run": update(runs).where(of_run()).values(epoch=runs.c.epoch + 1, holder=bindparam("holder")),
        "insert_event": to.insert(events).values(all_of(events)),
        "put_task": put(to, tasks),
        "forget_tasks": delete(tasks).where(tasks.c.run == bindparam("run")),
        "put_result": put(to, results),
        "put_blob": to.insert(blobs).values(all_of(blobs)).on_conflict_do_nothing(),
        "absorb": delete(inbox).where(inbox.c.run == bindparam("run"), inbox.c.id == bindparam("id")),
        "signal": to.insert(inbox).values(all_of(inbox, "id")),
    }


def reads(_: Target) -> Mapping[str, Statement]:
    """What the driver reads."""
    return {
        "result": select(results.c.out, results.c.at, runs.c.id, _has_logged())
        .join_from(results, runs, runs.c.number == results.c.run, isouter=True)
        .where(results.c.key == bindparam("key"), results.c.unusable.is_(null())),
        "run_by_id": select(runs.c.number, runs.c.epoch, runs.c.pipeline, runs.c.state).where(
            runs.c.id == bindparam("id")
        ),
        "next_seq": select(func.coalesce(func.max(events.c.seq), -1) + 1).where(events.c.run == bindparam("run")),
        "events_from": select(events.c.seq, events.c.body)
        .where(events.c.run == bindparam("run"), events.c.seq >= bindparam("seq"))
        .order_by(events.c.seq)
        .limit(bindparam("limit", type_=BigInteger)),
        "earlier_runs": select(runs.c.number, runs.c.id)
        .where(
            runs.c.pipeline == bindparam("pipeline"),
            runs.c.number < bindparam("number"),
            runs.c.ended <= func.coalesce(_created(bindparam("number")), runs.c.ended),
        )
        .order_by(runs.c.number.desc())
        .limit(bindparam("limit", type_=BigInteger)),
        "ingredients": select(tasks.c.name, tasks.c.key, tasks.c.code, tasks.c.inputs).where(
            tasks.c.run == bindparam("run"), tasks.c.key.is_not(null())
        ),
        "inbox": select(inbox.c.id, inbox.c.kind, inbox.c.by, inbox.c.body)
        .where(inbox.c.run == bindparam("run"))
        .order_by(inbox.c.id),
    }


def _created(number: BindParameter[Any]) -> ScalarSelect[Any]:
    """When a run began: what lived beside it may differ by when one looks. One that isn't stored yet begins now."""
    own = runs.alias("own")
    return select(own.c.created).where(own.c.number == number).scalar_subquery()


def _has_logged() -> ColumnElement[Any]:
    """The name of something that the task that gave a result has logged, if there is any."""
    found = select(metrics.c.name).where(metrics.c.run == results.c.run, metrics.c.task == results.c.task).limit(1)
    return found.correlate(results).scalar_subquery()


def sharing(to: Target) -> Mapping[str, Statement]:
    """How runs share a pool."""
    return {
        "claims": select(*(column for column in grants.columns if column.name != "pool"))
        .where(grants.c.pool == bindparam("pool"))
        .order_by(grants.c.arrived),
        "take_pool": to.insert(pools)
        .values(name=bindparam("name"), epoch=literal_column("1"))
        .on_conflict_do_update(index_elements=["name"], set_={"epoch": pools.c.epoch + literal_column("1")}),
        "pool_epoch": select(pools.c.epoch).where(pools.c.name == bindparam("name")),
        "put_grant": put(to, grants),
        "forget_grant": delete(grants).where(grants.c.pool == bindparam("pool"), grants.c.run == bindparam("run")),
        "forget_grants": delete(grants).where(grants.c.run == bindparam("run")),
    }


def kept_values(to: Target) -> Mapping[str, Statement]:
    """Cursors: values that live between runs."""
    return {
        "cursor": select(cursors.c.version, cursors.c.value)
        .where(cursors.c.name == bindparam("name"))
        .order_by(cursors.c.version.desc())
        .limit(1),
        "advance_cursor": to.insert(cursors).values(all_of(cursors)),
        "move_cursor": to.insert(cursors).values(all_of(cursors)).on_conflict_do_nothing(),
        "cursor_moves": select(cursors.c.run, cursors.c.task).where(
            cursors.c.name == bindparam("name"), cursors.c.version > bindparam("version")
        ),
        "put_cursor": _put_cursor(to),
        "about": select(about.c.name, about.c.value),
        "put_about": to.insert(about).values(all_of(about)).on_conflict_do_nothing(),
    }


def _put_cursor(to: Target) -> Statement:
    """Set the value of a version, whoever set it before: a note of Headrace's own, or the same value, moved."""
    names = ("name", "version", "value")
    statement = to.insert(cursors).values({each: bindparam(each) for each in names})
    found: Statement = statement.on_conflict_do_update(
        index_elements=["name", "version"], set_={"value": statement.excluded.value}
    )
    return found


def _interval(name: str) -> ColumnElement[Any]:
    """A parameter in seconds, as PostgreSQL adds it to a time."""
    return func.make_interval(literal_column("secs => ").op("")(bindparam(name, type_=Float)))


def leasing(to: Target) -> Mapping[str, Statement]:
    """Leases by the clock of the server, where the ledger has one."""
    now = func.clock_timestamp(type_=DateTime(timezone=True))
    until = now + _interval("term_s")
    mine = (leases.c.name == bindparam("name")) & (leases.c.token == bindparam("token"))
    taken = to.insert(leases).values(all_of(leases, "since", "expires") | {"since": now, "expires": until})
    keep = update(leases).where(mine).values(expires=until)
    lives = leases.c.expires > now
    return {
        "take_lease": taken.on_conflict_do_update(
            index_elements=["name"],
            set_={name: taken.excluded[name] for name in ("token", "pid", "host", "holder", "since", "expires")},
            # The same token: it was taken, but the answer was lost.
            where=(leases.c.expires < now) | (leases.c.token == taken.excluded.token),
        ).returning(leases.c.token),
        "renew_lease": keep.returning(leases.c.token),
        "check_lease": must(to, keep),
        "drop_lease": delete(leases).where(mine),
        "lease": select(
            leases.c.token,
            leases.c.expires,
            leases.c.pid,
            leases.c.host,
            cast(func.extract("epoch", leases.c.since), Float),
            leases.c.holder,
        ).where(leases.c.name == bindparam("name"), lives),
        "held_leases": select(leases.c.name).where(leases.c.name == func.any(bindparam("names")), lives),
        "all_leases": select(leases.c.name),
        "forget_leases": delete(leases).where(leases.c.expires < now - _interval("age_s")),
        "clock": select(cast(func.extract("epoch", now), Float)),
    }
