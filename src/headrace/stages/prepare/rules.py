"""What `prepare.clean` may do, as data: in Python, or as the `[[rules]]` of a TOML file, each with its `do`."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from headrace.errors import DefinitionError
from headrace.spec.noun import Noun
from headrace.stages.declared import Declared, check_pattern, from_toml, text_of

Failing = Literal["null", "quarantine", "stop"]
ALL = "*"
R = TypeVar("R", bound="Rule")
TYPES = {
    "bool": "boolean",
    "boolean": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "uint8": "utinyint",
    "uint16": "usmallint",
    "uint32": "uinteger",
    "uint64": "ubigint",
    "float": "float",
    "float32": "float",
    "double": "double",
    "float64": "double",
    "string": "varchar",
    "date32": "date",
    "date32[day]": "date",
    "timestamp[us]": "timestamp",
}
"""Types that values can be cast to, by Arrow's names, as DuckDB has them."""


class Rule(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """A rule of cleaning."""


class OnColumns(Rule, frozen=True, kw_only=True):
    """A rule on each of these columns; `"*"` are all columns that it can be for, such as all texts."""

    columns: tuple[str, ...] | str

    def __post_init__(self) -> None:
        _check_names(self, self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, as they are told."""
        return _names(self.columns)


class Trim(OnColumns, frozen=True, kw_only=True, tag="trim"):
    """Take the white space away at both ends of a text."""


class Normalise(OnColumns, frozen=True, kw_only=True, tag="normalise"):
    """Write texts in one way: characters composed (NFC), runs of white space as one blank, and where it is asked for in
    one case and without accents."""

    case: Literal["keep", "lower", "upper"] = "keep"
    accents: bool = True


class Nulls(OnColumns, frozen=True, kw_only=True, tag="nulls"):
    """Make values that stand for nothing null: texts such as `N/A`, numbers such as -999, and with `nan` each NaN."""

    values: tuple[Any, ...] = ("",)
    nan: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, bool(self.values) or self.nan, "makes nothing null", "name `values`, or give `nan=True`")


class Replace(OnColumns, frozen=True, kw_only=True, tag="replace"):
    """Replace each match of a regular expression (RE2); `\\1` in `by` is its first group."""

    pattern: str
    by: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pattern(self.pattern)


class Fill(OnColumns, frozen=True, kw_only=True, tag="fill"):
    """Put a value where there is none: `value`, or what `how` tells: the column's mean, median or most frequent value,
    or the last value above (`forward`)."""

    value: Any = None
    how: Literal["value", "mean", "median", "most", "forward"] = "value"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.how == "value") == (self.value is None):
            raise DefinitionError("a rule that fills needs a `value` or a `how`, and not both", hint="give one")


class Clip(OnColumns, frozen=True, kw_only=True, tag="clip"):
    """Bring what is out of a range to its nearer end."""

    min: Any = None
    max: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min is None and self.max is None:
            raise DefinitionError("a rule that clips needs a `min` or a `max`", hint="give one, or both")
        _check(self, self.min == self.min and self.max == self.max, "has an end that is NaN", "NaN bounds nothing")
        try:
            ordered = self.min is None or self.max is None or bool(self.min <= self.max)
        except TypeError as error:
            raise DefinitionError(
                f"`min={self.min!r}` and `max={self.max!r}` of a rule that clips can't be compared",
                hint="give both in the type of the column",
            ) from error
        _check(self, ordered, f"has its `min={self.min!r}` above its `max={self.max!r}`", "are they swapped?")


class Cast(OnColumns, frozen=True, kw_only=True, tag="cast"):
    """Make values of another type (Arrow's name of it): `int64`, `double`, `string`, `bool`, `date32`,
    `timestamp[us]`. What can't be one, such as `1.5` as a whole number, becomes null, goes to quarantine, or stops."""

    type: str
    otherwise: Failing = "quarantine"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type not in TYPES:
            raise DefinitionError(f"values can't be cast to `{self.type}`", hint=f"one of {', '.join(sorted(TYPES))}")


class Map(OnColumns, frozen=True, kw_only=True, tag="map"):
    """Put one value in the place of another. What isn't among `values` stays (`keep`), or is treated as told."""

    values: dict[Any, Any]
    otherwise: Literal["keep", "null", "quarantine", "stop"] = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, bool(self.values), "maps nothing", 'give `values={"before": "after"}`')


class Written(OnColumns, frozen=True, kw_only=True):
    """A rule that reads numbers as people write them: with a decimal sign, and one between thousands (none: `""`)."""

    decimal: str = "."
    thousands: str = ","
    otherwise: Failing = "quarantine"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, len(self.decimal) == 1, f"has {self.decimal!r} for a decimal sign", "give one character")
        fine = self.decimal != self.thousands
        _check(self, fine, "can't tell the decimal sign from that of thousands", "give two signs")


class Numbers(Written, frozen=True, kw_only=True, tag="numbers"):
    """Read numbers that people wrote, such as `1,234.50` or `€ 12`: the signs of thousands and currency go. What has a
    sign of thousands where none belongs, such as `1,5` or `1.234,50`, is no number: its writer meant another one."""


class Units(Written, frozen=True, kw_only=True, tag="units"):
    """Read numbers with a unit, such as `1,234.5 lb`, as numbers of one unit. `units` has what one of each is in that:
    `{"kg" = 1, "g" = 0.001, "lb" = 0.45359237}`. One without a unit is of `unit`, if that is told. The numbers are
    written as those of `Numbers` are."""

    units: dict[str, float]
    unit: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, bool(self.units), "knows no units", 'give `units={"kg": 1, "g": 0.001}`')
        factor: Any  # whatever stands there
        for name, factor in self.units.items():
            fine = isinstance(factor, int | float) and math.isfinite(factor) and factor != 0
            _check(self, fine, f"has {factor!r} for a `{name}`", "give a number other than 0")
        if self.unit is not None and self.unit not in self.units:
            raise DefinitionError(f"`{self.unit}` is none of the units", hint=f"one of {', '.join(self.units)}")


class Dates(OnColumns, frozen=True, kw_only=True, tag="dates"):
    """Read times from texts by the first of `formats` that fits (`%d.%m.%Y`, as of strptime). They are taken as times
    of `zone` (`Europe/Paris`) and given in UTC; without a zone they are times without one, and with `%z` in a format
    in UTC. `day` gives dates: the day that is written, whatever the zone (with `%z`, that day in UTC)."""

    formats: tuple[str, ...]
    zone: str | None = None
    day: bool = False
    otherwise: Failing = "quarantine"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, bool(self.formats) and not isinstance(self.formats, str), "has no formats", 'give `("%d.%m.%Y",)`')
        if self.zone is not None:
            reads = any("%z" in each or "%Z" in each for each in self.formats)
            _check(self, not reads, "has a `zone`, and a format that reads one from the text", "leave `zone` out")
            try:
                ZoneInfo(self.zone)
            except (KeyError, ValueError, OSError) as error:
                raise DefinitionError(f"there is no zone `{self.zone}`", hint="such as `Europe/Paris`") from error


class Drop(Rule, frozen=True, kw_only=True, tag="drop"):
    """Take rows away of which a condition (DuckDB's SQL) is true, into quarantine if that is wanted."""

    where: str
    quarantine: bool = False

    def __post_init__(self) -> None:
        _check(self, bool(self.where.strip()), "has no condition", 'such as `where="price < 0"`')

    def named(self, rule: str) -> str:
        """Return what errors call its condition, by what they call the rule."""
        return f"the condition `{self.where}` of rule {rule}"


class Deduplicate(Rule, frozen=True, kw_only=True, tag="deduplicate"):
    """Keep one of the rows that have the same values of these columns (of all, if none are named; nulls are the same):
    the first or last as they stand, or by the column `by`, where that has the least or the greatest."""

    columns: tuple[str, ...] | str = ()
    keep: Literal["first", "last"] = "first"
    by: str | None = None
    quarantine: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, as they are told; none for all."""
        return () if ALL in _names(self.columns) else _names(self.columns)


class Rename(Rule, frozen=True, kw_only=True, tag="rename"):
    """Give columns other names: `{old: new}`."""

    names: dict[str, str]

    def __post_init__(self) -> None:
        _check(self, bool(self.names), "names nothing", "give `{old: new}`")


class Without(Rule, frozen=True, kw_only=True, tag="without"):
    """Leave columns out."""

    columns: tuple[str, ...] | str

    def __post_init__(self) -> None:
        _check_names(self, self.columns)
        _check(self, ALL not in self.names, "would leave nothing", "name the columns that go")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, as they are told."""
        return _names(self.columns)


AnyRule = (
    Trim
    | Normalise
    | Nulls
    | Replace
    | Fill
    | Clip
    | Cast
    | Map
    | Numbers
    | Units
    | Dates
    | Drop
    | Deduplicate
    | Rename
    | Without
)


def _names(columns: tuple[str, ...] | str) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _check_names(rule: Rule, names: Any) -> None:
    listed = [names] if isinstance(names, str) else names
    fine = isinstance(listed, list | tuple) and len(listed) > 0 and all(isinstance(each, str) for each in listed)
    _check(rule, fine, "names no columns", 'give names, or `"*"`')


def _check(rule: Rule, fine: bool, why: str, hint: str) -> None:
    if not fine:
        raise DefinitionError(f"a rule `{told(rule)}` {why}", hint=hint)


class _File(Noun, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rules: tuple[AnyRule, ...]


def rules_from_toml(text: str, named: str = "the rules") -> tuple[AnyRule, ...]:
    """Give the rules of a TOML text.

    Raises:
        DefinitionError: it isn't TOML, or has something else in it.
    """
    return from_toml(text, _File, named, docs="cleaning").rules


def read_rules(path: Path) -> tuple[AnyRule, ...]:
    """Give the rules of a TOML file.

    Raises:
        DefinitionError: it can't be read, isn't TOML, or has something else in it.
    """
    named = f"the rules `{path.name}`"
    return rules_from_toml(text_of(path, named), named)


def told(rule: Rule) -> str:
    """Give a rule's name, as TOML has it."""
    return str(msgspec.inspect.type_info(type(rule)).tag)  # type: ignore[attr-defined]


def settled(rule: R) -> R:
    """Return a rule as it is when it has been saved and loaded: with tuples where lists were given, and Python's own
    numbers, texts and times where NumPy's and pandas' were."""
    given = {name: getattr(rule, name) for name in rule.__struct_fields__}
    return msgspec.structs.replace(rule, **{name: _plain(value) for name, value in given.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, datetime) and type(value) is not datetime and value == value:
        return datetime.fromisoformat(value.isoformat())
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        is_time = value.dtype.kind in "mM"  # of nanoseconds, `item` gives a number
        return (value.astype(f"{value.dtype.kind}8[us]") if is_time else value).item()
    return value
