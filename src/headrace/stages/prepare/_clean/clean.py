"""The stage `prepare.clean`: it applies declared rules to a table.

The stage reports what the rules changed. It returns the cleaned table, the quarantined rows, and a preparation, which
cleans other tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.codec.values import File
from headrace.define.log import warn
from headrace.define.stage import ready
from headrace.errors import DefinitionError
from headrace.models.types import is_text, plain_type
from headrace.spec.report import Report
from headrace.stages.ingest._check.finding import value_of
from headrace.stages.prepare._clean.expressions import TEXTUAL, can_hold, fits, learned_by
from headrace.stages.prepare._clean.preparation import Preparation, Step
from headrace.stages.prepare._clean.report import FITTED, put_aside, report_of
from headrace.stages.prepare._clean.rules import (
    ALL,
    AnyRule,
    Deduplicate,
    Drop,
    Fill,
    OnColumns,
    Rename,
    Without,
    read_rules,
    settled,
    told,
)
from headrace.stages.prepare._clean.steps import Work, asked, made, on_column, rename, take_away, telling, without
from headrace.stages.tables import engine
from headrace.stages.tables.columns import columns, distinct

CATEGORIES = 1000
"""The largest number of different values in a column of categories. In such a column, a value occurs twice or more on
average."""
LONGEST = 200
"""The largest number of characters of a category."""


class Cleaned(NamedTuple):
    """The results of cleaning a table.

    `table` has the rows that stay, cleaned. `quarantine` has the quarantined rows, with their original values, their
    row number (`row`) and the rules that they broke (`broken_rules`, a list). `report` says what each rule lost and
    changed. `preparation` cleans other tables in the same way, with the values that were learned from this table.
    """

    table: pa.Table
    quarantine: pa.Table
    report: Report
    preparation: Preparation


class _Learned(NamedTuple):
    """The steps that a rule adds to the preparation, and a sentence for each part of the rule that can't become a
    step."""

    steps: Sequence[Step] = ()
    left_out: Sequence[str] = ()


def _check(given: Mapping[str, Any]) -> None:
    """Refuse rules with conditions, patterns or formats that can't be read, if the rules are known when the pipeline is
    traced."""
    rules = given.get("rules", ())
    if isinstance(rules, File):
        rules = read_rules(rules.path) if rules.path.is_file() else ()
    named = [(f"{number} {told(rule)}", rule) for number, rule in enumerate(rules, 1)]
    for name, rule in named:
        if isinstance(rule, Drop):
            engine.check_condition(rule.where, rule.named(name))
    textual = [(name, rule) for name, rule in named if isinstance(rule, TEXTUAL)]
    if textual:
        with engine.session({}) as database:
            for name, rule in textual:
                made(pa.chunked_array([["a"]]), rule, name, ", ".join(rule.names), database)


@ready("prepare.clean", version=10, on=("duckdb", "numpy", "pyarrow"), kind="prepare", check=_check)
def clean(table: pa.Table, rules: Sequence[AnyRule] | File) -> Cleaned:
    """Clean a table by rules, applied in order: a list of rules, or a TOML file of rules (`hr.File("rules.toml")`).

    For each rule and column, the report says how many values and rows were lost, and how many values were filled,
    changed and read as another type, with examples before and after. A warning counts the quarantined rows.
    `prepare.apply` cleans other rows in the same way, by the preparation that this stage returns.

    Raises:
        DataError: a column is missing, or there is a value that a rule with `otherwise = "stop"` can't handle.
        DefinitionError: a rule makes no sense, or doesn't fit its column.
        UsageError: a condition can't be read.
    """
    distinct(table)
    rules = read_rules(rules.path) if isinstance(rules, File) else tuple(rules)
    work = Work.on(table)
    with engine.session({}) as database:  # one session for all rules: opening one takes longer than a rule
        found = [_apply(work, rule, f"{number} {told(rule)}", database) for number, rule in enumerate(rules, 1)]
    left_out = tuple(said for each in found for said in each.left_out)
    fitted = any(isinstance(rule, Fill) and rule.how in ("mean", "median") for rule in rules)
    quarantine = work.quarantine()
    if len(quarantine):
        warn(put_aside(len(quarantine), len(table)))
    report = report_of(
        "Cleaning",
        f"{len(table):,} rows, cleaned by {'1 rule' if len(rules) == 1 else f'{len(rules)} rules'}.",
        work.changes,
        before=len(table),
        after=len(work.table),
        quarantined=len(quarantine),
        unseen={},
        limits=(*([FITTED] if fitted else []), *left_out),
    )
    preparation = Preparation(
        columns={field.name: str(field.type) for field in table.schema},
        steps=tuple(step for each in found for step in each.steps),
        categories=dict(_categories(work.table)),
        left_out=left_out,
    )
    return Cleaned(work.done(), quarantine, report, preparation)


def _apply(work: Work, rule: Any, name: str, database: duckdb.DuckDBPyConnection) -> _Learned:
    """Apply a rule to the table, and return the steps that it adds to the preparation."""
    step = Step(name=name, rule=settled(rule))
    match rule:
        case Deduplicate():
            take_away(work, rule, name, database, aside=rule.quarantine)
            return _Learned(left_out=[_table_wide(name, "which rows repeat")])
        case Drop():
            known = len(work.table)
            take_away(work, rule, name, database, aside=rule.quarantine)
            if known and not len(work.table) and not rule.quarantine:
                warn(f"{rule.named(name)} removes every row: {known:,} before it, none after it")
            asks = _asks(rule.where, database)
            if asks is None:
                return _Learned(left_out=[_table_wide(name, "its condition")])
            found = [column for column in work.table.column_names if column.lower() in asks]
            return _Learned([msgspec.structs.replace(step, asks=tuple(found))])
        case Rename(names=names):
            columns(work.table, list(names), f"rule {name}")
            rename(work, names, name)
            return _Learned([step])
        case Without():
            columns(work.table, rule.names, f"rule {name}")
            without(work, list(rule.names), name)
            return _Learned([step])
        case OnColumns():
            return _on_columns(work, step, rule, database)
        case _:
            raise DefinitionError(f"`{type(rule).__name__}` is not a rule", hint="see the docs on cleaning")


def _table_wide(name: str, what: str) -> str:
    return f"Rule {name} isn't part of the preparation: {what} depends on the whole table, not on one row."


def _on_columns(work: Work, step: Step, rule: OnColumns, database: duckdb.DuckDBPyConnection) -> _Learned:
    names = _meant(work.table, rule, step.name)
    if not isinstance(rule, Fill) or rule.how == "value":
        for column in names:
            known = len(work.table) - work.table.column(column).null_count
            on_column(work, rule, step.name, column, database)
            if known and work.changes[-1].nulled + work.changes[-1].aside == known:
                warn(f"rule {step.name} could read none of the {known:,} values of `{column}`: all are lost")
        return _Learned([msgspec.structs.replace(step, columns=tuple(names))])
    if rule.how == "forward":
        for column in names:
            on_column(work, rule, step.name, column, database)
        return _Learned(left_out=[_table_wide(step.name, "the row above")])
    steps, left_out = [], []
    for column in names:
        fitted = _fitted(work, rule, step.name, column, database)
        on_column(work, fitted or rule, step.name, column, database)
        if fitted is None:
            left_out.append(f"Rule {step.name} isn't part of the preparation: `{column}` had no value to learn from.")
            warn(f"rule {step.name} had no value of `{column}` to learn from: nulls stay null, in new rows too")
        else:
            steps.append(msgspec.structs.replace(step, rule=fitted, columns=(column,)))
    return _Learned(steps, left_out)


def _fitted(work: Work, rule: Fill, name: str, column: str, database: duckdb.DuckDBPyConnection) -> Fill | None:
    """Return the rule with the value that it learned from `column`, or None if there is no value to learn from."""
    values = work.table.column(column)
    kind = plain_type(values.type)
    with telling(name, column):
        found = asked(values, learned_by(rule, kind), database, order=" limit 1")
        value = value_of(found.cast(kind)[0]) if len(found) else None
    return None if value is None else settled(Fill(columns=rule.columns, value=value))


def _meant(table: pa.Table, rule: OnColumns, name: str) -> Sequence[str]:
    if ALL in rule.names:
        return [field.name for field in table.schema if fits(rule, field.type) and can_hold(rule, field.type)]
    for column, values in zip(rule.names, columns(table, rule.names, f"rule {name}"), strict=True):
        if not fits(rule, values.type):
            raise DefinitionError(
                f"rule {name} doesn't fit `{column}`, which is `{values.type}`", hint="cast it first, or leave it out"
            )
    return rule.names


def _asks(where: str, database: duckdb.DuckDBPyConnection) -> set[str] | None:
    """Return the columns that a condition names, in lower case; None if the condition has a window or a subquery,
    because then it reads other rows too.
    """
    ((text,),) = database.execute("select json_serialize_sql(?)", [f"select ({where}\n) from t"]).fetchall()
    names: set[str] = set()
    for node in _nodes(json.loads(text)):
        if node.get("class") in ("WINDOW", "SUBQUERY"):
            return None
        names.update(name.lower() for name in node.get("column_names", ()))
    return names


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON tree, without recursion, since a condition may be deeply nested."""
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest += node.values()
        elif isinstance(node, list):
            rest += node


def _categories(table: pa.Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the columns of text that have few different values, each with its values."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not is_text(plain_type(column.type)):
            continue
        texts = column.cast(pa.string())
        values = texts.unique().drop_null()
        few = 0 < len(values) <= CATEGORIES and 2 * len(values) <= len(texts) - texts.null_count
        if few and pc.max(pc.utf8_length(values)).as_py() <= LONGEST:
            yield name, tuple(sorted(values.to_pylist()))
