"""Rules on columns as SQL: expressions that return the new value, or null where a rule failed."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from headrace.errors import DefinitionError
from headrace.models.types import bound, is_text, plain_type
from headrace.stages.prepare._clean.rules import (
    ALL,
    TYPES,
    Cast,
    Clip,
    Dates,
    Fill,
    Map,
    Normalise,
    Nulls,
    Numbers,
    OnColumns,
    Replace,
    Trim,
    Units,
)
from headrace.stages.tables import engine

SPACE = r"[\s\p{Z}]+"
MONEY = r"[\s\p{Z}\p{Sc}]+"
TEXTUAL = (Trim, Normalise, Replace, Numbers, Units, Dates)
KEEPS_TYPE = (Trim, Normalise, Nulls, Replace, Fill, Clip)


def fits(rule: OnColumns, kind: pa.DataType) -> bool:
    """Return whether a rule can be applied to a column of this type."""
    plain = plain_type(kind)
    number = bool(pa.types.is_integer(plain) or pa.types.is_floating(plain) or pa.types.is_decimal(plain))
    span = pa.types.is_interval(plain) or pa.types.is_duration(plain)
    if not engine.reads(plain) or (span and not isinstance(rule, Cast)):
        return False
    if isinstance(rule, KEEPS_TYPE) and isinstance(plain, pa.BaseExtensionType):
        return False  # the engine returns extension types as their storage type
    if isinstance(rule, TEXTUAL):
        return is_text(plain)
    if isinstance(rule, Clip):
        return number or bool(pa.types.is_temporal(plain))
    if isinstance(rule, Fill) and rule.how in ("mean", "median"):
        return number
    return not bool(pa.types.is_nested(plain))


def can_hold(rule: OnColumns, kind: pa.DataType) -> bool:
    """Return whether a column of this type can hold the values that a rule puts there.

    A rule for all columns (`"*"`) skips the columns that can't hold the values.
    """
    told = (rule.value,) if isinstance(rule, Fill) else (rule.min, rule.max) if isinstance(rule, Clip) else ()
    try:
        for value in told:
            if value is not None:
                bound(value, kind)
    except DefinitionError:
        return False
    return True


def expression(rule: OnColumns, kind: pa.DataType) -> str:
    """Return the SQL expression of a rule's new value. In the SQL, `t` is the table, and `c` the column with the old
    values.

    The new value is null where the rule fails.

    Raises:
        DefinitionError: the rule names a value that a column of this type can't hold.
    """
    plain = plain_type(kind)
    match rule:
        case Trim():
            return f"regexp_replace(c, {literal(f'^{SPACE}|{SPACE}$')}, '', 'g')"
        case Normalise(case=case, accents=accents):
            text = f"regexp_replace(nfc_normalize(c), {literal(SPACE)}, ' ', 'g')"
            text = text if accents else f"strip_accents({text})"
            return text if case == "keep" else f"{case}({text})"
        case Nulls(values=values, nan=nan):
            return _nulls(values, plain, nan=nan, strict=ALL not in rule.names)
        case Replace(pattern=pattern, by=by):
            return f"regexp_replace(c, {literal(pattern)}, {literal(by)}, 'g')"
        case Fill():
            return _fill(rule, plain)
        case Clip(min=low, max=high):
            cases = "" if low is None else f" when c < {_typed(low, plain)} then {_typed(low, plain)}"
            cases += "" if high is None else f" when c > {_typed(high, plain)} then {_typed(high, plain)}"
            strange = " when isnan(c) then c" if pa.types.is_floating(plain) else ""
            return f"case{strange}{cases} else c end"
        case Cast(type=wanted):
            return _cast(wanted)
        case Map(values=values, otherwise=otherwise):
            return _map(values, plain, keep=otherwise == "keep", strict=ALL not in rule.names)
        case Numbers(decimal=decimal, thousands=thousands):
            return _number("c", decimal, thousands)
        case Units():
            return _units(rule)
        case Dates(formats=formats):
            return f"try_strptime(c, [{', '.join(map(literal, formats))}])"
        case _:
            raise DefinitionError(f"there is no rule `{type(rule).__name__}`", hint="see the docs on cleaning")


def literal(value: Any) -> str:
    """Return a value as an SQL literal.

    >>> literal("it's"), literal(None), literal(3)
    ("'it''s'", 'null', '3')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return (
            f"timestamp '{value.isoformat(sep=' ')}'" if value.tzinfo is None else f"timestamptz '{value.isoformat()}'"
        )
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    if isinstance(value, bytes):
        return f"unhex('{value.hex()}')"
    if isinstance(value, int | float):
        return repr(value) if isinstance(value, int) else f"'{value!r}'::double"  # uncast, SQL reads a decimal
    return "'" + str(value).replace("'", "''") + "'"


def _typed(value: Any, kind: pa.DataType) -> str:
    """Return a rule's value as an SQL literal, in the type of the column."""
    return literal(bound(value, kind).as_py())


def _nulls(values: tuple[Any, ...], kind: pa.DataType, *, nan: bool, strict: bool) -> str:
    """Return the SQL that replaces `values`, and NaN if `nan`, by null.

    A value that the column can't hold is an error if `strict`. Otherwise the value is skipped, since no row can have
    it.
    """
    same = []
    for each in values:
        if isinstance(each, str) != is_text(kind):
            continue
        try:
            same.append(_typed(each, kind))
        except DefinitionError:
            if strict:
                raise
    tests = [f"c in ({', '.join(same)})"] if same else []
    tests += ["isnan(c)"] if nan and pa.types.is_floating(kind) else []
    return f"case when {' or '.join(tests)} then null else c end" if tests else "c"


def learned_by(rule: Fill, kind: pa.DataType) -> str:
    """Return the SQL of the value that a fill rule learns from a column of this type. The SQL gives the same value for
    every row of the table `t`."""
    numbers = "from t where not isnan(c)" if pa.types.is_floating(kind) else "from t"
    if rule.how == "most":
        return "(select c from t where c is not null group by c order by count(*) desc, c limit 1)"
    value = f"(select {'avg' if rule.how == 'mean' else 'median'}(c) {numbers})"
    if pa.types.is_floating(kind):
        return value
    # cast to the column's type: otherwise all values would become doubles, which hold 15 digits
    return f"round({value}{'' if pa.types.is_integer(kind) else f', {kind.scale}'})::{_exact(kind)}"


def _fill(rule: Fill, kind: pa.DataType) -> str:
    if rule.how == "forward":
        return "coalesce(c, last_value(c ignore nulls) over (order by place rows unbounded preceding))"
    if rule.how != "value":
        return "c"  # the column had no value to learn from
    value = _typed(rule.value, kind)
    if pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        value = f"({value})::{_exact(kind)}"
    return f"coalesce(c, {value})"


def _exact(kind: pa.DataType) -> str:
    """Return an SQL type that can hold every value of `kind`. `kind` is a type of whole numbers or of decimals."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    return "ubigint" if pa.types.is_unsigned_integer(kind) else "bigint"


def _cast(wanted: str) -> str:
    made = f"try_cast(c as {TYPES[wanted]})"
    if "int" in wanted:  # DuckDB would round, but a number that isn't whole must fail
        return f"case when try_cast(c as double) = {made} then {made} end"
    return made


def _map(values: dict[Any, Any], kind: pa.DataType, *, keep: bool, strict: bool) -> str:
    cases = ["when false then c"]
    for before, after in values.items():
        try:
            cases.append(f"when {_is(before, kind)} then {literal(after)}")
        except DefinitionError:
            if strict:
                raise  # without `strict`, the rule is for all columns, and no row of this column has the value
    return f"case {' '.join(cases if len(cases) == 1 else cases[1:])} else {'c' if keep else 'null'} end"


def _is(value: Any, kind: pa.DataType) -> str:
    """Return the SQL that tests whether the column's value (`c` in the SQL) equals `value`.

    If `value` is a text, the column's value is compared as a text too: all keys in TOML are texts, so the text `1` may
    stand for the number 1.
    """
    if value is None:
        return "c is null"
    if isinstance(value, str) or is_text(kind):
        return f"c::varchar = {literal(str(value))}"
    return f"c = {_typed(value, kind)}"


def _number(text: str, decimal: str, thousands: str) -> str:
    bare = f"regexp_replace({text}, {literal(MONEY)}, '', 'g')"
    if not thousands or re.fullmatch(r"\s+", thousands):
        return _in_one_way(f"try_cast(replace({bare}, {literal(decimal)}, '.') as double)", bare, decimal, thousands)
    sign = re.escape(thousands)
    # groups of three digits; groups of two are allowed too except at the end, as written in India
    grouped = rf"[-+]?[1-9][0-9]{{0,2}}({sign}[0-9]{{2,3}})*{sign}[0-9]{{3}}([^0-9{sign}][^{sign}]*)?"
    plain = f"replace(replace({bare}, {literal(thousands)}, ''), {literal(decimal)}, '.')"
    fine = f"not contains({bare}, {literal(thousands)}) or regexp_full_match({bare}, {literal(grouped)})"
    return _in_one_way(f"case when {fine} then try_cast({plain} as double) end", bare, decimal, thousands)


def _in_one_way(number: str, bare: str, decimal: str, thousands: str) -> str:
    """Return SQL that reads a text as a number. If neither `decimal` nor `thousands` is a point, a text with a point
    gives null: `1.234` must not be read as the number 1.234.

    `bare` is the SQL of the text, and `number` is SQL that reads the text without this check.
    """
    return number if "." in (decimal, thousands) else f"case when not contains({bare}, '.') then {number} end"


def _units(rule: Units) -> str:
    decimal, thousands = re.escape(rule.decimal), re.escape(rule.thousands)
    between = rf"(?:{thousands}|{decimal})" if thousands else decimal
    digits = rf"[-+]?{decimal}?[0-9](?:{between}?[0-9])*(?:[eE][-+]?[0-9]+)?"
    parts = rf"^[\s\p{{Z}}]*({digits})[\s\p{{Z}}]*(.*?)[\s\p{{Z}}]*$"
    number = _number(f"regexp_extract(c, {literal(parts)}, 1)", rule.decimal, rule.thousands)
    unit = f"regexp_extract(c, {literal(parts)}, 2)"
    units = {**rule.units, **({"": rule.units[rule.unit]} if rule.unit in rule.units else {})}
    cases = " ".join(f"when {literal(name)} then {float(factor)!r}" for name, factor in units.items())
    return f"{number} * case {unit} {cases} else null end"
