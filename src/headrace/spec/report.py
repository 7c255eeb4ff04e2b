"""A report: the findings of a stage, as data that a page, a terminal or a model card can show.

All stages that report use this class, so there is one way to show a report and one way to read it.
"""

from __future__ import annotations

from headrace.errors import DefinitionError
from headrace.spec.noun import Row

Cell = str | int | float | bool | None


class Fact(Row, frozen=True):
    """A number with a name.

    `low` and `high` are the ends of the number's interval; both are None if there is no interval. `unit` is shown after
    the number (`s`, `rows`, `%`). `better` says which direction is an improvement: `higher`, `lower`, or empty. `why`
    is the reason why there is no number; it is required if `value` is None.
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
    """A rule, whether it holds, and the reason in one sentence. `holds` is None if the data don't decide it."""

    rule: str
    holds: bool | None
    why: str


class Grid(Row, frozen=True):
    """A small table for people: rows of cells under columns. `note` is shown below the table."""

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
    """A figure as SVG text. `caption` says in words what the figure shows, for readers who can't see it."""

    title: str
    svg: str
    caption: str = ""

    def __repr__(self) -> str:
        return f"Drawing(title={self.title!r}, svg=<{len(self.svg):,} characters>, caption={self.caption!r})"


class Report(Row, frozen=True):
    """The findings of a stage.

    `about` says in one sentence what was judged, and on which data. `passed` is true if all required rules hold, and
    None if there are no such rules. `limits` are sentences about what the numbers can't show. `confidence` is the
    confidence level of the facts' intervals.
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
        """Return a summary: the title, the verdicts and the facts. `headrace get RUN TASK` writes the whole report."""
        outcome = {True: "passed", False: "not passed", None: ""}[self.passed]
        holds = {True: "holds", False: "fails", None: "undecided"}
        lines = [f"{self.title}: {outcome}" if outcome else self.title]
        lines += [f"  {holds[verdict.holds]}: {verdict.rule}: {verdict.why}" for verdict in self.verdicts]
        for fact in self.facts:
            within = "" if fact.low is None or fact.high is None else f" [{fact.low:.4g} to {fact.high:.4g}]"
            value = fact.why if fact.value is None else f"{fact.value:.4g}"
            lines.append(f"  {fact.name}: {value}{within}{fact.unit and ' '}{fact.unit}")
        return "\n".join(lines)
