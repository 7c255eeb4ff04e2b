"""`prepare.clean`: declared rules, what they changed, the rows that they put aside, and the preparation for others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.codec.file import File
from headrace.define.log import warn
from headrace.define.ready import ready
from headrace.errors import DefinitionError
from headrace.spec.report import Report
from headrace.stages import engine
from headrace.stages.column_types import is_text, plain_type
from headrace.stages.columns import columns, distinct
from headrace.stages.ingest.contract.finding import value_of
from headrace.stages.prepare.applying import Work, asked, made, on_column, rename, take_away, telling, without
from headrace.stages.prepare.clean_report import FITTED, report_of
from headrace.stages.prepare.expressions import TEXTUAL, can_hold, fits, learned_by
from headrace.stages.prepare.preparation import Preparation, Step
from headrace.stages.prepare.rules import (
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

CATEGORIES = 1000
"""A column of text with more values than this has no categories; nor has one whose values hardly repeat."""
LONGEST = 200


class Cleaned(NamedTuple):
    """What rules made of a table.

    `table` are the rows that stay, as they are now. `quarantine` has those that were put aside as they were given, with
    their place in that table (`row`) and why (`broken_rules`, a list). `report` says what each rule lost and changed.
    `preparation` does the same to other rows, with what was learned here.
    """

    table: pa.Table
    quarantine: pa.Table
    report: Report
    preparation: Preparation


class _Learned(NamedTuple):
    """What a rule comes to on this table: steps for other rows, and what can't be one, in a sentence."""

    steps: Sequence[Step] = ()
    left_out: Sequence[str] = ()


MOST_ASIDE = 0.05
"""A run warns where more than this share of the rows is put aside."""


def _check(given: Mapping[str, Any]) -> None:
    """Refuse conditions, patterns and forms that can't be read, of rules that are known while a pipeline is traced."""
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


@ready("prepare.clean", version=9, on=("duckdb", "numpy", "pyarrow"), kind="prepare", check=_check)
def clean(table: pa.Table, rules: Sequence[AnyRule] | File) -> Cleaned:
    """Clean a table by rules, one after the other: a list of them, or a TOML file (`hr.File("rules.toml")`).

    The report tells for each rule and column how many values and rows it lost, how many values it filled, changed and
    read, with examples before and after. The preparation is what `prepare.apply` does the same by to other rows.

    Raises:
        DataError: a value that a rule with `otherwise = "stop"` can't deal with; a column that isn't there.
        DefinitionError: a rule that makes no sense, or not for this column.
        UsageError: a condition that can't be read.
    """
    distinct(table)
    rules = read_rules(rules.path) if isinstance(rules, File) else tuple(rules)
    work = Work.on(table)
    with engine.session({}) as database:  # one for all: to open one takes longer than what it does
        found = [_apply(work, rule, f"{number} {told(rule)}", database) for number, rule in enumerate(rules, 1)]
    left_out = tuple(said for each in found for said in each.left_out)
    fitted = any(isinstance(rule, Fill) and rule.how in ("mean", "median") for rule in rules)
    quarantine = work.quarantine()
    if len(quarantine) > MOST_ASIDE * len(table):
        share = len(quarantine) / len(table)
        warn(
            f"{len(quarantine):,} of {len(table):,} rows ({share:.0%}) are put aside, into `quarantine`: see the report"
        )
    report = report_of(
        "Cleaning",
        f"{len(table):,} rows, cleaned by {len(rules)} rules.",
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
    """Apply a rule to the table, and say what it comes to for other rows."""
    step = Step(name=name, rule=settled(rule))
    match rule:
        case Deduplicate():
            take_away(work, rule, name, database, aside=rule.quarantine)
            return _Learned(left_out=[_table_wide(name, "which rows repeat")])
        case Drop():
            take_away(work, rule, name, database, aside=rule.quarantine)
            asks = _asks(rule.where, database)
            if asks is None:
                return _Learned(left_out=[_table_wide(name, "its condition")])
            known = [column for column in work.table.column_names if column.lower() in asks]
            return _Learned([msgspec.structs.replace(step, asks=tuple(known))])
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
            raise DefinitionError(f"`{type(rule).__name__}` is no rule", hint="see the docs on cleaning")


def _table_wide(name: str, what: str) -> str:
    return f"Rule {name} is no part of the preparation: {what} is about a table, not about a row."


def _on_columns(work: Work, step: Step, rule: OnColumns, database: duckdb.DuckDBPyConnection) -> _Learned:
    names = _meant(work.table, rule, step.name)
    if not isinstance(rule, Fill) or rule.how == "value":
        for column in names:
            on_column(work, rule, step.name, column, database)
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
            left_out.append(f"Rule {step.name} is no part of the preparation: `{column}` had no value to learn from.")
        else:
            steps.append(msgspec.structs.replace(step, rule=fitted, columns=(column,)))
    return _Learned(steps, left_out)


def _fitted(work: Work, rule: Fill, name: str, column: str, database: duckdb.DuckDBPyConnection) -> Fill | None:
    """Return the rule with the value that this table has for it; None where it has none."""
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
                f"rule {name} can't be for `{column}`, which is `{values.type}`", hint="cast it first, or leave it out"
            )
    return rule.names


def _asks(where: str, database: duckdb.DuckDBPyConnection) -> set[str] | None:
    """Return what a condition names, in small letters; None where it looks at other rows: by a window or a query."""
    ((text,),) = database.execute("select json_serialize_sql(?)", [f"select ({where}\n) from t"]).fetchall()
    names: set[str] = set()
    for node in _nodes(json.loads(text)):
        if node.get("class") in ("WINDOW", "SUBQUERY"):
            return None
        names.update(name.lower() for name in node.get("column_names", ()))
    return names


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Go over the objects of a JSON tree, without recursion: a condition may be nested deep."""
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest += node.values()
        elif isinstance(node, list):
            rest += node


def _categories(table: pa.Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Go over the columns of text that have few values, each with its values."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not is_text(plain_type(column.type)):
            continue
        texts = column.cast(pa.string())
        values = texts.unique().drop_null()
        few = 0 < len(values) <= CATEGORIES and 2 * len(values) <= len(texts) - texts.null_count
        if few and pc.max(pc.utf8_length(values)).as_py() <= LONGEST:
            yield name, tuple(sorted(values.to_pylist()))
