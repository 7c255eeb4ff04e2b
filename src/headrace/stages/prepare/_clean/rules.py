"""The rules of `prepare.clean`, as data: in Python, or as `[[rules]]` in a TOML file, where `do` names the kind of each
rule."""

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
"""The types that values can be cast to: Arrow's names, with DuckDB's names for them."""


class Rule(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """A rule of `prepare.clean`: the base of all kinds of rules."""


class OnColumns(Rule, frozen=True, kw_only=True):
    """A rule on each of the named columns. `"*"` stands for all columns to which the rule can be applied, such as all
    text columns."""

    columns: tuple[str, ...] | str

    def __post_init__(self) -> None:
        _check_names(self, self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The named columns, as a tuple."""
        return _names(self.columns)


class Trim(OnColumns, frozen=True, kw_only=True, tag="trim"):
    """Remove white space from both ends of a text."""


class Normalise(OnColumns, frozen=True, kw_only=True, tag="normalise"):
    """Write texts in one form.

    Characters are composed (NFC), and each run of white space becomes one blank. `case` is `"keep"`, `"lower"` or
    `"upper"`. `accents=False` removes accents.
    """

    case: Literal["keep", "lower", "upper"] = "keep"
    accents: bool = True


class Nulls(OnColumns, frozen=True, kw_only=True, tag="nulls"):
    """Replace values that stand for a missing value by null.

    `values` are texts such as `N/A` or numbers such as -999; by default, the empty text. With `nan`, NaN becomes null
    too.
    """

    values: tuple[Any, ...] = ("",)
    nan: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, bool(self.values) or self.nan, "makes nothing null", "name `values`, or give `nan=True`")


class Replace(OnColumns, frozen=True, kw_only=True, tag="replace"):
    """Replace each match of the regular expression `pattern` (RE2) by the text `by`.

    In `by`, `\\1` stands for the first group of the match.
    """

    pattern: str
    by: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pattern(self.pattern)


class Fill(OnColumns, frozen=True, kw_only=True, tag="fill"):
    """Fill missing values with `value`, or with a value that `how` chooses.

    `how` is the column's `"mean"`, `"median"` or most frequent value (`"most"`), or the last value above (`"forward"`).
    A rule has either a `value` or a `how`.
    """

    value: Any = None
    how: Literal["value", "mean", "median", "most", "forward"] = "value"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.how == "value") == (self.value is None):
            raise DefinitionError("a rule that fills needs a `value` or a `how`, and not both", hint="give one")


class Clip(OnColumns, frozen=True, kw_only=True, tag="clip"):
    """Replace values below `min` by `min`, and values above `max` by `max`. None means no limit."""

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
    """Cast values to another `type`, by Arrow's name: `int64`, `double`, `string`, `bool`, `date32` or `timestamp[us]`.

    A value that can't be cast, such as `1.5` to a whole number, becomes null (`otherwise="null"`), moves its row to the
    quarantine (`"quarantine"`), or is an error (`"stop"`).
    """

    type: str
    otherwise: Failing = "quarantine"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type not in TYPES:
            raise DefinitionError(
                f"values can't be cast to `{self.type}`", hint=f"give one of {', '.join(sorted(TYPES))}"
            )


class Map(OnColumns, frozen=True, kw_only=True, tag="map"):
    """Replace values by others: `values={"before": "after"}`.

    A value that isn't among `values` stays (`otherwise="keep"`), becomes null (`"null"`), moves its row to the
    quarantine (`"quarantine"`), or is an error (`"stop"`).
    """

    values: dict[Any, Any]
    otherwise: Literal["keep", "null", "quarantine", "stop"] = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, bool(self.values), "maps nothing", 'give `values={"before": "after"}`')


class Written(OnColumns, frozen=True, kw_only=True):
    """A rule that reads numbers as people write them.

    `decimal` is the decimal sign, and `thousands` the sign between thousands, `""` for none. A value that can't be read
    becomes null (`otherwise="null"`), moves its row to the quarantine (`"quarantine"`), or is an error (`"stop"`).
    """

    decimal: str = "."
    thousands: str = ","
    otherwise: Failing = "quarantine"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, len(self.decimal) == 1, f"has {self.decimal!r} for a decimal sign", "give one character")
        fine = self.decimal != self.thousands
        _check(self, fine, "can't tell the decimal sign from that of thousands", "give two signs")


class Numbers(Written, frozen=True, kw_only=True, tag="numbers"):
    """Read numbers as people write them, such as `1,234.50` or `€ 12`.

    Currency signs and signs between thousands are removed. `decimal` is the decimal sign, and `thousands` the sign
    between thousands, `""` for none. A text with such a sign in the wrong place, such as `1,5` or `1.234,50`, can't be
    read: another number may be meant. A text that can't be read becomes null (`otherwise="null"`), moves its row to the
    quarantine (`"quarantine"`), or is an error (`"stop"`).
    """


class Units(Written, frozen=True, kw_only=True, tag="units"):
    """Read numbers with a unit, such as `1,234.5 lb`, and convert them to one unit.

    `units` has each unit's size in the common unit: `{"kg": 1, "g": 0.001, "lb": 0.45359237}`. `unit` is the unit of a
    number without one; None means that such a number can't be read. `decimal`, `thousands` and `otherwise` mean the
    same as for `Numbers`.
    """

    units: dict[str, float]
    unit: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, bool(self.units), "knows no units", 'give `units={"kg": 1, "g": 0.001}`')
        factor: Any  # a user may have given anything
        for name, factor in self.units.items():
            fine = isinstance(factor, int | float) and math.isfinite(factor) and factor != 0
            _check(self, fine, f"has {factor!r} for a `{name}`", "give a number other than 0")
        if self.unit is not None and self.unit not in self.units:
            raise DefinitionError(f"`{self.unit}` is none of the units", hint=f"give one of {', '.join(self.units)}")


class Dates(OnColumns, frozen=True, kw_only=True, tag="dates"):
    """Read times from texts, by the first of `formats` that fits, such as `%d.%m.%Y` (as in strptime).

    With a `zone`, such as `Europe/Paris`, the texts are times of that zone, and the results are in UTC. Without a zone,
    the results have no zone. If a format has `%z`, the results are in UTC. With `day=True`, the results are dates: the
    day as written, whatever the `zone`, or the day in UTC if the format has `%z`. A text that can't be read becomes
    null (`otherwise="null"`), moves its row to the quarantine (`"quarantine"`), or is an error (`"stop"`).
    """

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
    """Remove the rows for which the condition `where` (DuckDB's SQL) is true.

    With `quarantine`, these rows go to the quarantine.
    """

    where: str
    quarantine: bool = False

    def __post_init__(self) -> None:
        _check(self, bool(self.where.strip()), "has no condition", 'such as `where="price < 0"`')

    def named(self, rule: str) -> str:
        """Return how messages name the condition `where`. `rule` is the name of this rule."""
        return f"the condition `{self.where}` of rule {rule}"


class Deduplicate(Rule, frozen=True, kw_only=True, tag="deduplicate"):
    """Of the rows that have the same values in `columns`, keep only one.

    Without `columns`, all columns are compared. Nulls count as equal. `keep` is `"first"` or `"last"`: in the order of
    the rows, or in the order of the column `by` if there is one. With `quarantine`, the other rows go to the
    quarantine.
    """

    columns: tuple[str, ...] | str = ()
    keep: Literal["first", "last"] = "first"
    by: str | None = None
    quarantine: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The named columns, as a tuple; empty for all columns."""
        return () if ALL in _names(self.columns) else _names(self.columns)


class Rename(Rule, frozen=True, kw_only=True, tag="rename"):
    """Rename columns: `{old: new}`."""

    names: dict[str, str]

    def __post_init__(self) -> None:
        _check(self, bool(self.names), "names nothing", "give `{old: new}`")


class Without(Rule, frozen=True, kw_only=True, tag="without"):
    """Remove columns."""

    columns: tuple[str, ...] | str

    def __post_init__(self) -> None:
        _check_names(self, self.columns)
        _check(self, ALL not in self.names, "would leave nothing", "name the columns that go")

    @property
    def names(self) -> tuple[str, ...]:
        """The named columns, as a tuple."""
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
    """Return the rules in a TOML text.

    Raises:
        DefinitionError: the text isn't TOML, or has something in it that isn't a rule.
    """
    return from_toml(text, _File, named, docs="cleaning").rules


def read_rules(path: Path) -> tuple[AnyRule, ...]:
    """Return the rules in a TOML file.

    Raises:
        DefinitionError: the file can't be read, isn't TOML, or has something in it that isn't a rule.
    """
    named = f"the rules `{path.name}`"
    return rules_from_toml(text_of(path, named), named)


def told(rule: Rule) -> str:
    """Return the name of a rule's kind, as TOML files write it."""
    return str(msgspec.inspect.type_info(type(rule)).tag)  # type: ignore[attr-defined]


def settled(rule: R) -> R:
    """Return a rule as it would be after saving and loading.

    Lists become tuples. NumPy's and pandas' numbers, texts and times become Python's own.
    """
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
        is_time = value.dtype.kind in "mM"  # for nanoseconds, `item` would return a number
        return (value.astype(f"{value.dtype.kind}8[us]") if is_time else value).item()
    return value
