"""A report: what a stage found, as data that a page, a terminal or a model card can show.

Every stage that reports gives one of these, so there is one way to draw a report and one to read it.
"""

from __future__ import annotations

from headrace.errors import DefinitionError
from headrace.spec.noun import Row

Cell = str | int | float | bool | None


class Fact(Row, frozen=True):
    """A number with a name. `low` and `high` are the ends of its interval, `why` says why there is no number.

    `better` is the direction that is an improvement. `unit` follows the number (`s`, `rows`, `%`).
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    better: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.why:
            raise DefinitionError(f"fact `{self.name}` has no value", hint="say `why` it is undefined")
        if self.better not in ("", "higher", "lower"):
            raise DefinitionError(f"fact `{self.name}` has better={self.better!r}", hint='give "higher" or "lower"')


class Verdict(Row, frozen=True):
    """A rule, whether it holds (None: the data don't tell), and why, in a sentence."""

    rule: str
    holds: bool | None
    why: str


class Grid(Row, frozen=True):
    """A small table for people: rows of cells under columns; `note` stands below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise DefinitionError(
                    f"grid `{self.title}` has {len(self.columns)} columns and a row of {len(row)} cells",
                    hint="give each row one cell for each column",
                )


class Drawing(Row, frozen=True):
    """A figure as SVG text, with what it shows in words, for those who don't see it."""

    title: str
    svg: str
    caption: str = ""

    def __repr__(self) -> str:
        return f"Drawing(title={self.title!r}, svg=<{len(self.svg):,} characters>, caption={self.caption!r})"


class Report(Row, frozen=True):
    """What a stage found.

    `about` says what is judged and on what, in a sentence. `passed` is whether all that had to hold does (None: nothing
    had to). `limits` are sentences on what the numbers can't tell. `confidence` is that of the facts' intervals.
    """

    title: str
    about: str = ""
    passed: bool | None = None
    facts: tuple[Fact, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    grids: tuple[Grid, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    limits: tuple[str, ...] = ()
    confidence: float = 0.95

    def __str__(self) -> str:
        """What it comes to: its verdicts, and its numbers. `headrace get RUN TASK` writes all of it."""
        said = {True: "passed", False: "not passed", None: ""}[self.passed]
        holds = {True: "holds", False: "fails", None: "undecided"}
        lines = [f"{self.title}: {said}" if said else self.title]
        lines += [f"  {holds[each.holds]}: {each.rule}: {each.why}" for each in self.verdicts]
        for fact in self.facts:
            within = "" if fact.low is None or fact.high is None else f" [{fact.low:.4g} to {fact.high:.4g}]"
            value = fact.why if fact.value is None else f"{fact.value:.4g}"
            lines.append(f"  {fact.name}: {value}{within}{fact.unit and ' '}{fact.unit}")
        return "\n".join(lines)
