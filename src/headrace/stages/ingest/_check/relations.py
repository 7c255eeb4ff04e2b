"""Checks the conditions that a contract sets between the columns of a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from headrace.errors import UsageError
from headrace.stages.ingest._check.columns import BLOCK, Rows, view, viewed
from headrace.stages.ingest._check.contract import Action, Relation
from headrace.stages.ingest._check.finding import Finding, of_rows
from headrace.stages.tables import engine

_SIMPLE = re.compile(r"\s*(\w+)\s*(<=|<|>=|>)\s*(\w+)\s*")
_HOLDS: dict[str, Any] = {"<=": np.less_equal, "<": np.less, ">=": np.greater_equal, ">": np.greater}


def check_conditions(relations: Sequence[Relation]) -> None:
    """Refuse conditions that DuckDB can't parse.

    Raises:
        UsageError: a condition can't be parsed. The error names the condition.
    """
    for relation in relations:
        engine.check_condition(relation.holds, f"the condition `{relation.holds}`")


def check_relations(table: pa.Table, relations: Sequence[Relation], otherwise: Action) -> list[Finding]:
    """Return the finding of each relation in a table; `otherwise` is the action of a relation that names no action."""
    found: dict[int, Finding] = {}
    rest: list[int] = []
    for place, relation in enumerate(relations):
        if _surely_holds(table, relation.holds):
            found[place] = of_rows(*_rule(relation, otherwise), np.empty(0, np.int64), len(table), (), _want(relation))
        else:
            rest.append(place)
    if rest:
        check_conditions([relations[place] for place in rest])
        with engine.session({"t": table}) as database:
            for place in rest:
                found[place] = _ask(database, relations[place], len(table), otherwise)
    return [found[place] for place in range(len(relations))]


def _rule(relation: Relation, otherwise: Action) -> tuple[str, Action]:
    return f"relation: {relation.name or relation.holds}", relation.otherwise or otherwise


def _want(relation: Relation) -> str:
    return f"such that {relation.holds}"


def _surely_holds(table: pa.Table, condition: str) -> bool:
    """Return True if the condition compares two columns of numbers or times and surely holds in all rows.

    False means that the condition fails, or that only DuckDB can check it.
    """
    match = _SIMPLE.fullmatch(condition)
    if match is None or not {match[1], match[3]} <= set(table.column_names):
        return False
    left, right = table.column(match[1]), table.column(match[3])
    if left.type != right.type or not viewed(left.type) or left.null_count or right.null_count:
        return False
    holds = _HOLDS[match[2]]
    for batch in table.select([match[1], match[3]]).to_batches():
        one, two = view(batch.column(0)), view(batch.column(1))
        for at in range(0, len(one), BLOCK):
            if not holds(one[at : at + BLOCK], two[at : at + BLOCK]).all():
                return False
    return True


def _ask(database: duckdb.DuckDBPyConnection, relation: Relation, total: int, otherwise: Action) -> Finding:
    rule, action = _rule(relation, otherwise)
    try:
        database.sql(f"select ({relation.holds}\n)::boolean from t limit 0")
        broken = database.sql(f"select count(*) from t where not ({relation.holds}\n)").fetchall()[0][0]
        rows = _rows(database, relation.holds) if broken else np.empty(0, np.int64)
        columns = _named(database, relation.holds)
    except duckdb.Error as error:
        told = engine.told(error, f"the condition `{relation.holds}`")
        if isinstance(told, UsageError):
            raise told from error
        return Finding(rule=rule, action=action, holds=None, why=told.message)
    return of_rows(rule, action, rows, total, columns, _want(relation))


def _rows(database: duckdb.DuckDBPyConnection, condition: str) -> Rows:
    sql = f"select row_number() over () - 1 as place, not ({condition}\n) as broken from t"
    found: Rows = np.ma.getdata(database.sql(f"select place from ({sql}) where broken").fetchnumpy()["place"])
    return np.sort(found.astype(np.int64))


def _named(database: duckdb.DuckDBPyConnection, condition: str) -> tuple[str, ...]:
    """Return the names of the table's columns that occur in a condition."""
    columns = database.sql("select * from t limit 0").columns
    words = set(re.findall(r"\w+", condition.lower()))
    return tuple(name for name in columns if name.lower() in words)
