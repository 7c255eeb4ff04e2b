"""The contract of a table: rules for its columns and their values, keys, relations, freshness and number of rows.

A contract is data. It is written in Python, or with the same words in a TOML file. `headrace contract draft` drafts one
from data, and `ingest.check` checks a table against it.
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
"""Rules about a column as a whole. They have no single rows to quarantine."""


class Column(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for one column.

    Args:
        type: Arrow's name of the type (`int64`, `double`, `string`, `timestamp[us]`, `date32[day]`), or a family:
            `integer`, `number`, `text`, `date`, `timestamp`, `boolean`. Arrow's storage of text (large, view,
            dictionary) makes no difference. None: any type.
        required: False if the column may be missing.
        null: whether the column may hold nulls.
        nan: whether the column may hold NaN.
        min: the lowest value allowed. None: no limit.
        max: the highest value allowed. None: no limit.
        allowed: all values that are allowed. Empty: any value.
        pattern: a regular expression (RE2) that the whole text must match.
        min_length: the least number of characters of a text.
        max_length: the largest number of characters of a text.
        unique: True if no value may occur in more than one row. Nulls may still repeat.
        otherwise: what happens when a rule is broken: `warn`, `quarantine` (the rows go to a separate table) or `stop`.
            None: the contract's `otherwise`. A missing column and a wrong type stop the check, unless `actions` names
            another action.
        actions: the actions for single rules, in place of `otherwise`, such as `{"range": "stop"}`.
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
                raise DefinitionError(f"there is no rule `{rule}` for a column", hint=meant_by(rule, RULES))
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
                    f"min={self.min!r} and max={self.max!r} can't be compared",
                    hint="give both in the type of the column",
                ) from error
            if empty:
                raise DefinitionError(f"min={self.min!r} is above max={self.max!r}", hint="swap them")

    def action(self, rule: str, default: Action) -> Action:
        """Return the action for a broken rule of this column; `default` is the contract's `otherwise`."""
        told = self.actions.get(rule)
        if told is None:
            told = "stop" if rule in WHOLE else (self.otherwise or default)
        return "stop" if rule in WHOLE and told == "quarantine" else told


class Unique(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule that no two rows have the same values in `columns`. A row with a null in one of these columns is
    ignored."""

    columns: tuple[str, ...]
    otherwise: Action | None = None

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        if not self.columns:
            raise DefinitionError("a unique key has no columns", hint="name at least one")


class Relation(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition that each row must meet: `departed <= arrived`, or any other condition in DuckDB's SQL.

    As with SQL's `check`, a row for which the condition is null (because one side of it is null) doesn't break the
    rule.
    """

    holds: str
    name: str = ""
    otherwise: Action | None = None

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        if not self.holds.strip():
            raise DefinitionError("a relation is empty", hint='give a condition, such as "a <= b"')


class Reference(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule that the values of `columns` also occur in another table.

    `table` is the name under which the other table is passed to `ingest.check`. `keys` are the other table's columns,
    if their names differ from `columns`. A row with a null in one of `columns` is ignored.
    """

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
    """The rule that a column's newest time is at most `within` (`36h`, `2d`) before the `now` of `ingest.check`."""

    column: str
    within: str
    otherwise: Action | None = None

    def __post_init__(self) -> None:
        _one_of_actions(self.otherwise)
        seconds(self.within, name="within")


class Rows(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule on the number of rows of the table.

    `least` and `most` are the lowest and the highest number. `shrink` and `grow` are limits too, as multiples of the
    median number of rows in earlier versions of the table: `shrink = 0.5, grow = 2` means from half to twice this
    median. None: no limit.
    """

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
            raise DefinitionError(f"most={self.most} is not a number of rows", hint="give a whole number from 0")
        if self.shrink is not None and not 0 <= self.shrink <= 1:
            raise DefinitionError(
                f"shrink={self.shrink!r}", hint="give a share from 0 to 1, of the usual number of rows"
            )
        if self.grow is not None and not self.grow >= 1:
            raise DefinitionError(
                f"grow={self.grow!r}", hint="give a number from 1: how many times the usual number of rows is allowed"
            )


class Contract(Noun, metaclass=Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All the rules for a table.

    `otherwise` is the action for each broken rule that doesn't name its own action. A rule about the whole table
    (freshness, number of rows, a missing column) has no rows to quarantine, so its action `quarantine` means `stop`.
    `extra` is the action for columns that the contract doesn't name. `most_quarantined` is a share from 0 to 1: the
    check stops if a larger share of the rows is quarantined.
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
            raise DefinitionError(f"extra={self.extra!r}", hint="give one of allow, warn, stop")
        for name, column in self.columns.items():
            if column.type is not None and (hint := hint_of_type(column.type)) is not None:
                raise DefinitionError(f"column `{name}`: there is no type `{column.type}`", hint=hint)
        if not 0 <= self.most_quarantined <= 1:
            raise DefinitionError(f"most_quarantined={self.most_quarantined!r}", hint="give a share from 0 to 1")

    @classmethod
    def from_toml(cls, text: str, *, named: str = "the contract") -> Self:
        """Return the contract that is written in a TOML text; `named` is its name in errors.

        Raises:
            DefinitionError: the text isn't TOML, or isn't a contract.
        """
        return from_toml(text, cls, named, docs="contracts")

    @classmethod
    def read(cls, path: str | Path, *, called: str | None = None) -> Self:
        """Return the contract of a TOML file; `called` is the file's name in errors. None: its path.

        Raises:
            DefinitionError: the file can't be read, isn't TOML, or isn't a contract.
        """
        named = f"the contract `{path if called is None else called}`"
        return from_toml(text_of(Path(path), named), cls, named, docs="contracts")


def _one_of_actions(action: object) -> None:
    if action is not None and action not in ACTIONS:
        raise DefinitionError(f"there is no action {action!r}", hint=f"give one of {', '.join(ACTIONS)}")
