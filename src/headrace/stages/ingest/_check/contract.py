"""What a table must be like: columns and what may stand in them, keys, relations, freshness, volume.

A contract is data. It is written in Python or in a TOML file of the same words, drafted from data by
`headrace contract draft`, and held against a table by `ingest.check`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from headrace.errors import DefinitionError
from headrace.spec.duration import seconds
from headrace.spec.noun import Noun
from headrace.stages.declared import Declared, check_pattern, from_toml, meant_by, text_of
from headrace.stages.ingest._check.type_names import hint_of_type

Action = Literal["warn", "quarantine", "stop"]
ACTIONS: tuple[Action, ...] = ("warn", "quarantine", "stop")
RULES = ("column", "type", "null", "nan", "range", "allowed", "pattern", "length", "unique")
"""The rules that a column may have, in the order of the report."""
WHOLE = frozenset({"column", "type"})
"""Rules of a column that are not about single rows: what breaks them can't be quarantined."""


class Column(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may stand in a column.

    `type` is Arrow's name of it (`int64`, `double`, `string`, `timestamp[us]`, `date32[day]`), or a family: `integer`,
    `number`, `text`, `date`, `timestamp`, `boolean`. How text is laid out (large, view, dictionary) is no part of it.
    `null` and `nan` tell whether there may be nulls, and numbers that are no number. `min` and `max` are allowed
    themselves. `allowed` lists all values that there may be. `pattern` is a regular expression (RE2) that the whole
    text must match; `min_length` and `max_length` count its characters. `unique`: no value twice, nulls aside.
    `required` is False for a column that may be missing.

    `otherwise` is what happens to what breaks a rule, `actions` the same for single rules of the column: `warn`,
    `quarantine` (the rows go to a table of their own) or `stop`. A missing column, or one of another type, stops.
    """

    type: str | None = None
    required: bool = True
    null: bool = True
    nan: bool = True
    min: Any = None
    max: Any = None
    allowed: tuple[Any, ...] = ()
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    unique: bool = False
    otherwise: Action | None = None
    actions: dict[str, Action] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        for rule, action in self.actions.items():
            if rule not in RULES:
                raise DefinitionError(f"a column has no rule `{rule}`", hint=meant_by(rule, RULES))
            _one_of_actions(action)
        if any(isinstance(each, float) and each != each for each in (self.min, self.max)):
            raise DefinitionError("a bound can't be NaN", hint="`nan=False` allows no NaN")
        if self.pattern is not None:
            check_pattern(self.pattern)
        if self.min_length is not None and self.max_length is not None and self.min_length > self.max_length:
            raise DefinitionError(
                f"min_length={self.min_length} is above max_length={self.max_length}", hint="swap them"
            )
        if self.min is not None and self.max is not None:
            try:
                empty = bool(self.min > self.max)
            except TypeError as error:
                raise DefinitionError(
                    f"min={self.min!r} and max={self.max!r} don't compare", hint="one type"
                ) from error
            if empty:
                raise DefinitionError(f"min={self.min!r} is above max={self.max!r}", hint="swap them")

    def action(self, rule: str, default: Action) -> Action:
        """Return what happens to what breaks a rule."""
        told = self.actions.get(rule)
        if told is None:
            told = "stop" if rule in WHOLE else (self.otherwise or default)
        return "stop" if rule in WHOLE and told == "quarantine" else told


class Unique(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No combination of values of these columns stands in two rows. A row with a null among them is left out."""

    columns: tuple[str, ...]
    otherwise: Action | None = None

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        if not self.columns:
            raise DefinitionError("a unique key has no columns", hint="name at least one")


class Relation(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold between the columns of a row: `departed <= arrived`, or any condition of DuckDB's SQL.

    As with a `check` of SQL, a row of which it can't be told (a null on one side) doesn't break it.
    """

    holds: str
    name: str = ""
    otherwise: Action | None = None

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        if not self.holds.strip():
            raise DefinitionError("a relation is empty", hint='give a condition, such as "a <= b"')


class Reference(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values of these columns stand in another table, given to `ingest.check` by the name `table`, under `keys`
    (where they are called otherwise there). A row with a null among them is left out."""

    columns: tuple[str, ...]
    table: str
    keys: tuple[str, ...] = ()
    otherwise: Action | None = None

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        if not self.columns:
            raise DefinitionError(f"the reference to `{self.table}` has no columns", hint="name at least one")
        if self.keys and len(self.keys) != len(self.columns):
            raise DefinitionError(
                f"the reference to `{self.table}` has {len(self.columns)} columns and {len(self.keys)} keys",
                hint="give each column its key",
            )


class Fresh(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest time of a column is no older than `within` (`36h`, `2d`) before the `now` given to `ingest.check`."""

    column: str
    within: str
    otherwise: Action | None = None

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        seconds(self.within, name="within")


class Rows(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many rows there must be: `least` and `most`, and `shrink` and `grow`, which bound the number as multiples of
    the median of the last versions (`shrink = 0.5, grow = 2`: between half and twice of it)."""

    least: int | None = None
    most: int | None = None
    shrink: float | None = None
    grow: float | None = None
    otherwise: Action | None = None

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        if self.least is not None and self.most is not None and self.least > self.most:
            raise DefinitionError(f"least={self.least} rows is above most={self.most}", hint="swap them")
        if self.most is not None and self.most < 0:
            raise DefinitionError(f"most={self.most} rows can't be", hint="give a whole number from 0")
        if self.shrink is not None and not 0 <= self.shrink <= 1:
            raise DefinitionError(
                f"shrink={self.shrink!r}", hint="give a share from 0 to 1, of the usual number of rows"
            )
        if self.grow is not None and not self.grow >= 1:
            raise DefinitionError(f"grow={self.grow!r}", hint="give a multiple from 1, of the usual number of rows")


class Contract(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table must be like.

    `otherwise` is what happens where a rule tells nothing else; what is not about single rows (freshness, volume, a
    missing column) can't be quarantined, and stops. `extra` tells what happens to columns that it doesn't name.
    More than `most_quarantined` of the rows (a share) in quarantine stops too.
    """

    name: str = "contract"
    columns: dict[str, Column] = msgspec.field(default_factory=dict)
    unique: tuple[Unique, ...] = ()
    relations: tuple[Relation, ...] = ()
    references: tuple[Reference, ...] = ()
    fresh: tuple[Fresh, ...] = ()
    rows: Rows | None = None
    extra: Literal["allow", "warn", "stop"] = "warn"
    otherwise: Action = "quarantine"
    most_quarantined: float = 1.0

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        if self.extra not in ("allow", "warn", "stop"):
            raise DefinitionError(f"extra={self.extra!r}", hint="one of allow, warn, stop")
        for name, column in self.columns.items():
            if column.type is not None and (hint := hint_of_type(column.type)) is not None:
                raise DefinitionError(f"column `{name}`: there is no type `{column.type}`", hint=hint)
        if not 0 <= self.most_quarantined <= 1:
            raise DefinitionError(f"most_quarantined={self.most_quarantined!r}", hint="give a share from 0 to 1")

    @classmethod
    def from_toml(cls, text: str, *, named: str = "the contract") -> Self:
        """Return the contract that a TOML text tells.

        Raises:
            DefinitionError: it isn't TOML, or not a contract.
        """
        return from_toml(text, cls, named, docs="contracts")

    @classmethod
    def read(cls, path: str | Path, *, called: str | None = None) -> Self:
        """Return the contract of a TOML file; `called` is what errors call it, if not by its path.

        Raises:
            DefinitionError: it can't be read, isn't TOML, or not a contract.
        """
        named = f"the contract `{path if called is None else called}`"
        return from_toml(text_of(Path(path), named), cls, named, docs="contracts")


def _one_of_actions(action: object) -> None:
    if action is not None and action not in ACTIONS:
        raise DefinitionError(f"there is no action {action!r}", hint=f"one of {', '.join(ACTIONS)}")
