"""The statements about what tasks log, and about versions of models and datasets."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import BindParameter, Float, Integer, bindparam, cast, delete, func, literal_column, select, update

from headrace.ledger.database.queries.form import Statement, Target, all_of, put
from headrace.ledger.database.tables import Text, aliases, events, logged, metrics, results, runs, versions

_MEASURED = ("last", "least", "greatest", "count", "first_step", "last_step", "at")
_REGISTERED = ("kind", "name", "identity", "out", "report", "run", "task", "at", "by", "note", "origin", "preparation")
LOCK = 0x68656164  # an arbitrary number, by which those who register wait for each other


def tracking(to: Target) -> Mapping[str, Statement]:
    """What tasks log."""
    mine = metrics.alias("mine")
    inherited = [mine.c[name] for name in ("kind", "name", *_MEASURED)]
    statement = to.insert(metrics).from_select(
        ["run", "task", "kind", "name", *_MEASURED, "source", "source_task"],
        select(
            cast(bindparam("run"), Integer),
            cast(bindparam("task"), Text),
            *inherited,
            func.coalesce(mine.c.source, runs.c.id),
            func.coalesce(mine.c.source_task, mine.c.task),
        )
        .join_from(results, runs, runs.c.number == results.c.run)
        .join(mine, (mine.c.run == results.c.run) & (mine.c.task == results.c.task))
        .where(results.c.key == bindparam("key")),
    )
    told = (
        select(logged.c.seq, events.c.body)
        .join_from(logged, events, (events.c.run == logged.c.run) & (events.c.seq == logged.c.seq))
        .order_by(logged.c.seq)
    )
    run = metrics.c.run == bindparam("run")
    of_name = metrics.c.name == bindparam("name")
    return {
        "put_metric": put(to, metrics),
        "put_logged": to.insert(logged).values(all_of(logged)).on_conflict_do_nothing(),
        "inherit_metrics": statement.on_conflict_do_nothing(),
        "forget_metrics": delete(metrics).where(run),
        "forget_logged": delete(logged).where(logged.c.run == bindparam("run")),
        "metrics": select(metrics).where(run).order_by(metrics.c.task, metrics.c.kind, metrics.c.name),
        "logged_of": told.where(logged.c.run == bindparam("run"), logged.c.task == bindparam("task")),
        "logged": select(logged.c.task, logged.c.seq)
        .where(logged.c.run == bindparam("run"))
        .order_by(logged.c.task, logged.c.seq),
        "logged_since": told.where(logged.c.run == bindparam("run"), logged.c.seq > bindparam("after")),
        "metrics_by_name": select(metrics.c.run, metrics.c.task, metrics.c.last, metrics.c.least, metrics.c.greatest)
        .where(of_name, metrics.c.kind == literal_column("'number'"))
        .order_by(metrics.c.run.desc()),
        "metric_names": select(metrics.c.name, func.count(metrics.c.run.distinct()))
        .where(metrics.c.kind == literal_column("'number'"))
        .group_by(metrics.c.name)
        .order_by(metrics.c.name),
    }


def registry(to: Target) -> Mapping[str, Statement]:
    """Versions of models and datasets, and aliases."""
    kind: BindParameter[str] = bindparam("kind")
    name: BindParameter[str] = bindparam("name")
    given = {each: cast(bindparam(each), column.type) for each, column in versions.columns.items() if each != "version"}
    one = (versions.c.kind == kind) & (versions.c.name == name)
    number = select(func.coalesce(func.max(versions.c.version), literal_column("0")) + literal_column("1")).where(one)
    twice = select(versions.c.version).where(one, versions.c.identity == bindparam("identity"))
    add = to.insert(versions).from_select(
        [*_REGISTERED, "version"],
        select(*(given[each] for each in _REGISTERED), number.scalar_subquery()).where(~twice.exists()),
    )
    point = to.insert(aliases).from_select(
        ["alias", "at", "by", "why", "kind", "name", "version"],
        select(
            cast(bindparam("alias"), Text),
            cast(bindparam("at"), Float),
            cast(bindparam("by"), Text),
            cast(bindparam("why"), Text),
            versions.c.kind,
            versions.c.name,
            versions.c.version,
        ).where(versions.c.kind == kind, versions.c.name == name, versions.c.identity == bindparam("identity")),
    )
    version = versions.c.version == bindparam("version")
    lock = func.pg_advisory_xact_lock(literal_column(str(LOCK))) if to.is_shared else literal_column("1")
    return {
        "lock_registry": select(lock),
        "add_version": add,
        "put_version": to.insert(versions).values(all_of(versions)).on_conflict_do_nothing(),
        "point_version": update(versions)
        .where(one, version)
        .values(out=bindparam("to"), report=bindparam("report_to"), preparation=bindparam("preparation_to")),
        "add_preparation": update(versions)
        .where(one, versions.c.identity == bindparam("identity"), versions.c.preparation.is_(None))
        .values(preparation=bindparam("prepared")),
        "point_alias": point.on_conflict_do_update(
            index_elements=["kind", "name", "alias"],
            set_={each: point.excluded[each] for each in ("version", "at", "by", "why")},
        ),
        "put_alias": put(to, aliases),
        "forget_alias": delete(aliases).where(
            aliases.c.kind == kind, aliases.c.name == name, aliases.c.alias == bindparam("alias")
        ),
        "versions": select(versions)
        .where(versions.c.kind == kind)
        .order_by(versions.c.name, versions.c.version.desc()),
        "versions_of": select(versions).where(one).order_by(versions.c.version.desc()),
        "all_versions": select(versions).order_by(versions.c.kind, versions.c.name, versions.c.version),
        "version_of": select(versions.c.version).where(one, versions.c.identity == bindparam("identity")),
        "aliases": select(aliases).where(aliases.c.kind == kind).order_by(aliases.c.name, aliases.c.alias),
        "all_aliases": select(aliases).order_by(aliases.c.kind, aliases.c.name, aliases.c.alias),
    }
